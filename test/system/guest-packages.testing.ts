/**
 * Programs of Debian's riscv64 archive for a guest under test, without the minutes that installing takes there: the
 * packages are unpacked on the host, into a file system of their own, which the guest mounts and enters by chroot.
 */
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder, defaultSuite, fetchTool } from '../../src/host/debian/index.ts';
import { makeFileSystem } from '../../src/host/images/file-system.ts';
import type { MachineOptions } from '../../src/host/machine/index.ts';
import { debianImage, Guest, type Ran } from './guest.testing.ts';

const DISK_BYTES = 1 << 30;
const ROOT = '/tmp/packages';

/** An ext4 file system with the packages and what they depend on, raw; made once, kept in the user's cache. */
export async function packagesDisk(packages: readonly string[]): Promise<string> {
  const name = `guest-${packages.join('-')}`;
  const { root, manifest } = await fetchTool(name, {
    suite: defaultSuite,
    architecture: 'riscv64',
    packages: [...packages, 'base-files'],
    withDependencies: true,
  });
  const version = manifest.packages.find((one) => one.name === packages[0])?.version ?? '';
  const folder = cacheFolder('tools', 'guest-disks');
  const file = join(folder, `${name}-${version.replaceAll(/[^\w.+~-]/g, '_')}.raw`);
  // Others may be using it: a snapshot says which file its disk is.
  if (existsSync(file)) return file;
  const temporary = `${file}.${process.pid}`;
  await mkdir(folder, { recursive: true });
  try {
    await makeFileSystem(temporary, root, { sizeBytes: DISK_BYTES, label: 'packages' });
    await rename(temporary, file);
  } finally {
    await rm(temporary, { force: true });
  }
  return file;
}

/** Mounts the disk, with what programs expect, where `PackagesGuest.run` enters it. */
export const MOUNT_PACKAGES = `
  set -e; mkdir ${ROOT}; modprobe ext4; mount -t ext4 /dev/vda ${ROOT}
  mkdir -p ${ROOT}/proc ${ROOT}/sys ${ROOT}/dev ${ROOT}/tmp
  mount -t proc proc ${ROOT}/proc; mount -t sysfs sys ${ROOT}/sys
  mount -t devtmpfs dev ${ROOT}/dev; mount -t tmpfs tmp ${ROOT}/tmp`;

/** A Debian guest in which programs of those packages run. */
export class PackagesGuest implements AsyncDisposable {
  readonly guest: Guest;

  private constructor(guest: Guest) {
    this.guest = guest;
  }

  /** Boots it. The first package names the version that the disk is kept by. */
  static async start(
    packages: readonly string[],
    options: Pick<
      MachineOptions,
      'memoryBytes' | 'cpus' | 'hotThreshold' | 'translate' | 'append' | 'aia' | 'pci' | 'netdevs' | 'failback' | 'mac'
    > = {},
    limitMs?: number,
  ): Promise<PackagesGuest> {
    const [image, disk] = await Promise.all([debianImage(), packagesDisk(packages)]);
    const { kernel, initrd, commandLine } = image;
    const drives = [{ file: disk, overlay: true }];
    const append = `${commandLine} ${options.append ?? ''}`.trim();
    const started = await Guest.start({ kernel, initrd, drives, ...options, append }, limitMs);
    const guest = new PackagesGuest(started);
    const mounted = await started.run(MOUNT_PACKAGES);
    if (mounted.code !== 0) throw new Error(`the packages' disk is not mounted: ${mounted.stderr}`);
    return guest;
  }

  /** Runs a program of the packages. */
  async run(command: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ran> {
    const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    return await this.guest.run(`exec chroot ${ROOT} ${quoted}`, { environment });
  }

  /** Puts a text into a file of the packages' file system. */
  async write(path: string, text: string): Promise<void> {
    const { code, stderr } = await this.guest.machine.exec(['sh', '-c', 'cat > "$1"', 'sh', `${ROOT}${path}`], {
      stdin: Buffer.from(text),
    });
    if (code !== 0) throw new Error(`${path} is not written: ${Buffer.from(stderr).toString()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.guest[Symbol.asyncDispose]();
  }
}

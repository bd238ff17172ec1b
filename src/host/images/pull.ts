/**
 * `kage images pull debian`: Debian's stock riscv64 kernel, busybox-static and the modules that our machine needs,
 * made into a kernel file and an initramfs. The packages' hashes come from signed lists and go into the manifest.
 *
 *   images/debian/  manifest.json  kernel  base.cpio  initrd-HASH.cpio (base.cpio and our own files)
 */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError, OperatorError } from '../../base/errors.ts';
import {
  defaultSuite,
  fetchPackages,
  type PackageFile,
  publishFolder,
  unpack,
  type WorkOptions,
} from '../debian/index.ts';
import { baseArchive, baseRecipe, initramfsModules, ownArchive, sha256Of } from './initramfs.ts';
import { unwrapKernel } from './kernel-image.ts';
import { collectModules } from './kernel-modules.ts';
import { findImage, type GuestImage, type ImageManifest, imageFolder, imageFormat, manifestFile } from './store.ts';

export const debianImageName = 'debian';

export interface PullOptions extends WorkOptions {
  /** Ask the archive for newer packages even if there is an image. */
  refresh?: boolean;
}

/**
 * The console on the machine's serial port; few messages of the kernel, for each costs time there; and no self-tests
 * of its ciphers, which are half of the instructions of a boot (measured: bench/boot-cost.ts).
 */
const commandLine = 'console=ttyS0 quiet cryptomgr.notests';

/**
 * Gives the Debian image, making it if it is not there. Safe to call from several processes at once; an interrupted
 * pull leaves what was fetched for the next. Throws what fetchPackages throws.
 */
export async function pullDebianImage(options: PullOptions = {}): Promise<GuestImage> {
  const folder = imageFolder(debianImageName);
  const find = async (): Promise<GuestImage | undefined> => await findImage(debianImageName).catch(() => undefined);
  const isCurrent = async (): Promise<boolean> => (await find())?.manifest.recipe === baseRecipe;
  try {
    await publishFolder(folder, { ...options, isCurrent }, async (temporary) => await build(temporary, options));
  } catch (error) {
    // Without the archive, an image of an earlier release of ours is better than none.
    const usable = !options.refresh && error instanceof OperatorError && (await find()) !== undefined;
    if (!usable) throw error;
  }
  await renewOwnFiles(folder);
  const image = await findImage(debianImageName);
  if (!image) throw new HostError('image-broken', `the image in ${folder} vanished while it was made`);
  return image;
}

async function build(temporary: string, options: PullOptions): Promise<void> {
  const { release, kernel, busybox } = await fetchKernelAndBusybox(options);
  const scratch = await mkdtemp(join(temporary, 'unpacked-'));
  options.progress?.({ step: 'unpacking the kernel', done: 0, total: 0 });
  await unpack(kernel.path, scratch, options);
  await unpack(busybox.path, scratch, options);
  const { version, file } = await findKernelFile(join(scratch, 'boot'));
  const image = unwrapKernel(await readFile(file), kernel.name);
  await writeFile(join(temporary, 'kernel'), image.bytes);

  const { modules, lacking } = await collectModules(
    join(scratch, 'usr/lib/modules', version),
    initramfsModules,
    options,
  );
  if (lacking.length > 0)
    throw new HostError('bad-kernel-package', `${kernel.name} lacks the modules ${lacking.join(', ')}`);
  options.progress?.({ step: 'writing the initramfs', done: 0, total: 0 });
  const base = baseArchive(await readFile(join(scratch, 'usr/bin/busybox')), version, modules);
  await writeFile(join(temporary, 'base.cpio'), base);
  await rm(scratch, { recursive: true });
  const manifest: ImageManifest = {
    format: imageFormat,
    name: debianImageName,
    suite: defaultSuite,
    release,
    architecture: 'riscv64',
    packages: [kernel, busybox].map(({ name, version, sha256 }) => ({ name, version, sha256 })),
    kernel: { file: 'kernel', version, sha256: sha256Of(image.bytes) },
    initrd: { file: 'base.cpio', sha256: sha256Of(base) },
    recipe: baseRecipe,
    modules: modules.map((module) => module.name),
    commandLine,
  };
  await writeFile(join(temporary, manifestFile), `${JSON.stringify(manifest, undefined, 2)}\n`);
  await renewOwnFiles(temporary);
}

/** The metapackage linux-image-riscv64 names the versioned package that holds the kernel. */
async function fetchKernelAndBusybox(
  options: PullOptions,
): Promise<{ release: string; kernel: PackageFile; busybox: PackageFile }> {
  const request = { suite: defaultSuite, architecture: 'riscv64' };
  const meta = await fetchPackages({ ...request, packages: ['linux-image-riscv64'] }, options);
  const versioned = /^linux-image-[^\s(,|]+/.exec(meta.files[0]?.depends ?? '')?.[0];
  if (versioned === undefined) throw new HostError('bad-kernel-package', 'linux-image-riscv64 does not name a kernel');
  const { release, files } = await fetchPackages({ ...request, packages: [versioned, 'busybox-static'] }, options);
  const kernel = files.find(({ name }) => name === versioned);
  const busybox = files.find(({ name }) => name === 'busybox-static');
  if (!kernel || !busybox) throw new HostError('bad-kernel-package', `${versioned} or busybox-static was not fetched`);
  return { release, kernel, busybox };
}

async function findKernelFile(boot: string): Promise<{ version: string; file: string }> {
  for (const name of await readdir(boot)) {
    const version = /^vmlinu[xz]-(.+)$/.exec(name)?.[1];
    if (version !== undefined) return { version, file: join(boot, name) };
  }
  throw new HostError('bad-kernel-package', 'the kernel package holds no vmlinux or vmlinuz');
}

/** Puts our own files, as this release has them, behind the base archive; does nothing if they are there. */
async function renewOwnFiles(folder: string): Promise<void> {
  const own = await ownArchive();
  const file = `initrd-${sha256Of(own).slice(0, 16)}.cpio`;
  const path = join(folder, manifestFile);
  const manifest = JSON.parse(await readFile(path, 'utf8')) as ImageManifest;
  if (manifest.initrd.file === file && existsSync(join(folder, file))) return;
  const bytes = Buffer.concat([await readFile(join(folder, 'base.cpio')), own]);
  await writeWhole(join(folder, file), bytes);
  const renewed: ImageManifest = { ...manifest, initrd: { file, sha256: sha256Of(bytes) } };
  await writeWhole(path, Buffer.from(`${JSON.stringify(renewed, undefined, 2)}\n`));
  // Machines that boot right now from the older file have it open; another release of ours makes its own anew.
  if (manifest.initrd.file !== file && manifest.initrd.file !== 'base.cpio')
    await rm(join(folder, manifest.initrd.file), { force: true });
}

async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  // Of this call alone: two pulls in one process write their own.
  const draft = `${path}.${process.pid}.${randomUUID().slice(0, 8)}`;
  await writeFile(draft, bytes);
  await rename(draft, path);
}

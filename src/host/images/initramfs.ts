/**
 * What our initramfs holds, in two archives one behind the other: the base (busybox and kernel modules, from
 * Debian's packages) and our own files (guest/: init, agent). So a new release of ours renews the second without
 * the archive, and the same second part serves to bring the agent into any other guest (agent-overlay.ts).
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { guestFolder } from '../package-files.ts';
import { type CpioEntry, cpio } from './cpio.ts';
import { type KernelModule, modulesAlias, modulesDep } from './kernel-modules.ts';

/**
 * What the initramfs can load: the devices of our machine, its disks' and shared folders' file systems, and what
 * systemd and containers ask for early. The rest of Debian's modules are for disks, from their own package.
 */
export const initramfsModules: readonly string[] = [
  ...['virtio_mmio', 'virtio_blk', 'virtio_net', 'virtio_rng', 'virtio_balloon', 'virtio_scsi'],
  ...['ext4', 'crc32c_generic', 'libcrc32c', 'overlay', 'squashfs', 'isofs', 'loop', 'autofs4', 'binfmt_misc'],
  ...['9p', '9pnet_virtio', 'vmw_vsock_virtio_transport', 'kvm'],
];

/** Names what the base archive is made of: an image with another recipe is made anew. */
export const baseRecipe = `2:${initramfsModules.join(',')}`;

/** A file of the package's guest/ folder. */
export async function guestFile(path: string): Promise<Uint8Array> {
  return await readFile(new URL(path, guestFolder));
}

/** The base archive, for the kernel `version` (as `uname -r` tells it). */
export function baseArchive(busybox: Uint8Array, version: string, modules: readonly KernelModule[]): Uint8Array {
  const folder = `lib/modules/${version}`;
  const text = (path: string, content: string): CpioEntry => ({
    ...{ kind: 'file', path, mode: 0o644 },
    data: new TextEncoder().encode(content),
  });
  const link = (path: string, target: string): CpioEntry => ({ kind: 'link', path, target, mode: 0o777 });
  const empty = (path: string, mode = 0o755): CpioEntry => ({ kind: 'folder', path, mode });
  return cpio([
    // The kernel opens it for the first process, before that can make it.
    { kind: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { kind: 'file', path: 'bin/busybox', mode: 0o755, data: busybox },
    link('bin/sh', 'busybox'),
    link('sbin/modprobe', '../bin/busybox'),
    ...['etc', 'mnt', 'proc', 'run', 'sys', 'usr/bin', 'usr/sbin', 'usr/local/bin', 'var/log'].map((path) =>
      empty(path),
    ),
    empty('root', 0o700),
    empty('tmp', 0o1777),
    link('var/run', '../run'),
    text('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n'),
    text('etc/group', 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n'),
    text('etc/shells', '/bin/sh\n'),
    ...modules.map(
      (module): CpioEntry => ({ kind: 'file', path: `${folder}/${module.path}`, mode: 0o644, data: module.bytes }),
    ),
    text(`${folder}/modules.dep`, modulesDep(modules)),
    text(`${folder}/modules.alias`, modulesAlias(modules)),
    text(`${folder}/modules.symbols`, ''),
  ]);
}

/** Our own archive: the first process, its network script, and the agent. */
export async function ownArchive(): Promise<Uint8Array> {
  return cpio([
    await guestProgram('init', 'init/init'),
    await guestProgram('etc/kagemusha/udhcpc', 'init/udhcpc'),
    await guestProgram('etc/kagemusha/agent-for-root', 'init/agent-for-root'),
    await guestProgram('etc/kagemusha/mount-shares', 'init/mount-shares'),
    await guestProgram('etc/kagemusha/agent', 'agent/agent'),
    await guestProgram('etc/kagemusha/kagemusha-agent.service', 'agent/kagemusha-agent.service', 0o644),
    await guestProgram('etc/kagemusha/kagemusha-shares.service', 'init/kagemusha-shares.service', 0o644),
  ]);
}

/** An entry with the contents of a file of guest/. */
export async function guestProgram(path: string, file: string, mode = 0o755): Promise<CpioEntry> {
  return { kind: 'file', path, mode, data: await guestFile(file) };
}

/** Lower-case hex. */
export function sha256Of(...parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

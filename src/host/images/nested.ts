/**
 * What a guest needs to have a guest of its own: an archive that goes behind the Debian image's initramfs, with the
 * kernel and a small initramfs for the second level (no modules: its machine has a serial port and nothing else), and
 * programs for the first level that the caller brings. The first level's kernel, kvm.ko and busybox are the image's.
 *
 *   /nested/kernel   the image's kernel, as it is        /nested/NAME   the caller's
 *   /nested/initrd   busybox and our init and agent
 */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HostError } from '../../base/errors.ts';
import { type CpioEntry, cpio, cpioFiles } from './cpio.ts';
import { baseArchive, ownArchive } from './initramfs.ts';
import type { GuestImage } from './store.ts';

/** Kernel command line of a second level whose console is a serial port; append words of your own. */
export const nestedCommandLine = 'console=ttyS0 quiet cryptomgr.notests kage.net=off kage.agent=off';

/** An initramfs with nothing but busybox, our init and agent. Throws HostError `bad-archive`. */
export async function smallInitramfs(image: GuestImage): Promise<Uint8Array> {
  const base = join(dirname(image.initrd), 'base.cpio');
  const busybox = cpioFiles(await readFile(base)).get('bin/busybox');
  if (busybox === undefined) throw new HostError('bad-archive', `${base} has no busybox`);
  return Buffer.concat([baseArchive(busybox, image.manifest.kernel.version, []), await ownArchive()]);
}

/** The archive to append to an initramfs (uncompressed archives may stand one behind the other). */
export async function nestedArchive(
  image: GuestImage,
  programs: Readonly<Record<string, Uint8Array>> = {},
): Promise<Uint8Array> {
  const file = (name: string, mode: number, data: Uint8Array): CpioEntry => ({
    ...{ kind: 'file', path: `nested/${name}`, mode },
    data,
  });
  return cpio([
    { kind: 'folder', path: 'nested', mode: 0o755 },
    file('kernel', 0o644, await readFile(image.kernel)),
    file('initrd', 0o644, await smallInitramfs(image)),
    ...Object.entries(programs).map(([name, data]) => file(name, 0o755, data)),
  ]);
}

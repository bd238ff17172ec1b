/**
 * The guests of nested.ts: a first level with KVM, the bench's programs for both levels and what measures exits; and a
 * small Linux for the first level alone, the same files and words as the second level boots.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder, publishFolder } from '../src/host/debian/index.ts';
import { type CpioEntry, cpio, cpioFiles } from '../src/host/images/cpio.ts';
import { type GuestImage, nestedCommandLine, smallInitramfs } from '../src/host/images/index.ts';
import { sourcesDigest } from '../test/cross-compile.ts';
import { nestedInitrd } from '../test/nested-guest.ts';
import { shorten, sourceFolder } from './classes.ts';
import { benchInitrd, type Guest } from './guest.ts';

export interface NestedWork {
  readonly all: readonly string[];
  readonly wanted: readonly string[];
  /** Of the programs' full size, and of the exits'. */
  readonly permille: number;
  readonly exitsPermille: number;
  /** How often each level's work is done in one session. */
  readonly turns: number;
}

/** Both levels in one session (guest/bench/levels). */
export async function levelsGuest(image: GuestImage, work: NestedWork): Promise<Guest> {
  const run = shorten(work.all, work.wanted).join(',');
  const words = [
    `${image.commandLine} kage.net=off kage.agent=off kage.run=/nested/levels`,
    ...[`levels.run=${run}`, `levels.permille=${work.permille}`],
    ...[`levels.exits=${work.exitsPermille}`, `levels.runs=${work.turns}`],
  ];
  return { kernel: image.kernel, initrd: await levelsInitrd(image), append: words.join(' ') };
}

/** The small Linux as the machine's only guest. */
export async function singleGuest(image: GuestImage): Promise<Guest> {
  const initrd = join(await folderOf(image), 'ready.cpio');
  return { kernel: image.kernel, initrd, append: `${nestedCommandLine} kage.run=/ready`, begins: 'linux' };
}

async function levelsInitrd(image: GuestImage): Promise<string> {
  return join(await folderOf(image), 'levels.cpio');
}

/** Both initramfs, made once for each state of image and sources. */
async function folderOf(image: GuestImage): Promise<string> {
  const { kernel, initrd } = image.manifest;
  const bench = await benchInitrd();
  const sources = ['../guest/vmm', '../guest/exits', '../guest/bench'].map((path) => join(import.meta.dirname, path));
  const folder = cacheFolder('bench', `nested-${sourcesDigest(sources, kernel.sha256, initrd.sha256)}`);
  await publishFolder(folder, {}, async (temporary) => {
    const programs = await readFile(bench);
    const ready = Buffer.concat([await smallInitramfs(image), cpio([await script('ready', 'ready')])]);
    const levels = await readFile(join(sourceFolder, 'levels'));
    const first = await nestedInitrd(image, { bench: programs, ready, levels });
    await writeFile(join(temporary, 'ready.cpio'), ready);
    await writeFile(
      join(temporary, 'levels.cpio'),
      Buffer.concat([await readFile(first), cpio(benchPrograms(programs))]),
    );
  });
  return folder;
}

/** /bench/* of the bench's own initramfs, without its init. */
function benchPrograms(archive: Uint8Array): CpioEntry[] {
  return [...cpioFiles(archive)]
    .filter(([path]) => path.startsWith('bench/'))
    .map(([path, data]) => ({ kind: 'file', path, mode: 0o755, data }));
}

async function script(path: string, source: string): Promise<CpioEntry> {
  return { kind: 'file', path, mode: 0o755, data: await readFile(join(sourceFolder, source)) };
}

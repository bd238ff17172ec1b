/** The guest of io-run.ts: our image with a network and a disk, and the programs that load them (guest/bench/io). */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder, publishFolder } from '../src/host/debian/index.ts';
import { type CpioEntry, cpio } from '../src/host/images/cpio.ts';
import type { GuestImage } from '../src/host/images/index.ts';
import { crossCompile, sourcesDigest } from '../test/cross-compile.ts';
import { ioClasses, shorten, sourceFolder } from './classes.ts';
import type { Guest, IoTransport } from './guest.ts';

export interface IoWork {
  readonly all: readonly string[];
  readonly wanted: readonly string[];
  readonly permille: number;
  /** Of the peer (io-peer.ts). */
  readonly port: number;
  /** The raw file that is the guest's disk. */
  readonly disk: string;
  readonly transport: IoTransport;
}

export async function ioGuest(image: GuestImage, work: IoWork): Promise<Guest> {
  const words = [
    `${image.commandLine} kage.agent=off kage.run=/bench/io`,
    `io.run=${shorten(work.all, work.wanted).join(',')} io.permille=${work.permille} io.port=${work.port}`,
  ];
  const io = { disk: work.disk, transport: work.transport };
  return { kernel: image.kernel, initrd: await ioInitrd(image), append: words.join(' '), io };
}

async function ioInitrd(image: GuestImage): Promise<string> {
  const initrd = await readFile(image.initrd);
  const state = createHash('sha256').update(initrd).digest('hex');
  const folder = cacheFolder('bench', `io-${sourcesDigest(sourceFiles, state)}`);
  await publishFolder(folder, {}, async (temporary) => {
    const entries: CpioEntry[] = [{ kind: 'folder', path: 'bench', mode: 0o755 }, await fileOf('io')];
    for (const { name } of ioClasses) {
      const sources = ['bench.c', `${name}.c`].map((file) => join(sourceFolder, file));
      const data = await crossCompile(join(temporary, name), sources);
      entries.push({ kind: 'file', path: `bench/${name}`, mode: 0o755, data });
    }
    await writeFile(join(temporary, 'initrd.cpio'), Buffer.concat([initrd, cpio(entries)]));
  });
  return join(folder, 'initrd.cpio');
}

const sourceFiles = [sourceFolder];

async function fileOf(name: string): Promise<CpioEntry> {
  return { kind: 'file', path: `bench/${name}`, mode: 0o755, data: await readFile(join(sourceFolder, name)) };
}

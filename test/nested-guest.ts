/**
 * The first level of nested virtualization for tests and benchmarks: Debian's image, and behind its initramfs the second
 * level's kernel and initramfs, our small VMM (guest/vmm) and the programs that measure (guest/exits, and the initramfs
 * of the bench). Made once for each state of the sources and of the image, kept in the cache folder.
 */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder, publishFolder, run } from '../src/host/debian/index.ts';
import { type GuestImage, nestedArchive } from '../src/host/images/index.ts';
import { crossCompile, sourcesDigest } from './cross-compile.ts';
import { programPath } from './toolbox.ts';

const vmmFolder = join(import.meta.dirname, '../guest/vmm');
const exitsFolder = join(import.meta.dirname, '../guest/exits');

/**
 * The initramfs of a first level: /nested holds vmm, exits, kernel, initrd, and `further` files by their names.
 * Needs `cross`.
 */
export async function nestedInitrd(
  image: GuestImage,
  further: Readonly<Record<string, Uint8Array>> = {},
): Promise<string> {
  const { kernel, initrd } = image.manifest;
  const state = [
    kernel.sha256,
    initrd.sha256,
    ...Object.entries(further).flatMap(([name, data]) => [name, digest(data)]),
  ];
  const folder = cacheFolder('nested', sourcesDigest([vmmFolder, exitsFolder], ...state));
  await publishFolder(folder, {}, async (temporary) => {
    const programs = {
      vmm: await compileVmm(join(temporary, 'vmm')),
      exits: await compileExits(join(temporary, 'exits')),
    };
    const archive = await nestedArchive(image, { ...programs, ...further });
    await writeFile(join(temporary, 'initrd.cpio'), Buffer.concat([await readFile(image.initrd), archive]));
  });
  return join(folder, 'initrd.cpio');
}

function digest(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

async function compileVmm(target: string): Promise<Uint8Array> {
  const sources = readdirSync(vmmFolder).filter((name) => name.endsWith('.c'));
  return await crossCompile(
    target,
    sources.map((name) => join(vmmFolder, name)),
    ['-static', '-pthread', '-s'],
  );
}

/** A program for a bare hart, in the form of a kernel. */
async function compileExits(target: string): Promise<Uint8Array> {
  const bare = ['-ffreestanding', '-nostdlib', '-static', '-no-pie', '-mcmodel=medany', '-mno-relax'];
  const linker = [`-T,${join(exitsFolder, 'exits.lds')}`, '--build-id=none', '--no-warn-rwx-segments'];
  const flags = [...bare, ...linker.map((word) => `-Wl,${word}`)];
  const sources = ['start.S', 'exits.c'].map((name) => join(exitsFolder, name));
  await crossCompile(`${target}.elf`, sources, flags);
  await run(programPath('riscv64-linux-gnu-objcopy'), ['--output-target=binary', `${target}.elf`, target]);
  return await readFile(target);
}

/**
 * The first level of nested virtualization for tests and benchmarks: Debian's image, and behind its initramfs the second
 * level's kernel and initramfs, our small VMM (guest/vmm) and the programs that measure (guest/exits, and the initramfs
 * of the bench). Made once for each state of the sources and of the image, kept in the cache folder.
 */
import { readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder, publishFolder } from '../src/host/debian/index.ts';
import { type GuestImage, nestedArchive } from '../src/host/images/index.ts';
import { crossCompile, sourcesDigest } from './cross-compile.ts';

const vmmFolder = join(import.meta.dirname, '../guest/vmm');

/** The initramfs of a first level: /nested holds vmm, exits, kernel, initrd, and `further` files. Needs `cross`. */
export async function nestedInitrd(image: GuestImage, further: Readonly<Record<string, string>> = {}): Promise<string> {
  const state = [image.manifest.kernel.sha256, image.manifest.initrd.sha256, ...Object.values(further)];
  const folder = cacheFolder('nested', sourcesDigest([vmmFolder], ...state));
  await publishFolder(folder, {}, async (temporary) => {
    const programs: Record<string, Uint8Array> = { vmm: await compileVmm(join(temporary, 'vmm')) };
    for (const [name, path] of Object.entries(further)) programs[name] = await readFile(path);
    const archive = await nestedArchive(image, programs);
    await writeFile(join(temporary, 'initrd.cpio'), Buffer.concat([await readFile(image.initrd), archive]));
  });
  return join(folder, 'initrd.cpio');
}

async function compileVmm(target: string): Promise<Uint8Array> {
  const sources = readdirSync(vmmFolder).filter((name) => name.endsWith('.c'));
  return await crossCompile(
    target,
    sources.map((name) => join(vmmFolder, name)),
    ['-static', '-pthread', '-s'],
  );
}

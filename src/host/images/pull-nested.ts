/**
 * `kage images pull nested`: the Debian image once more, with a disk that holds Debian's QEMU for riscv64 and a second
 * Linux (the same kernel, a small initramfs). Its first program is second-linux, which boots that by KVM.
 *
 *   images/nested/  manifest.json  kernel  initrd.cpio (the Debian image's, and second-linux)  disk.raw
 */
import { copyFile, link, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from '../../base/errors.ts';
import { defaultSuite, type FetchedPackages, fetchPackages, publishFolder, unpack } from '../debian/index.ts';
import { cpio } from './cpio.ts';
import { makeFileSystem } from './file-system.ts';
import { guestProgram, sha256Of } from './initramfs.ts';
import { smallInitramfs } from './nested.ts';
import { type PullOptions, pullDebianImage } from './pull.ts';
import { findImage, type GuestImage, type ImageManifest, imageFolder, manifestFile } from './store.ts';

const nestedImageName = 'nested';

/** QEMU, and base-files for the folders of a root. */
const packages: readonly string[] = ['qemu-system-riscv', 'base-files'];
const diskBytes = 512 * 2 ** 20;
const words = 'kage.hostname=first kage.run=/usr/local/bin/second-linux';

/** Gives the image, making it if it is not there or of another state. Throws what pullDebianImage throws. */
export async function pullNestedImage(options: PullOptions = {}): Promise<GuestImage> {
  const platform = await pullDebianImage(options);
  const program = await guestProgram('usr/local/bin/second-linux', 'init/second-linux');
  const own = cpio([program]);
  const folder = imageFolder(nestedImageName);
  const { kernel, initrd } = platform.manifest;
  const recipe = `1:${packages.join(',')}:${kernel.sha256}:${initrd.sha256}:${sha256Of(own)}`;
  const find = async (): Promise<GuestImage | undefined> => await findImage(nestedImageName).catch(() => undefined);
  const isCurrent = async (): Promise<boolean> => (await find())?.manifest.recipe === recipe;
  await publishFolder(folder, { ...options, isCurrent }, async (temporary) => {
    await link(platform.kernel, join(temporary, 'kernel')).catch(
      async () => await copyFile(platform.kernel, join(temporary, 'kernel')),
    );
    const archive = Buffer.concat([await readFile(platform.initrd), own]);
    await writeFile(join(temporary, 'initrd.cpio'), archive);
    const disk = await writeDisk(join(temporary, 'disk.raw'), platform, temporary, options);
    const manifest: ImageManifest = {
      ...platform.manifest,
      ...{ name: nestedImageName, release: disk.release, recipe },
      packages: [
        ...platform.manifest.packages,
        ...disk.files.map(({ name, version, sha256 }) => ({ name, version, sha256 })),
      ],
      kernel: { ...kernel, file: 'kernel' },
      initrd: { file: 'initrd.cpio', sha256: sha256Of(archive) },
      disk: { file: 'disk.raw', sizeBytes: diskBytes, hostname: 'first' },
      commandLine: `${platform.commandLine} ${words}`,
    };
    await writeFile(join(temporary, manifestFile), `${JSON.stringify(manifest, undefined, 2)}\n`);
  });
  const image = await find();
  if (!image) throw new HostError('image-broken', `the image in ${folder} vanished while it was made`);
  return image;
}

/** The packages' files, unpacked and no more (nothing of them needs its scripts), and the second Linux in /boot. */
async function writeDisk(
  disk: string,
  platform: GuestImage,
  folder: string,
  options: PullOptions,
): Promise<FetchedPackages> {
  const request = { suite: defaultSuite, architecture: 'riscv64', packages, withDependencies: true };
  const fetched = await fetchPackages(request, options);
  const scratch = await mkdtemp(join(folder, 'scratch-'));
  try {
    for (const [done, file] of fetched.files.entries()) {
      options.progress?.({ step: 'unpacking packages', done, total: fetched.files.length });
      await unpack(file.path, scratch, options);
    }
    for (const path of ['usr/share/doc', 'usr/share/man', 'usr/share/locale'])
      await rm(join(scratch, path), { recursive: true, force: true });
    await mkdir(join(scratch, 'boot'), { recursive: true });
    await copyFile(platform.kernel, join(scratch, 'boot/kernel'));
    await writeFile(join(scratch, 'boot/initrd'), await smallInitramfs(platform));
    options.progress?.({ step: 'making the file system', done: 0, total: 0 });
    await makeFileSystem(disk, scratch, { ...options, sizeBytes: diskBytes, label: 'second-linux' });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return fetched;
}

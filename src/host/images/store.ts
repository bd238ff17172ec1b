/**
 * The images in the user's cache folder: one folder each, with a manifest that says what is in it. A folder is
 * there whole or not at all (publishFolder), so reading needs no lock.
 */

import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError, OperatorError } from '../../base/errors.ts';
import { cacheFolder, errorCode, withLock } from '../debian/index.ts';

export interface ImagePackage {
  name: string;
  version: string;
  sha256: string;
}

/** Kept as manifest.json in the image's folder. */
export interface ImageManifest {
  /** The layout of the folder; another number is another program's. */
  format: 1;
  name: string;
  suite: string;
  /** The release's version as signed: `13.7`. */
  release: string;
  architecture: 'riscv64';
  /** The packages it was made from, with the hashes that Debian's signed lists state. */
  packages: ImagePackage[];
  kernel: { file: string; version: string; sha256: string };
  initrd: { file: string; sha256: string };
  /** What the initramfs was made of, as the release that made it names it. */
  recipe: string;
  /** Modules in the initramfs. */
  modules: string[];
  disk?: { file: string; sizeBytes: number; hostname: string };
  commandLine: string;
}

export interface GuestImage {
  name: string;
  /** The raw Image of the kernel. */
  kernel: string;
  /** The initramfs: an uncompressed cpio archive. */
  initrd: string;
  /** A raw disk image; a machine that writes to it should use a copy-on-write overlay. */
  disk?: string;
  /** The kernel's command line to boot it with. */
  commandLine: string;
  manifest: ImageManifest;
}

export const manifestFile = 'manifest.json';
export const imageFormat = 1;

/** Where the image `name` is, whether it exists or not; throws OperatorError `bad-image-name`. */
export function imageFolder(name: string): string {
  if (!/^[a-z0-9][a-z0-9._-]{0,62}$/.test(name) || /\.(lock|tmp-)/.test(name)) {
    const fix = 'use up to 63 small letters, digits, dots, dashes and underscores';
    throw new OperatorError('bad-image-name', `an image cannot be called ${JSON.stringify(name)}`, fix);
  }
  return cacheFolder('images', name);
}

/** The image, or undefined if there is none of that name; throws HostError `image-broken` if it is damaged. */
export async function findImage(name: string): Promise<GuestImage | undefined> {
  const folder = imageFolder(name);
  const text = await readFile(join(folder, manifestFile), 'utf8').catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const manifest = parseManifest(text, folder);
  const image: GuestImage = {
    name,
    kernel: join(folder, manifest.kernel.file),
    initrd: join(folder, manifest.initrd.file),
    commandLine: manifest.commandLine,
    manifest,
    ...(manifest.disk ? { disk: join(folder, manifest.disk.file) } : {}),
  };
  for (const file of [image.kernel, image.initrd, image.disk]) {
    if (file !== undefined && !existsSync(file)) throw broken(folder, `${file} is missing`);
  }
  return image;
}

/** All images, by name; damaged ones are left out. */
export async function listImages(): Promise<GuestImage[]> {
  const folder = cacheFolder('images');
  if (!existsSync(folder)) return [];
  const images: GuestImage[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (/\.(lock|tmp-)/.test(name)) continue;
    const image = await findImage(name).catch(() => undefined);
    if (image) images.push(image);
  }
  return images;
}

/** Removes an image; false if there is none. Machines that run from it keep the files that they have open. */
export async function removeImage(name: string, options: { signal?: AbortSignal } = {}): Promise<boolean> {
  const folder = imageFolder(name);
  if (!existsSync(folder)) return false;
  return await withLock(`${folder}.lock`, options, async () => {
    const aside = `${folder}.tmp-${randomUUID()}`;
    try {
      await rename(folder, aside);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return false;
      throw error;
    }
    await rm(aside, { recursive: true, force: true });
    return true;
  });
}

function parseManifest(text: string, folder: string): ImageManifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw broken(folder, 'its manifest is no JSON', error);
  }
  const isManifest = typeof value === 'object' && value !== null && 'format' in value && value.format === imageFormat;
  if (!isManifest) throw broken(folder, 'its manifest is of another format');
  return value as ImageManifest;
}

function broken(folder: string, reason: string, cause?: unknown): HostError {
  return new HostError(
    'image-broken',
    `the image in ${folder} is damaged: ${reason}; remove the folder and make it again`,
    { cause },
  );
}

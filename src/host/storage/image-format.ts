/**
 * What a disk's file is: what the operator (or the image above it) says; else what its name says, `.qcow2`; else raw. Its
 * content is never believed: a guest can write into its raw disk whatever it likes, and with it, at the next start, name
 * any file of the host's as the one below. A file that begins like qcow2 and is not called so is refused until somebody
 * says what it is.
 */
import { OperatorError } from '../../base/errors.ts';
import { hasQcow2Magic } from './qcow2/header.ts';
import { openHandle } from './raw-file.ts';

export const imageFormats = ['raw', 'qcow2'] as const;
export type ImageFormat = (typeof imageFormats)[number];

/** `given`: a format that was named; `fix`: how to name one. */
export async function imageFormat(path: string, given: string | undefined, fix: string): Promise<ImageFormat> {
  const known = imageFormats.find((format) => format === given);
  if (known !== undefined) return known;
  if (given !== undefined) {
    throw new OperatorError(
      'disk-format',
      `${path} is said to be of format ${given}, which is not supported`,
      'Formats are raw and qcow2. Convert it: qemu-img convert -O qcow2 FROM TO',
    );
  }
  if (/\.qcow2$/i.test(path)) return 'qcow2';
  if (hasQcow2Magic(await firstBytes(path))) {
    throw new OperatorError('disk-format', `${path} looks like a qcow2 image, and nobody said what it is`, fix);
  }
  return 'raw';
}

async function firstBytes(path: string): Promise<Uint8Array> {
  const handle = await openHandle(path, true);
  try {
    const bytes = new Uint8Array(4);
    const { bytesRead } = (await handle.stat()).isFile() ? await handle.read(bytes, 0, 4, 0) : { bytesRead: 0 };
    return bytes.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/**
 * Takes kernels out of their wrappings: plain gzip or zstd (`Image.gz`), and EFI zboot images, which are EFI programs
 * with the compressed kernel inside (drivers/firmware/efi/libstub/zboot-header.S):
 *
 *     0 "MZ" | 4 "zimg" | 8 payload's offset | 12 payload's size | 24 compression, zero-terminated
 *
 * Left out: xz, lz4, lzma, lzo, bzip2, which need decompressors that no host brings along.
 */
import { OperatorError } from '../../base/errors.ts';
import { type BootFile, called, cutOff, damaged, Words } from './file.ts';
import { type Compression, identify } from './format.ts';

/** The host's decompressors. Each throws on bad input and rather than returning more than `mostBytes`. */
export interface Decompressors {
  gunzip(bytes: Uint8Array, mostBytes: number): Uint8Array;
  unzstd?(bytes: Uint8Array, mostBytes: number): Uint8Array;
}

/** A zboot image around a gzip file is two; nobody wraps deeper. */
const MOST_LAYERS = 3;
/** zboot's names of compressions, as the kernel's build spells them. */
const ZBOOT_NAMES: Record<string, Compression> = {
  gzip: 'gzip',
  zstd: 'zstd',
  zstd22: 'zstd',
  xz: 'xz',
  xzkern: 'xz',
  lz4: 'lz4',
  lzma: 'lzma',
  lzo: 'lzo',
};

/** The file without its wrappings; the same bytes if it has none. `mostBytes` bounds what a wrapping may grow to. */
export function unwrap(file: BootFile, decompress: Decompressors, mostBytes: number): BootFile {
  let inner = file;
  for (let layer = 0; layer < MOST_LAYERS; layer++) {
    const format = identify(inner.bytes);
    if (format.kind === 'compressed') inner = inflate(inner, inner.bytes, format.by, decompress, mostBytes);
    else if (format.kind === 'zboot') {
      const { payload, by } = zbootPayload(inner);
      inner = inflate(inner, payload, by, decompress, mostBytes);
    } else return inner;
  }
  throw damaged(file, `it is wrapped more than ${MOST_LAYERS} times`);
}

function zbootPayload(file: BootFile): { payload: Uint8Array; by: Compression } {
  const words = new Words(file.bytes);
  const at = words.u32(8);
  const size = words.u32(12);
  if (at === undefined || size === undefined || file.bytes.length < 64) throw cutOff(file, file.bytes.length, 64);
  if (at + size > file.bytes.length) throw cutOff(file, file.bytes.length, at + size);
  const name = String.fromCharCode(...file.bytes.subarray(24, 56));
  const by = ZBOOT_NAMES[name.slice(0, Math.max(0, name.indexOf('\0')))];
  if (by === undefined) throw damaged(file, 'its zboot header names no known compression');
  return { payload: file.bytes.subarray(at, at + size), by };
}

function inflate(
  file: BootFile,
  bytes: Uint8Array,
  by: Compression,
  decompress: Decompressors,
  mostBytes: number,
): BootFile {
  const work = by === 'gzip' ? decompress.gunzip : by === 'zstd' ? decompress.unzstd : undefined;
  if (work === undefined) {
    throw new OperatorError(
      `${file.role}-unsupported-compression`,
      `${called(file)} is compressed with ${by}, which this host cannot decompress`,
      `Decompress it first (${by} -d), or give an uncompressed one.`,
    );
  }
  let inner: Uint8Array;
  try {
    inner = work.call(decompress, bytes, mostBytes);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw damaged(file, `${by} data does not decompress within ${mostBytes} bytes (${reason})`, cause);
  }
  if (inner.length > mostBytes) throw damaged(file, `${by} data decompresses to more than ${mostBytes} bytes`);
  return { ...file, bytes: inner };
}

/** Compressed clusters (QEMU's docs/interop/qcow2, "Compressed Clusters Descriptor"): raw deflate, or zstd. */
import { promisify } from 'node:util';
import { inflateRaw, zstdDecompress } from 'node:zlib';
import { HostError } from '../../../base/errors.ts';

const inflateRawLater = promisify(inflateRaw);
const unzstdLater = promisify(zstdDecompress);
const ZSTD_MAGIC = 0xfd2fb528;
const DICTIONARY_BYTES = [0, 1, 2, 4];
const CONTENT_BYTES = [0, 2, 4, 8];
/** A raw, a run-length and a compressed block; the fourth kind is reserved. */
const BLOCK = { raw: 0, rle: 1, compressed: 2 } as const;

/** The cluster's content. `stored` begins with it and may go on with something else. */
export async function decompress(
  stored: Uint8Array,
  compression: 'zlib' | 'zstd',
  clusterBytes: number,
): Promise<Uint8Array> {
  const limit = { maxOutputLength: clusterBytes };
  try {
    const bytes = await (compression === 'zlib'
      ? inflateRawLater(stored, limit)
      : unzstdLater(stored.subarray(0, zstdFrameBytes(stored)), limit));
    if (bytes.length === clusterBytes) return bytes;
  } catch (error) {
    throw new HostError('disk-corrupt', 'a compressed cluster cannot be unpacked', { cause: error });
  }
  throw new HostError('disk-corrupt', 'a compressed cluster is too short');
}

/**
 * The length of the zstd frame at the start (RFC 8878, section 3.1.1): the next cluster's may follow in the same sector,
 * cut off. Throws RangeError where it does not fit.
 */
export function zstdFrameBytes(bytes: Uint8Array): number {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (data.getUint32(0, true) !== ZSTD_MAGIC) throw new RangeError('no zstd frame');
  const descriptor = data.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const contentFlag = descriptor >>> 6;
  let at = 5 + (isSingleSegment ? 0 : 1) + (DICTIONARY_BYTES[descriptor & 3] ?? 0);
  at += contentFlag === 0 && isSingleSegment ? 1 : (CONTENT_BYTES[contentFlag] ?? 0);
  for (let isLast = false; !isLast; ) {
    const header = data.getUint16(at, true) | (data.getUint8(at + 2) << 16);
    const kind = (header >>> 1) & 3;
    if (kind > BLOCK.compressed) throw new RangeError('a reserved kind of zstd block');
    isLast = (header & 1) !== 0;
    at += 3 + (kind === BLOCK.rle ? 1 : header >>> 3);
  }
  const end = at + ((descriptor & 4) === 0 ? 0 : 4);
  if (end > bytes.length) throw new RangeError('a zstd frame that is cut off');
  return end;
}

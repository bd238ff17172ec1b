/** Node's checksums and packing, as snapshots take them. */
import { promisify } from 'node:util';
import { constants, crc32, zstdCompress, zstdDecompress, zstdDecompressSync } from 'node:zlib';
import { CODEC, type SnapshotCodecs } from '../../machine/index.ts';

/** The fastest level that packs: memory of a booted Debian comes to a third (measured: bench/restore.ts). */
const LEVEL = 1;
const pack = promisify(zstdCompress);
const unpack = promisify(zstdDecompress);

export const codecs: SnapshotCodecs = {
  crc32: (bytes, before) => crc32(bytes, before),
  unzstd: (bytes, mostBytes) => zstdDecompressSync(bytes, { maxOutputLength: Math.max(mostBytes, 1) }),
  unzstdLater: async (bytes, mostBytes) => await unpack(bytes, { maxOutputLength: Math.max(mostBytes, 1) }),
};

/** The data packed, where that makes it smaller by a tenth; on another thread. */
export async function packed(data: Uint8Array): Promise<{ codec: number; bytes: Uint8Array }> {
  const bytes = await pack(data, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } });
  return bytes.length < data.length * 0.9 ? { codec: CODEC.zstd, bytes } : { codec: CODEC.none, bytes: data };
}

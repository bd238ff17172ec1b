/**
 * The copy-on-write file: what it looks like, and nothing about when it is written (overlay.ts).
 *
 *     0        header: magic, version, cluster size, disk size, CRC, the base's identity and path
 *     4096     map: one byte per cluster of the disk (0: as in the base, 1: data here, 2: zeros), whole 4 KiB pages
 *     data     cluster n at dataAt + n x cluster size: the file is as sparse as the guest's writes
 *
 * All numbers are little-endian. A byte is written whole or not at all, so a torn map page is a mix of old and new
 * states, both true of their clusters. Clusters have 4 KiB, what file systems write at once, up to disks of 64 GiB,
 * and grow with the disk beyond, so that the map stays within 16 MiB.
 */
import { crc32 } from 'node:zlib';

export const MAGIC = 'KAGECOW1';
export const VERSION = 1;
export const HEADER_BYTES = 4096;
export const MAP_AT = HEADER_BYTES;
export const MAP_PAGE_BYTES = 4096;
const TEXT_AT = 64;
const MAP_ENTRIES_MAX = 1 << 24;

export const CLUSTER = { BASE: 0, DATA: 1, ZERO: 2 } as const;

export interface OverlayShape {
  readonly sizeBytes: number;
  readonly clusterBytes: number;
  /** What the base must be, and where it was. */
  readonly baseIdentity: string;
  readonly basePath: string;
}

export function clusterBytesFor(sizeBytes: number): number {
  let clusterBytes = 4096;
  while (sizeBytes / clusterBytes > MAP_ENTRIES_MAX) clusterBytes *= 2;
  return clusterBytes;
}

export function clusterCount(shape: OverlayShape): number {
  return Math.ceil(shape.sizeBytes / shape.clusterBytes);
}

/** Where cluster 0's data is. */
export function dataAt(shape: OverlayShape): number {
  return MAP_AT + Math.ceil(clusterCount(shape) / MAP_PAGE_BYTES) * MAP_PAGE_BYTES;
}

/** The file's full size, most of it a hole. */
export function fileBytes(shape: OverlayShape): number {
  return dataAt(shape) + clusterCount(shape) * shape.clusterBytes;
}

export function encodeHeader(shape: OverlayShape): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  const data = new DataView(header.buffer);
  header.set(new TextEncoder().encode(MAGIC));
  data.setUint32(8, VERSION, true);
  data.setUint32(12, shape.clusterBytes, true);
  data.setBigUint64(16, BigInt(shape.sizeBytes), true);
  let at = TEXT_AT;
  for (const text of [shape.baseIdentity, shape.basePath]) {
    const bytes = new TextEncoder().encode(text).subarray(0, 1900);
    data.setUint16(at, bytes.length, true);
    header.set(bytes, at + 2);
    at += 2 + bytes.length;
  }
  data.setUint32(24, crc32(header), true);
  return header;
}

/** The shape that a header says, or what is wrong with it, in words that go on from the file's name. */
export function decodeHeader(header: Uint8Array): OverlayShape | string {
  const copy = header.slice();
  const data = new DataView(copy.buffer);
  if (new TextDecoder('latin1').decode(copy.subarray(0, 8)) !== MAGIC) return 'is not an overlay';
  const version = data.getUint32(8, true);
  if (version !== VERSION) return `has format ${version}; this version reads format ${VERSION}`;
  const crc = data.getUint32(24, true);
  data.setUint32(24, 0, true);
  if (crc32(copy) !== crc) return 'has a damaged header';
  const texts: string[] = [];
  let at = TEXT_AT;
  for (let i = 0; i < 2; i++) {
    const length = data.getUint16(at, true);
    texts.push(new TextDecoder().decode(copy.subarray(at + 2, at + 2 + length)));
    at += 2 + length;
  }
  return {
    clusterBytes: data.getUint32(12, true),
    sizeBytes: Number(data.getBigUint64(16, true)),
    baseIdentity: texts[0] ?? '',
    basePath: texts[1] ?? '',
  };
}

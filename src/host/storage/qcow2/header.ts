/**
 * The header of a qcow2 image and its extensions (QEMU's docs/interop/qcow2, "Header" and "Header extensions"), read with
 * the limits that QEMU has. Numbers are big-endian.
 *
 *     0  magic "QFI\xfb"      32 encryption            72  incompatible features
 *     4  version              36 entries of the L1     80  compatible features
 *     8  backing name's place 40 the L1's place        88  autoclear features
 *    16  its length           48 the refcount table's  96  refcount order
 *    20  cluster bits         56 its clusters         100  header's length
 *    24  size of the disk     60 snapshots           104  compression
 *                             64 their table's place       extensions, the backing file's name
 *
 * Refused with an error that says so: encryption, extended L2 entries, external data files, features unknown here.
 */
import { OperatorError } from '../../../base/errors.ts';
import { SECTOR_BYTES } from '../../../devices/index.ts';

export const QCOW2_MAGIC = 0x514649fb;
/** The header, its extensions and the backing file's name lie in the first cluster. */
export const HEADER_BYTES_MAX = 1 << 21;
/** What is written when an image changes from one state to the next: one sector, whole or not at all. */
export const HEADER_SECTOR_BYTES = SECTOR_BYTES;
const V2_BYTES = 72;
const V3_BYTES = 104;
const NAME_BYTES_MAX = 1023;
const L1_BYTES_MAX = 32 << 20;
const REFCOUNT_TABLE_BYTES_MAX = 8 << 20;
const SNAPSHOTS_MAX = 65536;
const CLUSTER_BITS = { min: 9, max: 21 };
const REFCOUNT_ORDER_MAX = 6;

export const INCOMPATIBLE = { dirty: 1, corrupt: 2, dataFile: 4, compression: 8, extendedL2: 16 } as const;
export const EXTENSION = {
  end: 0,
  backingFormat: 0xe2792aca,
  featureNames: 0x6803f857,
  bitmaps: 0x23852875,
  encryption: 0x0537be77,
  dataFile: 0x44415441,
} as const;
/** Offsets of what changes. */
export const FIELD = {
  l1Entries: 36,
  l1At: 40,
  refcountTableAt: 48,
  refcountTableClusters: 56,
  incompatible: 72,
  autoclear: 88,
} as const;

export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly clusterBytes: number;
  /** Of the disk. */
  readonly sizeBytes: number;
  readonly l1Entries: number;
  readonly l1At: number;
  readonly refcountTableAt: number;
  readonly refcountTableClusters: number;
  readonly snapshots: number;
  readonly snapshotsAt: number;
  /** A refcount has 2 to the power of this many bits. */
  readonly refcountOrder: number;
  readonly compression: 'zlib' | 'zstd';
  readonly backing?: { readonly name: string; readonly format?: string };
  /** Refcounts are not to be trusted. */
  readonly isDirty: boolean;
  /** QEMU, or we, found tables that cannot be right: not to be written. */
  readonly isCorrupt: boolean;
  /** QEMU's dirty bitmaps, which a write by anybody else makes stale. */
  readonly hasBitmaps: boolean;
}

/** Whether a file that begins so says that it is qcow2. */
export function hasQcow2Magic(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) === QCOW2_MAGIC;
}

/** `bytes`: the file's first HEADER_BYTES_MAX, or all of it. Throws OperatorError `disk-damaged` or `disk-unsupported`. */
export function decodeHeader(path: string, bytes: Uint8Array, fileBytes: number): Qcow2Header {
  if (!hasQcow2Magic(bytes) || bytes.length < V2_BYTES) {
    throw new OperatorError(
      'disk-format',
      `${path} is no qcow2 image`,
      'Name its format: format=raw, or another file; `qemu-img info` tells what it is.',
    );
  }
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = data.getUint32(4);
  if (version !== 2 && version !== 3) throw unsupported(path, `version ${version} of qcow2`);
  if (version === 3 && bytes.length < V3_BYTES) throw damaged(path, 'ends in its header');
  const headerBytes = version === 2 ? V2_BYTES : data.getUint32(100);
  const clusterBits = data.getUint32(20);
  if (clusterBits < CLUSTER_BITS.min || clusterBits > CLUSTER_BITS.max) {
    throw damaged(path, `has clusters of 2^${clusterBits} bytes; there may be 2^9 to 2^21`);
  }
  const clusterBytes = 2 ** clusterBits;
  if (headerBytes < (version === 2 ? V2_BYTES : V3_BYTES) || headerBytes > Math.min(clusterBytes, bytes.length)) {
    throw damaged(path, `has a header of ${headerBytes} bytes`);
  }
  const incompatible = version === 2 ? 0n : data.getBigUint64(FIELD.incompatible);
  checkFeatures(path, data, incompatible);
  const extensions = readExtensions(path, bytes.subarray(0, clusterBytes), headerBytes);
  const header: Qcow2Header = {
    ...{ version, clusterBits, clusterBytes, ...backingOf(path, bytes.subarray(0, clusterBytes), extensions) },
    sizeBytes: u64(data, 24),
    l1Entries: data.getUint32(FIELD.l1Entries),
    l1At: u64(data, FIELD.l1At),
    refcountTableAt: u64(data, FIELD.refcountTableAt),
    refcountTableClusters: data.getUint32(FIELD.refcountTableClusters),
    snapshots: data.getUint32(60),
    snapshotsAt: u64(data, 64),
    refcountOrder: version === 2 ? 4 : data.getUint32(96),
    compression: compressionOf(path, data, headerBytes),
    isDirty: (incompatible & BigInt(INCOMPATIBLE.dirty)) !== 0n,
    isCorrupt: (incompatible & BigInt(INCOMPATIBLE.corrupt)) !== 0n,
    hasBitmaps: extensions.has(EXTENSION.bitmaps),
  };
  checkPlaces(path, header, fileBytes);
  return header;
}

export function damaged(path: string, how: string): OperatorError {
  return new OperatorError(
    'disk-damaged',
    `${path} ${how}`,
    'Look at it with `qemu-img check`, repair a copy with `qemu-img check -r all`, or take a backup.',
  );
}

function unsupported(path: string, what: string): OperatorError {
  return new OperatorError(
    'disk-unsupported',
    `${path} uses ${what}, which is not supported`,
    `Convert it: qemu-img convert -O qcow2 ${path} NEW.qcow2`,
  );
}

function checkFeatures(path: string, data: DataView, incompatible: bigint): void {
  if (data.getUint32(32) !== 0) throw unsupported(path, 'encryption');
  if ((incompatible & BigInt(INCOMPATIBLE.dataFile)) !== 0n) throw unsupported(path, 'an external data file');
  if ((incompatible & BigInt(INCOMPATIBLE.extendedL2)) !== 0n) throw unsupported(path, 'extended L2 entries');
  const unknown = incompatible & ~31n;
  if (unknown !== 0n) throw unsupported(path, `incompatible features (bits 0x${unknown.toString(16)})`);
}

function compressionOf(path: string, data: DataView, headerBytes: number): 'zlib' | 'zstd' {
  const type = headerBytes > V3_BYTES ? data.getUint8(V3_BYTES) : 0;
  if (type > 1) throw unsupported(path, `compression of type ${type}`);
  return type === 1 ? 'zstd' : 'zlib';
}

function readExtensions(path: string, bytes: Uint8Array, headerBytes: number): Map<number, Uint8Array> {
  const extensions = new Map<number, Uint8Array>();
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const nameAt = u64(data, 8);
  const end = nameAt === 0 ? bytes.length : Math.min(nameAt, bytes.length);
  // A header of version 2 that ends right before the backing file's name has no extensions.
  for (let at = headerBytes; at + 8 <= end; ) {
    const type = data.getUint32(at);
    const length = data.getUint32(at + 4);
    if (type === EXTENSION.end) break;
    at += 8;
    if (at + length > end) throw damaged(path, 'has a header extension that does not fit into its header');
    extensions.set(type, bytes.subarray(at, at + length));
    at += Math.ceil(length / 8) * 8;
  }
  return extensions;
}

function backingOf(
  path: string,
  bytes: Uint8Array,
  extensions: ReadonlyMap<number, Uint8Array>,
): { backing?: Qcow2Header['backing'] & {} } {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = u64(data, 8);
  const length = data.getUint32(16);
  if (at === 0) return {};
  if (length > NAME_BYTES_MAX || at + length > bytes.length)
    throw damaged(path, "has a backing file's name out of place");
  const name = new TextDecoder().decode(bytes.subarray(at, at + length));
  if (length === 0 || name.includes('\0')) throw damaged(path, "has no proper backing file's name");
  const format = extensions.get(EXTENSION.backingFormat);
  return { backing: format === undefined ? { name } : { name, format: new TextDecoder().decode(format) } };
}

/** All that is read whole, or before anything else, lies in the file and is not too large. */
function checkPlaces(path: string, header: Qcow2Header, fileBytes: number): void {
  const { clusterBytes, sizeBytes } = header;
  if (sizeBytes === 0 || sizeBytes % SECTOR_BYTES !== 0 || !Number.isSafeInteger(sizeBytes)) {
    throw damaged(path, `has a disk of ${sizeBytes} bytes; one has a multiple of ${SECTOR_BYTES}, and at least that`);
  }
  if (header.refcountOrder > REFCOUNT_ORDER_MAX) throw damaged(path, `has refcounts of 2^${header.refcountOrder} bits`);
  const entriesPerTable = clusterBytes / 8;
  if (header.l1Entries < Math.ceil(sizeBytes / (clusterBytes * entriesPerTable))) {
    throw damaged(path, 'has an L1 table that is too small for its disk');
  }
  const table = (name: string, at: number, bytes: number, most: number): void => {
    if (bytes > most) throw damaged(path, `has ${name} of ${bytes} bytes; at most ${most} are possible`);
    // What lies behind the file's end is zeros, in its last cluster.
    if (at === 0 || at % clusterBytes !== 0 || at + bytes > Math.ceil(fileBytes / clusterBytes) * clusterBytes) {
      throw damaged(path, `has ${name} out of place`);
    }
  };
  table('an L1 table', header.l1At, header.l1Entries * 8, L1_BYTES_MAX);
  if (header.refcountTableClusters === 0) throw damaged(path, 'has no refcount table');
  const refcountTableBytes = header.refcountTableClusters * clusterBytes;
  table('a refcount table', header.refcountTableAt, refcountTableBytes, REFCOUNT_TABLE_BYTES_MAX);
  if (header.snapshots > SNAPSHOTS_MAX) throw damaged(path, `has ${header.snapshots} snapshots`);
  if (header.snapshots > 0) table('a table of snapshots', header.snapshotsAt, 0, 0);
}

/** Beyond 2^53 it is a place that no file has, whatever its last bits are. */
function u64(data: DataView, at: number): number {
  return data.getUint32(at) * 2 ** 32 + data.getUint32(at + 4);
}

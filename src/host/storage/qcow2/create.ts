/**
 * New qcow2 images, of version 3 with 16-bit refcounts like QEMU's own: empty, over another file, or with room for
 * everything from the start.
 *
 *     header | refcount table | refcount blocks | L1 table     each in clusters of its own
 *
 * An image appears under its name when it is whole.
 */
import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { OperatorError } from '../../../base/errors.ts';
import { SECTOR_BYTES } from '../../../devices/index.ts';
import type { ImageFormat } from '../image-format.ts';
import { NodeFile } from '../storage-file.ts';
import { setPlace } from './entries.ts';
import { EXTENSION, FIELD, QCOW2_MAGIC } from './header.ts';
import { readImage } from './open-image.ts';
import { Qcow2Disk } from './qcow2-disk.ts';
import { refcountsPerBlock, setRefcount } from './refcounts.ts';

const HEADER_BYTES = 112;
const REFCOUNT_ORDER = 4;
const ZERO_CHUNK_BYTES = 1 << 20;

export interface NewQcow2 {
  /** Of the disk, a multiple of 512. */
  readonly sizeBytes: number;
  /** A power of two from 512 to 2 MiB; default 64 KiB. */
  readonly clusterBytes?: number;
  /** The file below, as it is to be named (relative to the image), and its format. */
  readonly backing?: { readonly name: string; readonly format: ImageFormat };
  /** How compressed clusters that others add are packed. Default zlib. */
  readonly compression?: 'zlib' | 'zstd';
  /** `metadata`: every cluster has its place; `full`: zeros are written there, too. Default `off`. */
  readonly preallocation?: 'off' | 'metadata' | 'full';
}

/** Makes an image; the path is free. Throws OperatorError `disk-exists`, `disk-size`, `disk-not-writable`. */
export async function createQcow2(path: string, options: NewQcow2): Promise<void> {
  const bytes = emptyImage(path, options);
  const draft = `${path}.${randomUUID()}`;
  try {
    const handle = await open(draft, 'wx+', 0o644);
    const file = new NodeFile(handle, path);
    try {
      await file.write(0, [bytes]);
      await preallocate(file, bytes.length, options);
      await file.sync();
    } finally {
      await file.close();
    }
    await claimName(path);
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    if (error instanceof OperatorError) throw error;
    throw new OperatorError(
      'disk-not-writable',
      `The image ${path} cannot be made`,
      'Name a file in a folder that you may write, on a file system with room.',
      { cause: error },
    );
  }
}

/** Nobody else may have the name. */
async function claimName(path: string): Promise<void> {
  try {
    await (await open(path, 'wx', 0o644)).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new OperatorError('disk-exists', `${path} exists already`, 'Choose another name, or remove it.');
  }
}

async function preallocate(file: NodeFile, fileBytes: number, { preallocation = 'off', sizeBytes }: NewQcow2) {
  if (preallocation === 'off') return;
  const disk = new Qcow2Disk({ ...(await readImage('the new image', file, fileBytes)), readOnly: false });
  await disk.preallocate();
  const zeros = new Uint8Array(ZERO_CHUNK_BYTES);
  for (let at = 0; preallocation === 'full' && at < sizeBytes; at += zeros.length) {
    await disk.write(at, [zeros.subarray(0, Math.min(zeros.length, sizeBytes - at))]);
  }
  await disk.flush();
}

/** An image without content, whole. */
export function emptyImage(path: string, options: NewQcow2): Uint8Array {
  const { sizeBytes, clusterBytes = 1 << 16 } = options;
  const clusterBits = Math.log2(clusterBytes);
  if (!Number.isInteger(clusterBits) || clusterBits < 9 || clusterBits > 21) {
    throw new OperatorError(
      'disk-size',
      `${path} cannot have clusters of ${clusterBytes} bytes`,
      'Choose a power of 2 from 512 to 2M.',
    );
  }
  const l1Entries = Math.ceil(sizeBytes / (clusterBytes * (clusterBytes / 8)));
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % SECTOR_BYTES !== 0 || l1Entries > 4 << 20) {
    throw new OperatorError(
      'disk-size',
      `${path} cannot have ${sizeBytes} bytes`,
      'Give a multiple of 512, or larger clusters.',
    );
  }
  const l1Clusters = Math.ceil((l1Entries * 8) / clusterBytes);
  const { blocks, tableClusters } = refcountSizes(clusterBytes, l1Clusters);
  const clusters = 1 + tableClusters + blocks + l1Clusters;
  const bytes = new Uint8Array(clusters * clusterBytes);
  const data = new DataView(bytes.buffer);
  const blocksAt = (1 + tableClusters) * clusterBytes;
  writeHeader(bytes, path, options, {
    ...{ clusterBits, l1Entries, tableClusters, tableAt: clusterBytes },
    l1At: blocksAt + blocks * clusterBytes,
  });
  const table = new DataView(bytes.buffer, clusterBytes, tableClusters * clusterBytes);
  for (let i = 0; i < blocks; i++) setPlace(table, i, blocksAt + i * clusterBytes);
  const counts = new DataView(data.buffer, blocksAt, blocks * clusterBytes);
  for (let cluster = 0; cluster < clusters; cluster++) setRefcount(counts, cluster, REFCOUNT_ORDER, 1);
  return bytes;
}

/** Blocks count themselves, and the table that names them. */
function refcountSizes(clusterBytes: number, l1Clusters: number): { blocks: number; tableClusters: number } {
  const perBlock = refcountsPerBlock(clusterBytes, REFCOUNT_ORDER);
  let blocks = 1;
  for (;;) {
    const tableClusters = Math.ceil((blocks * 8) / clusterBytes);
    const needed = Math.ceil((1 + tableClusters + blocks + l1Clusters) / perBlock);
    if (needed <= blocks) return { blocks, tableClusters };
    blocks = needed;
  }
}

interface Places {
  readonly clusterBits: number;
  readonly l1Entries: number;
  readonly l1At: number;
  readonly tableAt: number;
  readonly tableClusters: number;
}

function writeHeader(bytes: Uint8Array, path: string, options: NewQcow2, places: Places): void {
  const data = new DataView(bytes.buffer);
  const isZstd = options.compression === 'zstd';
  data.setUint32(0, QCOW2_MAGIC);
  data.setUint32(4, 3);
  data.setUint32(20, places.clusterBits);
  data.setBigUint64(24, BigInt(options.sizeBytes));
  data.setUint32(FIELD.l1Entries, places.l1Entries);
  data.setBigUint64(FIELD.l1At, BigInt(places.l1At));
  data.setBigUint64(FIELD.refcountTableAt, BigInt(places.tableAt));
  data.setUint32(FIELD.refcountTableClusters, places.tableClusters);
  data.setBigUint64(FIELD.incompatible, isZstd ? 8n : 0n);
  data.setUint32(96, REFCOUNT_ORDER);
  data.setUint32(100, HEADER_BYTES);
  data.setUint8(104, isZstd ? 1 : 0);
  const { backing } = options;
  if (backing === undefined) return;
  const format = new TextEncoder().encode(backing.format);
  const name = new TextEncoder().encode(backing.name);
  const nameAt = HEADER_BYTES + 8 + Math.ceil(format.length / 8) * 8 + 8;
  if (name.length > 1023 || nameAt + name.length > 2 ** places.clusterBits) {
    throw new OperatorError(
      'disk-backing',
      `${path} has no room for the name ${backing.name}`,
      'Use a shorter name, or larger clusters.',
    );
  }
  data.setUint32(HEADER_BYTES, EXTENSION.backingFormat);
  data.setUint32(HEADER_BYTES + 4, format.length);
  bytes.set(format, HEADER_BYTES + 8);
  data.setBigUint64(8, BigInt(nameAt));
  data.setUint32(16, name.length);
  bytes.set(name, nameAt);
}

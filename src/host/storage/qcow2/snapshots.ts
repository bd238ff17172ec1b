/**
 * Snapshots inside an image (QEMU's docs/interop/qcow2, "Snapshots"). They stay as they are, whatever is written: what they
 * refer to has refcounts above 1 and is not written in place. Where their tables lie must be known, so that nothing else
 * goes there.
 */
import { damaged, type Qcow2Header } from './header.ts';
import type { ImageFile } from './image-file.ts';
import type { Run } from './metadata.ts';

const ENTRY_BYTES = 40;
const EXTRA_BYTES_MAX = 1024;
const TABLE_BYTES_MAX = 64 << 20;
const L1_BYTES_MAX = 32 << 20;

export interface SnapshotTable {
  readonly l1At: number;
  readonly l1Entries: number;
}

/** The snapshots' L1 tables, and how long their own table is. Throws OperatorError `disk-damaged`. */
export async function readSnapshots(
  path: string,
  header: Qcow2Header,
  image: ImageFile,
): Promise<{ tables: SnapshotTable[]; sizeBytes: number }> {
  const tables: SnapshotTable[] = [];
  const entry = new Uint8Array(ENTRY_BYTES);
  const data = new DataView(entry.buffer);
  let at = header.snapshotsAt;
  for (let i = 0; i < header.snapshots; i++) {
    await image.read(at, [entry]);
    const l1At = data.getUint32(0) * 2 ** 32 + data.getUint32(4);
    const l1Entries = data.getUint32(8);
    const extraBytes = data.getUint32(36);
    const isWrong = l1At % header.clusterBytes !== 0 || l1Entries * 8 > L1_BYTES_MAX || extraBytes > EXTRA_BYTES_MAX;
    if (isWrong || l1At + l1Entries * 8 > image.sizeBytes)
      throw damaged(path, `has a snapshot (number ${i}) that cannot be`);
    tables.push({ l1At, l1Entries });
    at += Math.ceil((ENTRY_BYTES + extraBytes + data.getUint16(12) + data.getUint16(14)) / 8) * 8;
    if (at - header.snapshotsAt > TABLE_BYTES_MAX) throw damaged(path, 'has too large a table of snapshots');
  }
  return { tables, sizeBytes: at - header.snapshotsAt };
}

/** The clusters of all these tables. */
export async function snapshotRuns(path: string, header: Qcow2Header, image: ImageFile): Promise<Run[]> {
  if (header.snapshots === 0) return [];
  const { tables, sizeBytes } = await readSnapshots(path, header, image);
  const run = (at: number, bytes: number): Run => ({
    first: Math.floor(at / header.clusterBytes),
    count: Math.ceil(bytes / header.clusterBytes),
  });
  return [run(header.snapshotsAt, sizeBytes), ...tables.map(({ l1At, l1Entries }) => run(l1At, l1Entries * 8))];
}

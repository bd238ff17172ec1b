/**
 * Disks in a snapshot. What a guest wrote to a disk that forgets it (a temporary overlay) is in the file; of any other
 * disk it says what its file was, so that a snapshot is never restored over a disk that went on without it.
 *
 *     chunk   meta: drive u32 | cluster bytes u32 | runs of clusters     data: the clusters of runs with data
 */
import { OperatorError } from '../../base/errors.ts';
import {
  CHUNK,
  type ChunkHeader,
  type ChunkReader,
  countData,
  damaged,
  decodeRuns,
  encodeRuns,
  RUN,
  RunList,
} from '../../machine/index.ts';
import { absoluteDrive, type OpenedDrive } from '../machine/drives.ts';
import type { DriveOptions } from '../machine/machine-api.ts';
import type { Overlay } from '../storage/index.ts';
import type { SnapshotHead } from './contents.ts';
import type { SnapshotWriter } from './snapshot-writer.ts';

const CHUNK_BYTES = 1 << 20;
const MOST_RUNS = 4096;
const META_BYTES = 8;

/** What is written of each drive into the head. Nothing is under way on them, and all of it is flushed. */
export async function describeDrives(drives: readonly OpenedDrive[]): Promise<SnapshotHead['drives']> {
  return await Promise.all(
    drives.map(async (drive) => ({
      identity: await drive.identity(),
      sizeBytes: drive.backend.sizeBytes,
      isHere: drive.temporary !== undefined,
    })),
  );
}

/** Names by which the files can be found from anywhere. */
export function absoluteDrives(drives: readonly DriveOptions[] | undefined): readonly DriveOptions[] | undefined {
  return drives?.map(absoluteDrive);
}

/** Writes what guests wrote to temporary overlays; how many clusters. */
export async function writeDisks(writer: SnapshotWriter, drives: readonly OpenedDrive[]): Promise<number> {
  let clusters = 0;
  for (const [i, { temporary }] of drives.entries())
    if (temporary !== undefined) clusters += await writeOverlay(writer, i, temporary);
  return clusters;
}

async function writeOverlay(writer: SnapshotWriter, drive: number, disk: Overlay): Promise<number> {
  const { clusterBytes } = disk;
  const most = Math.max(1, CHUNK_BYTES / clusterBytes);
  let list = new RunList();
  let clusters: number[] = [];
  let total = 0;
  const write = async (): Promise<void> => {
    const data = new Uint8Array(clusters.length * clusterBytes);
    for (const [i, cluster] of clusters.entries()) {
      const offset = cluster * clusterBytes;
      // The disk may end within its last cluster.
      const count = Math.min(clusterBytes, disk.sizeBytes - offset);
      await disk.read(offset, [data.subarray(i * clusterBytes, i * clusterBytes + count)]);
    }
    const numbers = new Uint32Array([drive, clusterBytes]);
    const meta = Buffer.concat([new Uint8Array(numbers.buffer), encodeRuns(list.runs)]);
    total += clusters.length;
    await writer.chunk(CHUNK.disk, meta, data);
    list = new RunList();
    clusters = [];
  };
  for (const { cluster, isZero } of disk.changes()) {
    list.add(cluster, isZero ? RUN.zero : RUN.data);
    if (!isZero) clusters.push(cluster);
    if (clusters.length >= most || list.runs.length >= MOST_RUNS) await write();
  }
  if (list.runs.length > 0) await write();
  return total;
}

/** Throws OperatorError `disk-changed` where a disk is not what it was. */
export async function checkDrives(head: SnapshotHead, drives: readonly OpenedDrive[], name: string): Promise<void> {
  if (head.drives.length !== drives.length) throw damaged(name, 'is damaged: its drives do not fit together');
  for (const [i, drive] of drives.entries()) {
    const was = head.drives[i];
    const identity = await drive.identity();
    if (was === undefined || was.isHere !== (drive.temporary !== undefined))
      throw damaged(name, 'is damaged: its drives do not fit together');
    if (was.identity === identity && was.sizeBytes === drive.backend.sizeBytes) continue;
    const { file, overlay } = drive.options;
    throw new OperatorError(
      'disk-changed',
      `${typeof overlay === 'string' ? overlay : file} was changed since the snapshot ${name} was taken: it had ${was.identity}, now ${identity}`,
      'Bring it back as it was (copies with "cp -p"), or give disks ",snapshot=on" before the snapshot is taken.',
    );
  }
}

/** Puts a chunk's clusters into the overlay that they belong to; how many. */
export async function readDisk(
  reader: ChunkReader,
  header: ChunkHeader,
  drives: readonly OpenedDrive[],
): Promise<number> {
  const meta = reader.meta(header);
  const data = reader.data(header, meta);
  const words = new DataView(meta.buffer, meta.byteOffset, meta.length);
  const disk = meta.length < META_BYTES ? undefined : drives[words.getUint32(0, true)]?.temporary;
  const clusterBytes = disk?.clusterBytes ?? 0;
  const runs = decodeRuns(meta.subarray(META_BYTES), Math.ceil((disk?.sizeBytes ?? 0) / (clusterBytes || 1)));
  if (disk === undefined || words.getUint32(4, true) !== clusterBytes || runs === undefined)
    throw damaged(reader.name, 'is damaged: a list of clusters makes no sense');
  if (countData(runs) * clusterBytes !== data.length)
    throw damaged(reader.name, 'is damaged: a list of clusters makes no sense');
  let at = 0;
  for (const { first, count, kind } of runs) {
    const offset = first * clusterBytes;
    const size = Math.min(count * clusterBytes, disk.sizeBytes - offset);
    if (kind === RUN.zero) await disk.writeZeroes(offset, size);
    else {
      await disk.write(offset, [data.subarray(at, at + size)]);
      at += count * clusterBytes;
    }
  }
  return countData(runs);
}

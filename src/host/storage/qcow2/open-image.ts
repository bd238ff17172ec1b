/**
 * A qcow2 image as a file, with the files below it: opened and locked, the image for itself alone or shared when it is
 * read-only, those below always shared. Chains are followed to a bound, and no file comes twice. Names of files below are
 * relative to the image that names them, and are names of files alone: `json:`, `nbd:` and the like are refused.
 */
import type { BigIntStats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { OperatorError } from '../../../base/errors.ts';
import type { BlockBackend } from '../../../devices/index.ts';
import { type DiskLock, lockDisk } from '../disk-lock.ts';
import { imageFormat } from '../image-format.ts';
import { checkIsFile, fileIdentity, openHandle, openRawFile } from '../raw-file.ts';
import { NodeFile, type StorageFile } from '../storage-file.ts';
import { Commits } from './commit.ts';
import { damaged, decodeHeader, HEADER_BYTES_MAX, type Qcow2Header } from './header.ts';
import { ImageFile } from './image-file.ts';
import { Metadata } from './metadata.ts';
import { Qcow2Disk } from './qcow2-disk.ts';
import { repairDirty } from './repair.ts';
import { snapshotRuns } from './snapshots.ts';

const CHAIN_MOST = 64;

export interface Qcow2Options {
  readonly readOnly?: boolean;
  /** Default: the user's. */
  readonly lockFolder?: string;
  /** False: an image that names a file below it is refused. Default true. */
  readonly backing?: boolean;
  /** As RawFileOptions.quick, of the image and the files below it. */
  readonly quick?: boolean;
}

/** An open image. */
export interface OpenQcow2 {
  readonly disk: Qcow2Disk;
  /** Changes when the image, or a file below it, was changed by anybody. */
  identity(): Promise<string>;
  /** Flushes, closes all files, gives their locks back. */
  close(): Promise<void>;
}

interface Below {
  readonly backend: BlockBackend;
  identity(): Promise<string>;
  close(): Promise<void>;
}

/** Throws OperatorError where the operator can help. */
export function openQcow2(path: string, options: Qcow2Options = {}): Promise<OpenQcow2> {
  return openLink(path, options, new Set());
}

async function openLink(path: string, options: Qcow2Options, above: Set<string>): Promise<OpenQcow2> {
  const readOnly = options.readOnly ?? false;
  const handle = await openHandle(path, readOnly);
  let lock: DiskLock | undefined;
  let below: Below | undefined;
  try {
    const stat = await handle.stat({ bigint: true });
    checkIsFile(path, stat);
    checkChain(path, stat, above);
    lock = await lockDisk(path, stat, readOnly ? 'shared' : 'exclusive', options.lockFolder);
    const image = await readImage(path, new NodeFile(handle, path), Number(stat.size));
    if (!readOnly) await makeWritable(path, image);
    const { backing } = image.metadata.header;
    below = backing === undefined ? undefined : await openBelow(path, backing, options, above);
    const disk = new Qcow2Disk({
      ...image,
      readOnly,
      quick: options.quick ?? false,
      ...(below === undefined ? {} : { backing: below.backend }),
    });
    return asOpen(path, disk, lock, below);
  } catch (error) {
    await below?.close();
    lock?.release();
    await handle.close();
    throw error;
  }
}

function asOpen(path: string, disk: Qcow2Disk, lock: DiskLock, below: Below | undefined): OpenQcow2 {
  return {
    disk,
    identity: async () => {
      const own = await fileIdentity(path);
      return below === undefined ? own : `${own}, over ${await below.identity()}`;
    },
    close: async () => {
      try {
        await disk.close();
      } finally {
        lock.release();
        await below?.close();
      }
    },
  };
}

/** An image in a file that is open already. */
export interface Image {
  readonly file: ImageFile;
  readonly metadata: Metadata;
  readonly commits: Commits;
}

/** Reads what is kept in memory; throws OperatorError `disk-damaged` and the like. `path` is for messages. */
export async function readImage(path: string, opened: StorageFile, fileBytes: number): Promise<Image> {
  const file = new ImageFile(opened, fileBytes);
  const start = new Uint8Array(Math.min(HEADER_BYTES_MAX, fileBytes));
  await file.read(0, [start]);
  const header = decodeHeader(path, start, fileBytes);
  const l1 = new Uint8Array(header.l1Entries * 8);
  await file.read(header.l1At, [l1]);
  const refcountTable = new Uint8Array(header.refcountTableClusters * header.clusterBytes);
  await file.read(header.refcountTableAt, [refcountTable]);
  const snapshots = await snapshotRuns(path, header, file);
  const metadata = new Metadata(header, { l1, refcountTable, snapshots }, file);
  return { file, metadata, commits: new Commits(metadata, file, start) };
}

/** Throws OperatorError where an image may only be read. */
export async function makeWritable(path: string, { metadata, file, commits }: Image): Promise<void> {
  const { isCorrupt, hasBitmaps, isDirty } = metadata.header;
  if (isCorrupt) throw damaged(path, 'is marked as corrupt and may only be read');
  if (hasBitmaps) {
    throw new OperatorError(
      'disk-unsupported',
      `${path} has dirty bitmaps, which writing would make stale`,
      `Use it read-only, or remove them: qemu-img bitmap --remove ${path} NAME`,
    );
  }
  if (isDirty) await repairDirty(path, metadata, file, commits);
}

function checkChain(path: string, { dev, ino }: BigIntStats, above: Set<string>): void {
  const identity = `${dev}-${ino}`;
  if (above.has(identity)) throw damaged(path, 'is below itself');
  if (above.size >= CHAIN_MOST) throw damaged(path, `is below ${CHAIN_MOST} others; that many are too many`);
  above.add(identity);
}

async function openBelow(
  path: string,
  { name, format }: Qcow2Header['backing'] & {},
  options: Qcow2Options,
  above: Set<string>,
): Promise<Below> {
  const file = resolve(dirname(path), name.replace(/^file:/, ''));
  if (options.backing === false || (/^[a-z][\w+.-]*:/i.test(name) && !name.startsWith('file:'))) {
    throw new OperatorError(
      'disk-backing',
      `${path} names ${JSON.stringify(name)} as the file below it, which is not ${options.backing === false ? 'allowed' : "a file's name"}`,
      `Look at it with \`qemu-img info\`, and make it one image: qemu-img convert -O qcow2 ${path} NEW.qcow2`,
    );
  }
  const fix = `Say it in ${path}: qemu-img rebase -u -F raw -b ${name} ${path} (or -F qcow2)`;
  const lock = options.lockFolder === undefined ? {} : { lockFolder: options.lockFolder };
  if ((await imageFormat(file, format, fix)) === 'qcow2') {
    const { disk, identity, close } = await openLink(file, { ...options, readOnly: true }, above);
    return { backend: disk, identity, close };
  }
  const raw = await openRawFile(file, { readOnly: true, quick: options.quick ?? false, ...lock });
  return { backend: raw, identity: async () => raw.identity, close: () => raw.close() };
}

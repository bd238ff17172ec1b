/**
 * A disk that is a plain file: what the guest sees at an offset is in the file at that offset. The file may be
 * sparse and stays so: zeroing writes only where something else was. Node cannot punch holes, so there is no
 * discard. Flush is fdatasync.
 */
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import { type BlockBackend, SECTOR_BYTES } from '../../devices/index.ts';
import { type DiskLock, lockDisk } from './disk-lock.ts';
import type { QuickFilePlace } from './quick-file.ts';
import { NodeFile } from './storage-file.ts';

const ZERO_CHUNK_BYTES = 1 << 20;

export interface RawFileOptions {
  readonly readOnly?: boolean;
  /** Default: the user's. */
  readonly lockFolder?: string;
  /** Little is read and written at once, on the caller's thread, while the file is fast. Default false: by promises alone. */
  readonly quick?: boolean;
}

/** Opens an existing file as a disk and locks it: shared when read-only, else for itself alone. */
export async function openRawFile(path: string, options: RawFileOptions = {}): Promise<RawFile> {
  const readOnly = options.readOnly ?? false;
  const handle = await openHandle(path, readOnly);
  try {
    const found = await handle.stat({ bigint: true });
    checkIsFile(path, found);
    checkSize(path, found);
    const lock = await lockDisk(path, found, readOnly ? 'shared' : 'exclusive', options.lockFolder);
    return new RawFile(new NodeFile(handle, path), lock, path, found, { readOnly, quick: options.quick ?? false });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Opens a disk's file, whatever is in it; throws OperatorError where that cannot be. */
export async function openHandle(path: string, readOnly: boolean): Promise<FileHandle> {
  try {
    // Without O_NONBLOCK a pipe would wait here for its other end.
    return await open(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK);
  } catch (error) {
    throw explained(path, readOnly, error);
  }
}

function explained(path: string, readOnly: boolean, error: unknown): unknown {
  const options = { cause: error };
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new OperatorError(
        'disk-not-found',
        `There is no disk ${path}`,
        `Check the path, or make an empty disk: truncate -s 8G ${path}`,
        options,
      );
    case 'EISDIR':
      return directoryError(path);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'ETXTBSY':
      if (readOnly) {
        return new OperatorError('disk-not-readable', `${path} may not be read`, `chmod u+r ${path}`, options);
      }
      return new OperatorError(
        'disk-not-writable',
        `${path} may not be written`,
        `Use it read-only (${path}:ro), or allow writing: chmod u+w ${path}`,
        options,
      );
    default:
      return error;
  }
}

function directoryError(path: string): OperatorError {
  return new OperatorError('disk-is-directory', `${path} is a directory`, 'Name a disk image: a file.');
}

export function checkIsFile(path: string, stat: BigIntStats): void {
  if (stat.isDirectory()) throw directoryError(path);
  if (!stat.isFile()) {
    throw new OperatorError('disk-not-a-file', `${path} is not a regular file`, 'Name a disk image: a file.');
  }
}

function checkSize(path: string, stat: BigIntStats): void {
  if (stat.size === 0n || stat.size % BigInt(SECTOR_BYTES) !== 0n) {
    throw new OperatorError(
      'disk-size',
      `${path} has ${stat.size} bytes; a disk has a multiple of ${SECTOR_BYTES}, and at least one`,
      `If it is a raw image, round its size up: truncate -s %${SECTOR_BYTES} ${path}`,
    );
  }
}

/** What `RawFile.identity` would be if the file were opened now. */
export async function fileIdentity(path: string): Promise<string> {
  return identityOf(await stat(path, { bigint: true }));
}

export function identityOf({ size, mtimeNs }: BigIntStats): string {
  return `${size} bytes, modified at ${mtimeNs} ns`;
}

export class RawFile implements BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly path: string;
  /** Changes when the file's content was changed by anybody: what an overlay remembers of its base. */
  readonly identity: string;
  /** Where requests may be done at once: what another thread needs for that. */
  readonly place: QuickFilePlace | undefined;
  readonly #file: NodeFile;
  readonly #quick: boolean;
  readonly #lock: DiskLock;
  #closed = false;

  /** By `openRawFile`. */
  constructor(
    file: NodeFile,
    lock: DiskLock,
    path: string,
    stat: BigIntStats,
    { readOnly, quick }: { readonly readOnly: boolean; readonly quick: boolean },
  ) {
    this.#file = file;
    this.#lock = lock;
    this.path = path;
    this.sizeBytes = Number(stat.size);
    this.identity = identityOf(stat);
    this.readOnly = readOnly;
    this.#quick = quick;
    this.place = quick ? { path: resolve(path), readOnly, device: stat.dev, inode: stat.ino } : undefined;
  }

  read(offset: number, into: readonly Uint8Array[]): Promise<void> | void {
    if (this.#quick && this.#file.readNow(offset, into)) return;
    return this.#file.read(offset, into);
  }

  write(offset: number, from: readonly Uint8Array[]): Promise<void> | void {
    if (this.#quick && this.#file.writeNow(offset, from)) return;
    return this.#file.write(offset, from);
  }

  flush(): Promise<void> {
    return this.#file.sync();
  }

  async writeZeroes(offset: number, sizeBytes: number): Promise<void> {
    const buffer = new Uint8Array(Math.min(sizeBytes, ZERO_CHUNK_BYTES));
    for (const end = offset + sizeBytes; offset < end; offset += ZERO_CHUNK_BYTES) {
      const chunk = buffer.subarray(0, Math.min(ZERO_CHUNK_BYTES, end - offset));
      await this.#file.read(offset, [chunk]);
      if (isZero(chunk)) continue;
      chunk.fill(0);
      await this.#file.write(offset, [chunk]);
    }
  }

  /** Closes the file and gives the disk free; what was not flushed is the operating system's to write. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.#file.close();
    } finally {
      this.#lock.release();
    }
  }
}

function isZero(bytes: Uint8Array): boolean {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  return words.every((word) => word === 0);
}

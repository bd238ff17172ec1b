/**
 * A snapshot's file as it is read, in its order: the head, the state, what the console said, the disks, guest memory.
 * Everything in it is checked before it is used; whatever is wrong is an OperatorError that names the file.
 */
import { closeSync, constants, fstatSync, openSync, read, readSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { promisify } from 'node:util';
import { OperatorError } from '../../base/errors.ts';
import {
  type BasePages,
  type Board,
  type ByteSource,
  CHUNK,
  type ChunkHeader,
  ChunkReader,
  comparePages,
  damaged,
  readPages,
} from '../../machine/index.ts';
import { type Shape, ShapeError } from '../control/shape.ts';
import type { OpenedDrive } from '../machine/drives.ts';
import { codecs } from './codecs.ts';
import { type SnapshotHead, type SnapshotState, snapshotEnd, snapshotHead, snapshotState } from './contents.ts';
import { checkDrives, readDisk } from './disks.ts';

/** Increments of increments: as many are looked through. */
const MOST_BASES = 64;
/** Memory that is asked for at a time, unpacked: Node's threads read and unpack it while this one does other work. */
const MOST_UNDER_WAY_BYTES = 16 << 20;

export class SnapshotFile {
  readonly path: string;
  readonly head: SnapshotHead;
  readonly #file: number;
  readonly #reader: ChunkReader;
  /** Read ahead, and not used yet. */
  #next: ChunkHeader | undefined;
  #clusters = 0;
  #pageBytes = 0;
  #isClosed = false;

  /** Reads the head. Throws OperatorError `snapshot-not-found` and others of `snapshot-`. */
  static open(path: string): SnapshotFile {
    const file = openFile(path);
    try {
      return new SnapshotFile(path, file);
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  private constructor(path: string, file: number) {
    this.path = path;
    this.#file = file;
    this.#reader = new ChunkReader(sourceOf(path, file), codecs);
    this.head = this.#json(CHUNK.head, snapshotHead);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#file);
  }

  /** Next, of the file's order. */
  readState(): { readonly state: SnapshotState; readonly console: Uint8Array } {
    const state = this.#json(CHUNK.state, snapshotState);
    const header = this.#take(CHUNK.console);
    return { state, console: this.#reader.data(header, this.#reader.meta(header)) };
  }

  /** Then the disks: checked, and what guests wrote to temporary overlays put into them. */
  async readDisks(drives: readonly OpenedDrive[]): Promise<void> {
    await checkDrives(this.head, drives, this.path);
    for (let header = this.#peek(); header.kind === CHUNK.disk; header = this.#peek())
      this.#clusters += await readDisk(this.#reader, this.#take(CHUNK.disk), drives);
  }

  /** Then guest memory, its bases' first. The board has not run yet, and nothing writes to it once this has settled. */
  async readMemory(board: Board): Promise<void> {
    const bases = this.#bases();
    try {
      for (const base of bases) await base.#readAll(board);
    } finally {
      for (const base of bases) base.close();
    }
    const { clusters } = await this.#readAll(board);
    if (clusters !== this.#clusters) throw damaged(this.path, 'is damaged: it does not hold what it says');
  }

  /** What of the memory of a machine that stands still is as in this snapshot. In place of all the others. */
  compare(board: Board, pages: BasePages): void {
    const bases = this.#bases();
    try {
      for (const file of [...bases, this]) {
        for (const header of file.#pageChunks()) comparePages(board, file.#reader, header, pages);
        file.#finish();
      }
    } finally {
      for (const base of bases) base.close();
    }
  }

  async #readAll(board: Board): Promise<{ readonly clusters: number }> {
    const underWay: { readonly bytes: number; readonly done: Promise<void> }[] = [];
    let bytes = 0;
    const settleFirst = async (): Promise<void> => {
      const first = underWay.shift();
      bytes -= first?.bytes ?? 0;
      await first?.done;
    };
    try {
      for (const header of this.#pageChunks()) {
        while (underWay.length > 0 && bytes + header.dataBytes > MOST_UNDER_WAY_BYTES) await settleFirst();
        const done = readPages(board, this.#reader, header);
        done.catch(() => {}); // whoever waits for it is told
        underWay.push({ bytes: header.dataBytes, done });
        bytes += header.dataBytes;
      }
      while (underWay.length > 0) await settleFirst();
    } finally {
      await Promise.allSettled(underWay.map(({ done }) => done));
    }
    return this.#finish();
  }

  /** Guest memory's chunks, past whatever comes before them, up to the end: each is to be read before the next. */
  *#pageChunks(): Generator<ChunkHeader> {
    for (let header = this.#peek(); header.kind !== CHUNK.end; header = this.#peek()) {
      this.#next = undefined;
      if (header.kind === CHUNK.pages) {
        this.#pageBytes += header.dataBytes;
        yield header;
      } else if (this.#pageBytes === 0) this.#reader.data(header, this.#reader.meta(header));
      else throw damaged(this.path, 'is damaged: its parts stand in another order');
    }
  }

  /** The end, which must count as many pages as there were. */
  #finish(): { readonly clusters: number } {
    const end = this.#json(CHUNK.end, snapshotEnd);
    if (end.pages * 4096 !== this.#pageBytes) throw damaged(this.path, 'is damaged: it does not hold what it says');
    this.#reader.finish();
    return end;
  }

  /** The snapshots that this one is an increment of, the oldest first. */
  #bases(): SnapshotFile[] {
    const bases: SnapshotFile[] = [];
    try {
      for (let above: SnapshotFile = this; above.head.base !== undefined; ) {
        const { id, path } = above.head.base;
        if (bases.length >= MOST_BASES) throw damaged(this.path, 'has too many bases');
        const at = isAbsolute(path) ? path : resolve(dirname(above.path), path);
        const base = openBase(above.path, at);
        bases.unshift(base);
        if (base.head.id !== id || base.head.options.memoryBytes !== this.head.options.memoryBytes)
          throw noBase(above.path, at, 'is another snapshot by now');
        above = base;
      }
      return bases;
    } catch (error) {
      for (const base of bases) base.close();
      throw error;
    }
  }

  #peek(): ChunkHeader {
    this.#next ??= this.#reader.next();
    return this.#next;
  }

  #take(kind: number): ChunkHeader {
    const header = this.#peek();
    if (header.kind !== kind) throw damaged(this.path, 'is damaged: its parts stand in another order');
    this.#next = undefined;
    return header;
  }

  #json<T>(kind: number, shape: Shape<T>): T {
    const header = this.#take(kind);
    const data = this.#reader.data(header, this.#reader.meta(header));
    try {
      return shape(JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString('utf8')), 'it');
    } catch (error) {
      if (error instanceof ShapeError) throw damaged(this.path, `is damaged: ${error.message}`);
      if (error instanceof SyntaxError) throw damaged(this.path, 'is damaged: a part of it is no JSON');
      throw error;
    }
  }
}

function openBase(above: string, path: string): SnapshotFile {
  try {
    return SnapshotFile.open(path);
  } catch (error) {
    if (error instanceof OperatorError && error.code === 'snapshot-not-found')
      throw noBase(above, path, 'is not there');
    throw error;
  }
}

function noBase(above: string, path: string, how: string): OperatorError {
  return new OperatorError(
    'snapshot-base',
    `the snapshot ${above} is an increment of ${path}, which ${how}`,
    'Put its base back where it was, beside it as when it was taken.',
  );
}

function openFile(path: string): number {
  let file: number;
  try {
    // Without O_NONBLOCK a pipe would wait here for its other end.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new OperatorError(
        'snapshot-not-found',
        `there is no snapshot ${path}`,
        'Name a file that "kage snapshot" wrote.',
        { cause },
      );
    throw new OperatorError(
      'snapshot-not-readable',
      `the snapshot ${path} may not be read (${code})`,
      `Allow reading: chmod u+r ${path}`,
      { cause },
    );
  }
  if (fstatSync(file).isFile()) return file;
  closeSync(file);
  throw new OperatorError(
    'snapshot-not-recognized',
    `${path} is not a snapshot of a machine`,
    'Name a file that "kage snapshot" wrote.',
  );
}

const readAt = promisify(read);

/** The file's bytes, one after the other; at its end, fewer than are asked for. */
function sourceOf(path: string, file: number): ByteSource {
  let next = 0;
  return {
    name: path,
    read: (into) => {
      let done = 0;
      for (let count = 1; count > 0 && done < into.length; done += count)
        count = readSync(file, into, done, into.length - done, next + done);
      next += done;
      return done;
    },
    readLater: async (into) => {
      const start = next;
      next += into.length;
      let done = 0;
      for (let count = 1; count > 0 && done < into.length; done += count)
        count = (await readAt(file, into, done, into.length - done, start + done)).bytesRead;
      return done;
    },
  };
}

/**
 * Little is read and written at once, on the caller's thread, as long as the file answers fast: what the host has in its page
 * cache takes 2 us for a page and 60 for a MiB, and 25 more by way of a thread (measured). So is a flush, as long as the medium
 * takes less time than two threads' being woken.
 *
 * A thread beside the one that opened a disk has a descriptor of its own, so that neither can close it under the other. What
 * one wrote the other reads, and a flush of either covers both: it is the same file.
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  openSync,
  readSync,
  readvSync,
  writeSync,
  writevSync,
} from 'node:fs';
import { type QuickDisk, totalBytes } from '../../devices/index.ts';
import { Patience } from './patience.ts';

const QUICK_BYTES = 1 << 20;
/** A flash medium's; what waits beside it is one hart, and those that wait for its processor. */
const FAST_FLUSH_MS = 1;

/** A disk's file, for a thread that is to open it, too: plain data. */
export interface QuickFilePlace {
  readonly path: string;
  readonly readOnly: boolean;
  /** Of the file that was opened as the disk. */
  readonly device: bigint;
  readonly inode: bigint;
}

export class QuickFile implements QuickDisk {
  readonly #descriptor: () => number;
  readonly #patience = new Patience(() => performance.now());
  readonly #flushPatience = new Patience(() => performance.now(), FAST_FLUSH_MS);

  /** A flush did. */
  #hasFailed = false;

  /** The file that is open there: asked each time, and not this object's to close. */
  constructor(descriptor: () => number) {
    this.#descriptor = descriptor;
  }

  /**
   * Opens the file for this thread, as long as that lives; undefined where the path leads to it no more. The disk is the
   * machine's already: it has been locked, and looked at.
   */
  static open({ path, readOnly, device, inode }: QuickFilePlace): QuickFile | undefined {
    let descriptor: number;
    try {
      descriptor = openSync(path, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK);
    } catch {
      return undefined;
    }
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    if (dev === device && ino === inode) return new QuickFile(() => descriptor);
    closeSync(descriptor);
    return undefined;
  }

  read(offset: number, into: readonly Uint8Array[]): boolean {
    const [first] = into;
    return this.#now(into, () =>
      first !== undefined && into.length === 1
        ? readSync(this.#descriptor(), first, 0, first.length, offset)
        : readvSync(this.#descriptor(), into, offset),
    );
  }

  write(offset: number, from: readonly Uint8Array[]): boolean {
    const [first] = from;
    return this.#now(from, () =>
      first !== undefined && from.length === 1
        ? writeSync(this.#descriptor(), first, 0, first.length, offset)
        : writevSync(this.#descriptor(), from, offset),
    );
  }

  /**
   * An error is told to each descriptor once (errseq of Linux): the backend, which has another, meets it as well, answers it, and
   * takes no flush for good any more; so nor does this.
   */
  flush(): boolean {
    if (this.#hasFailed || !this.#flushPatience.isThere) return false;
    try {
      this.#flushPatience.timed(() => fdatasyncSync(this.#descriptor()));
      return true;
    } catch {
      this.#hasFailed = true;
      return false;
    }
  }

  #now(pieces: readonly Uint8Array[], transfer: () => number): boolean {
    const sizeBytes = totalBytes(pieces);
    if (sizeBytes > QUICK_BYTES || !this.#patience.isThere) return false;
    try {
      return this.#patience.timed(transfer) === sizeBytes;
    } catch {
      return false;
    }
  }
}

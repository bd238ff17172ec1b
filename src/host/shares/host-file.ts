/** An open file, and a folder being listed, on the host. */
import type { Dir } from 'node:fs';
import { constants } from 'node:fs';
import { Refusal } from './errno.ts';
import { type DirectoryEntry, type Listing, type OpenFile, type OpenMode, type Qid, QT_DIR } from './file-system.ts';
import { closeQuietly, type HostCalls } from './host-calls.ts';
import type { Operation } from './operation.ts';

/** Entries that are skipped before others have a turn. */
const SKIPPED_AT_A_TIME = 256;
const DT_DIR = 4;
const OFFSET_MAX = Number.MAX_SAFE_INTEGER;

/** Of an entry: its qid, and its kind as `struct dirent` has it. */
export interface EntryKind {
  readonly qid: Qid;
  readonly kind: number;
}

/** A folder as its listing sees it. */
export interface ListedFolder {
  readonly qid: Qid;
  readonly parent: { readonly qid: Qid };
  /** Its path, whatever its name is. */
  readonly place: string;
  /** Undefined where there is none. */
  entry(name: string): Operation<EntryKind | undefined>;
  retain(): void;
  release(): void;
}

/** What is open on the host, for as long as somebody uses it. */
abstract class Held {
  readonly #onClose: () => void;
  #users = 1;

  constructor(onClose: () => void) {
    this.#onClose = onClose;
  }

  retain(): void {
    this.#users++;
  }

  release(): void {
    if (--this.#users > 0) return;
    this.close();
    this.#onClose();
  }

  protected abstract close(): void;
}

export class HostFile extends Held implements OpenFile {
  readonly mode: OpenMode;
  readonly #calls: HostCalls;
  readonly #fd: number;

  constructor(calls: HostCalls, fd: number, mode: OpenMode, onClose: () => void) {
    super(onClose);
    this.#calls = calls;
    this.#fd = fd;
    this.mode = mode;
  }

  *read(offset: number, into: Uint8Array): Operation<number> {
    if (this.mode.access === 'write') throw new Refusal('EBADF');
    // No file has anything there.
    if (offset > OFFSET_MAX - into.length) return 0;
    return yield* this.#calls.read(this.#fd, into, offset);
  }

  *write(offset: number, from: Uint8Array): Operation<number> {
    if (this.mode.access === 'read') throw new Refusal('EBADF');
    if (offset > OFFSET_MAX - from.length) throw new Refusal('EFBIG');
    return yield* this.#calls.write(this.#fd, from, offset);
  }

  resize(sizeBytes: number): Operation<void> {
    return this.#calls.resize(this.#fd, sizeBytes);
  }

  sync(dataOnly: boolean): Operation<void> {
    return this.#calls.sync(this.#fd, dataOnly);
  }

  protected override close(): void {
    closeQuietly(this.#fd);
  }
}

/**
 * A folder is read once, as the guest goes on; who asks for anything else than what comes next has it read from the start.
 * Cookies are numbers of entries: Node does not tell the host's.
 */
export class HostListing extends Held implements Listing {
  readonly #calls: HostCalls;
  readonly #folder: ListedFolder;
  #dir: Dir;
  /** Cookie of the entry that was read last. */
  #at = 0;
  #last: DirectoryEntry | undefined;
  #isBusy = false;

  constructor(calls: HostCalls, folder: ListedFolder, dir: Dir, onClose: () => void) {
    super(onClose);
    this.#calls = calls;
    this.#folder = folder;
    this.#dir = dir;
    folder.retain();
  }

  *after(cookie: number): Operation<DirectoryEntry | undefined> {
    if (this.#isBusy) throw new Refusal('EBUSY');
    this.#isBusy = true;
    try {
      if (this.#last?.cookie === cookie + 1) return this.#last;
      if (cookie < this.#at) yield* this.#begin();
      for (let skipped = 0; this.#at < cookie; skipped++) {
        if ((yield* this.#next()) === undefined) return undefined;
        if (skipped % SKIPPED_AT_A_TIME === SKIPPED_AT_A_TIME - 1) yield* this.#calls.breathe();
      }
      for (;;) {
        const name = yield* this.#next();
        if (name === undefined) return undefined;
        const entry = yield* this.#entry(name);
        if (entry === undefined) continue;
        this.#last = entry;
        return entry;
      }
    } finally {
      this.#isBusy = false;
    }
  }

  *sync(): Operation<void> {
    const fd = yield* this.#calls.open(this.#folder.place, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      yield* this.#calls.sync(fd, false);
    } finally {
      closeQuietly(fd);
    }
  }

  *#begin(): Operation<void> {
    const dir = yield* this.#calls.openFolder(this.#folder.place);
    this.#closeFolder();
    this.#dir = dir;
    this.#at = 0;
    this.#last = undefined;
  }

  /** `.` and `..` come first: Node leaves them out. */
  *#next(): Operation<string | undefined> {
    if (this.#at < 2) return this.#at++ === 0 ? '.' : '..';
    const entry = yield* this.#calls.readFolder(this.#dir);
    if (entry === null) return undefined;
    this.#at++;
    return (entry.name as unknown as Buffer).toString('latin1');
  }

  /** Undefined: it has gone meanwhile. */
  *#entry(name: string): Operation<DirectoryEntry | undefined> {
    const cookie = this.#at;
    if (name === '.' || name === '..') {
      const { qid } = name === '.' ? this.#folder : this.#folder.parent;
      return { name, cookie, kind: DT_DIR, qid: { ...qid, type: QT_DIR } };
    }
    const found = yield* this.#folder.entry(name);
    return found && { name, cookie, ...found };
  }

  protected override close(): void {
    this.#closeFolder();
    this.#folder.release();
  }

  #closeFolder(): void {
    try {
      this.#dir.closeSync();
    } catch {
      // It cannot be while an operation is under way, and there is none.
    }
  }
}

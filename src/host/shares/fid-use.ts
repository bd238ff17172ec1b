/** How requests use fids: held while they work, and given out, or to something else, without one ever being lost. */
import { Refusal } from './errno.ts';
import { type Fid, type Fids, release, retain } from './fids.ts';
import type { FileNode, FileSystem } from './file-system.ts';
import type { Operation } from './operation.ts';

/** A session, as its requests see it. */
export interface Conversation {
  readonly fileSystem: FileSystem;
  readonly fids: Fids;
  /** Of which conversation: one that was given up must leave nothing behind in the next. */
  readonly epoch: number;
  readonly messageBytes: number;
}

export interface Used {
  readonly fid: Fid;
  readonly node: FileNode;
}

/** What a fid stands for, held while `body` works with it. Throws Refusal EBADF, or ESTALE for what a restored guest lost. */
export function* using<T>(talk: Conversation, number: number, body: (used: Used) => Operation<T>): Operation<T> {
  const used = found(talk, number);
  retain(used.fid);
  try {
    return yield* body(used);
  } finally {
    release(used.fid);
  }
}

export function found(talk: Conversation, number: number): Used {
  const fid = talk.fids.get(number);
  const { node } = fid;
  if (node === undefined) throw new Refusal('ESTALE');
  return { fid, node };
}

/** Puts a fid into the table, which holds it from then on; not if its conversation is over. */
export function add(talk: Conversation, number: number, fid: Fid, epoch: number): void {
  if (talk.epoch !== epoch) throw new Refusal('EBADF');
  talk.fids.checkFree(number);
  retain(fid);
  talk.fids.set(number, fid);
}

/** Has a fid stand for something else; what is opened is the table's. The guest may have given it back, or the session ended. */
export function give(talk: Conversation, number: number, before: Fid, fid: Fid): void {
  if (!talk.fids.has(number) || talk.fids.get(number) !== before) {
    fid.file?.release();
    fid.listing?.release();
    throw new Refusal('EBADF');
  }
  fid.node?.retain();
  talk.fids.set(number, fid);
  release(before);
}

export function checkUnopened({ file, listing }: Fid): void {
  if (file !== undefined || listing !== undefined) throw new Refusal('EBADF');
}

/** Throws Refusal EBADF where nothing is open. */
export function openFid(talk: Conversation, number: number): void {
  const { file, listing } = talk.fids.get(number);
  if (file === undefined && listing === undefined) throw new Refusal('EBADF');
}

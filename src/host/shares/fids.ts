/** What a guest has a number for: nodes, and what is open of them. Bounded, for a guest may forget to give them back. */
import { Refusal } from './errno.ts';
import type { FileNode, Listing, OpenFile } from './file-system.ts';

export const FIDS_MAX = 32_768;

export interface Fid {
  /** Undefined: of a guest that was restored, where there is nothing any more. */
  readonly node: FileNode | undefined;
  /** Who attached. */
  readonly uid: number;
  readonly file?: OpenFile;
  readonly listing?: Listing;
}

export class Fids {
  readonly #fids = new Map<number, Fid>();

  get count(): number {
    return this.#fids.size;
  }

  has(number: number): boolean {
    return this.#fids.has(number);
  }

  /** Throws Refusal EBADF for a number that stands for nothing. */
  get(number: number): Fid {
    const fid = this.#fids.get(number);
    if (fid === undefined) throw new Refusal('EBADF');
    return fid;
  }

  /** Throws Refusal where `number` cannot be given out. */
  checkFree(number: number): void {
    if (this.#fids.has(number)) throw new Refusal('EBADF');
    if (this.#fids.size >= FIDS_MAX) throw new Refusal('EMFILE');
  }

  /** The table releases what the fid holds. */
  set(number: number, fid: Fid): void {
    this.#fids.set(number, fid);
  }

  /** Throws Refusal EBADF. */
  remove(number: number): void {
    const fid = this.get(number);
    this.#fids.delete(number);
    release(fid);
  }

  clear(): void {
    const all = [...this.#fids.values()];
    this.#fids.clear();
    for (const fid of all) release(fid);
  }

  entries(): Iterable<[number, Fid]> {
    return this.#fids.entries();
  }
}

/** For as long as an operation needs them. */
export function retain({ node, file, listing }: Fid): void {
  node?.retain();
  file?.retain();
  listing?.retain();
}

export function release({ node, file, listing }: Fid): void {
  file?.release();
  listing?.release();
  node?.release();
}

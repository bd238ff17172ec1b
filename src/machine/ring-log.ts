/**
 * Rings in shared memory that one thread writes and another reads now and then: what the ring no longer holds when it is
 * looked at is lost, and counted. A guest decides how much there is to log, not how much memory it takes.
 */
import { must } from '../base/assert.ts';

export interface Ring {
  /** Entries written so far, modulo 2^32. */
  readonly next: number;
  readonly words: BigUint64Array;
  /** How many it holds, a power of two, and words of each. */
  readonly entries: number;
  readonly width: number;
}

/** Entries that are left alone when the ring is nearly full: the writer goes on, and may be writing over them. */
const SLACK = 64;

/**
 * Calls `each` for the entries from number `from` on, in order; `words` is its own copy. Returns the number to go on
 * from, and how many entries were lost.
 */
export function readRing(
  ring: () => Ring,
  from: number,
  each: (words: readonly bigint[]) => void,
): { readonly next: number; readonly lost: number } {
  const { next: end, words, entries, width } = ring();
  const missed = Math.max(0, ((end - from) >>> 0) - (entries - SLACK));
  let lost = missed;
  const copies: { position: number; copy: bigint[] }[] = [];
  for (let at = (from + missed) >>> 0; at !== end; at = (at + 1) >>> 0) {
    const slot = (at & (entries - 1)) * width;
    copies.push({ position: at, copy: Array.from({ length: width }, (_, i) => must(words[slot + i])) });
  }
  const now = ring().next;
  for (const { position, copy } of copies) {
    if ((now - position) >>> 0 >= entries) lost++;
    else each(copy);
  }
  return { next: end, lost };
}

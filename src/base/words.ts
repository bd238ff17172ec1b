/**
 * Words of 32 bits in memory that threads share. Every access is atomic and in one order for all threads (sequentially
 * consistent), so that a protocol between threads is the sequence of its accesses. Whoever writes one against this interface
 * can have all interleavings of it tried: a test gives it words that know who runs (interleavings.testing.ts).
 */
import type { Fields, Layout } from './struct.ts';

export interface Words {
  /** `index`: in words, not bytes. Values are signed, as in an Int32Array. */
  load(index: number): number;
  store(index: number, value: number): void;
  setBits(index: number, bits: number): void;
  clearBits(index: number, bits: number): void;
  /** The others return what stood there before. */
  exchange(index: number, value: number): number;
  add(index: number, value: number): number;
  or(index: number, bits: number): number;
  and(index: number, bits: number): number;
  compareExchange(index: number, expected: number, value: number): number;
}

export class SharedWords implements Words {
  readonly #words: Int32Array;

  constructor(buffer: ArrayBufferLike) {
    this.#words = new Int32Array(buffer, 0, Math.floor(buffer.byteLength / 4));
  }

  load(index: number): number {
    return Atomics.load(this.#words, index);
  }

  store(index: number, value: number): void {
    Atomics.store(this.#words, index, value);
  }

  setBits(index: number, bits: number): void {
    Atomics.or(this.#words, index, bits);
  }

  clearBits(index: number, bits: number): void {
    Atomics.and(this.#words, index, ~bits);
  }

  exchange(index: number, value: number): number {
    return Atomics.exchange(this.#words, index, value);
  }

  add(index: number, value: number): number {
    return Atomics.add(this.#words, index, value);
  }

  or(index: number, bits: number): number {
    return Atomics.or(this.#words, index, bits);
  }

  and(index: number, bits: number): number {
    return Atomics.and(this.#words, index, bits);
  }

  compareExchange(index: number, expected: number, value: number): number {
    return Atomics.compareExchange(this.#words, index, expected, value);
  }
}

/** Counts in the two words of a `u64` field, which others may read meanwhile: at worst they miss a carry. */
export function countUp(words: Words, index: number, by = 1): void {
  const before = words.add(index, by) >>> 0;
  if (before + by > 0xffff_ffff) words.add(index + 1, 1);
}

/** What was counted there; exact below 2^53. */
export function counted(words: Words, index: number): number {
  return (words.load(index) >>> 0) + (words.load(index + 1) >>> 0) * 2 ** 32;
}

/** The number of the lowest bit that is set; `bits` is not 0. */
export function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

/** Where a layout's fields start, in words; of fields smaller than a word, nothing of use. */
export function wordOffsets<F extends Fields>({ offset }: Layout<F>): { readonly [K in keyof F]: number } {
  const inWords = Object.entries(offset).map(([name, bytes]) => [name, (bytes as number) / 4]);
  return Object.fromEntries(inWords) as { [K in keyof F]: number };
}

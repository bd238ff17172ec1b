/**
 * A hart's interrupt files (isa/interrupt-files.ts) as threads see that send it messages: a device's, another hart's. No
 * lock: a message is an atomic OR. The line to the hart is driven by whoever changes a file, with no order between them, so
 * each looks again after having driven it: whatever the last one wrote to the line, it saw what the files hold by then.
 */
import { EI_WORDS, FILE_WORD, FILE_WORDS, IDENTITIES } from '../isa/index.ts';

/** Halves: bits are set by 32-bit operations. */
const HALVES = 2;
/** Whoever changes a file all the time drives its line all the time. */
const TRIES = 64;

export interface FileLine {
  set(level: boolean): void;
}

export class InterruptFile {
  readonly #words: Int32Array;
  /** Index of the file's first word. */
  readonly #at: number;
  readonly #line: FileLine;

  /** `at`: byte offset of the files in the buffer of `words`. */
  constructor(words: Int32Array, at: number, file: number, line: FileLine) {
    this.#words = words;
    this.#at = at / 4 + file * FILE_WORDS * HALVES;
    this.#line = line;
  }

  /** Sets the pending bit of an identity; numbers that are none are ignored. Any thread. */
  post(identity: number): void {
    if (identity < 1 || identity > IDENTITIES) return;
    Atomics.or(this.#words, this.#word(FILE_WORD.eip, identity >> 5), 1 << (identity & 31));
    this.drive();
  }

  /** Drives the line; also after a restore, whatever it was. */
  drive(): void {
    for (let tries = 0; tries < TRIES; tries++) {
      const level = this.#isSignalling();
      this.#line.set(level);
      if (this.#isSignalling() === level) return;
    }
    // High for no reason does no harm: the hart finds nothing, and lowers it.
    this.#line.set(true);
  }

  #word(word: number, half: number): number {
    return this.#at + word * HALVES + half;
  }

  #isSignalling(): boolean {
    const load = (word: number, half = 0): number => Atomics.load(this.#words, this.#word(word, half)) >>> 0;
    if (load(FILE_WORD.eidelivery) !== 1) return false;
    for (let half = 0; half < EI_WORDS * HALVES; half++) {
      const waiting = load(FILE_WORD.eip, half) & load(FILE_WORD.eie, half);
      if (waiting === 0) continue;
      const first = half * 32 + (31 - Math.clz32(waiting & -waiting));
      const threshold = load(FILE_WORD.eithreshold);
      return threshold === 0 || first < threshold;
    }
    return false;
  }
}

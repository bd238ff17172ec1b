/**
 * All interleavings of programs over shared words (words.ts). The programs are production code, run as it is, on words that
 * know who runs: a thread takes one step, an access, at a time, and every order in which the threads may take theirs is
 * tried.
 *
 * A function cannot be left in the middle. So each step runs the thread's program from its start: the accesses that it has
 * made are answered from a log, the next one is done, and where the one after it begins the program is thrown out of. A
 * program may therefore keep nothing but words, and must do the same whenever it is told the same.
 *
 *     log: 0 5 1     program: load -> 0, or -> 5, load -> 1, exchange -> done, and noted;  store: out, by a throw
 *
 * States that were reached before, by threads that have heard the same, are not tried again. Words that only ever are
 * touched under a lock, which is checked, and words that are mere statistics, are no steps of their own.
 */
import { assert, must } from './assert.ts';
import type { Words } from './words.ts';

/** What a word is to the exploration; absent: every access to it is a step. */
export type Quiet =
  /** Counted and never asked for: whoever reads it hears 0. */
  | { readonly kind: 'statistics' }
  /** An access to it goes with the step before: the time. */
  | { readonly kind: 'free' }
  /** Only whoever holds this lock touches it. */
  | { readonly kind: 'guarded'; readonly lock: number };

export interface Program {
  readonly name: string;
  run(): void;
  /** It may wait for ever for what nobody does (`waitFor`). */
  readonly mayWait?: boolean;
}

export interface Exploration {
  readonly programs: readonly Program[];
  /** What is wrong where all have ended, or may wait; undefined: nothing. */
  wrong(): string | undefined;
}

export interface Explored {
  readonly states: number;
  /** Different ends. */
  readonly ends: number;
  /** What is wrong with the first end that is, and the steps that lead there. */
  readonly failure: { readonly what: string; readonly steps: readonly string[] } | undefined;
}

/** Thrown to leave a program. */
const OUT = Symbol('out');
const BLOCKED = Symbol('blocked');

interface Thread {
  readonly program: Program;
  readonly log: number[];
  /** Hashes of the log up to each of its entries. */
  readonly heard: number[];
  hasEnded: boolean;
}

export class Interleavings implements Words {
  readonly #memory: Int32Array;
  readonly #quiet: (Quiet | undefined)[];
  readonly #names = new Map<number, string>();
  readonly #undo: { readonly index: number; readonly before: number }[] = [];
  readonly #locks = new Set<number>();
  /** Of the step under way; no thread outside of `explore`, where accesses are just done. */
  #thread: Thread | undefined;
  #number = 0;
  #at = 0;
  #mayStep = false;
  #step = '';
  /** Two hashes of memory, but for what it was when the exploration began. */
  readonly #sums = new Int32Array(2);

  constructor(sizeBytes: number) {
    this.#memory = new Int32Array(sizeBytes / 4);
    this.#quiet = new Array(sizeBytes / 4).fill(undefined);
  }

  /** The words' memory, for views: to be read and written outside of `explore`. */
  get buffer(): ArrayBufferLike {
    return this.#memory.buffer;
  }

  quiet(from: number, count: number, as: Quiet): void {
    this.#quiet.fill(as, from, from + count);
  }

  name(index: number, name: string): void {
    this.#names.set(index, name);
  }

  /** A lock over that word, as a SharedLock is one. */
  lock(index: number): { tryAcquire(): boolean; acquire(): void; release(): void } {
    this.#locks.add(index);
    return {
      tryAcquire: () => this.#access('try', index, (held) => (held === 0 ? this.#number + 1 : held)) === 0,
      acquire: () => {
        this.#access(
          'acquire',
          index,
          (held) => {
            if (held !== 0) throw BLOCKED;
            return this.#number + 1;
          },
          false,
        );
      },
      release: () => {
        this.#access(
          'release',
          index,
          (held) => {
            assert(held === this.#number + 1, 'released by whoever holds it');
            return 0;
          },
          false,
        );
      },
    };
  }

  load(index: number): number {
    return this.#access('load', index, (value) => value);
  }
  store(index: number, value: number): void {
    this.#access('store', index, () => value, false);
  }
  setBits(index: number, bits: number): void {
    this.#access('set', index, (before) => before | bits, false);
  }
  clearBits(index: number, bits: number): void {
    this.#access('clear', index, (before) => before & ~bits, false);
  }
  exchange(index: number, value: number): number {
    return this.#access('exchange', index, () => value);
  }
  add(index: number, value: number): number {
    return this.#access('add', index, (before) => before + value);
  }
  or(index: number, bits: number): number {
    return this.#access('or', index, (before) => before | bits);
  }
  and(index: number, bits: number): number {
    return this.#access('and', index, (before) => before & bits);
  }
  compareExchange(index: number, expected: number, value: number): number {
    return this.#access('cas', index, (before) => (before === expected ? value : before));
  }

  /** Goes on once the word is as wished. */
  waitFor(index: number, isIt: (value: number) => boolean): void {
    this.#access(
      'wait for',
      index,
      (value) => {
        if (!isIt(value)) throw BLOCKED;
        return value;
      },
      false,
    );
  }

  /** From memory as it is. Stops at the first end that is wrong. Memory is as it was, after. */
  explore({ programs, wrong }: Exploration, mostStates = 12_000_000): Explored {
    const threads: Thread[] = programs.map((program) => ({ program, log: [], heard: [], hasEnded: false }));
    const seen = new Set<string>();
    const steps: string[] = [];
    let ends = 0;
    const visit = (): string | undefined => {
      const key = this.#key(threads);
      if (seen.has(key)) return undefined;
      seen.add(key);
      assert(seen.size <= mostStates, 'the programs are small enough');
      let isStuck = true;
      for (const [number, thread] of threads.entries()) {
        if (thread.hasEnded) continue;
        const [undone, logged] = [this.#undo.length, thread.log.length];
        const outcome = this.#take(thread, number);
        if (outcome === 'blocked') continue;
        isStuck = false;
        steps.push(`${thread.program.name}: ${this.#step}`);
        const what = typeof outcome === 'object' ? outcome.what : visit();
        if (what !== undefined) return what;
        steps.pop();
        thread.hasEnded = false;
        thread.log.length = thread.heard.length = logged;
        this.#takeBack(undone);
      }
      if (!isStuck) return undefined;
      if (!threads.every(({ hasEnded, program }) => hasEnded || program.mayWait)) return 'nobody can go on';
      ends++;
      return wrong();
    };
    const what = visit();
    this.#takeBack(0);
    return { states: seen.size, ends, failure: what === undefined ? undefined : { what, steps } };
  }

  #takeBack(length: number): void {
    while (this.#undo.length > length) {
      const { index, before } = must(this.#undo.pop());
      this.#set(index, before);
    }
  }

  #take(thread: Thread, number: number): 'stepped' | 'blocked' | { readonly what: string } {
    this.#thread = thread;
    this.#number = number;
    this.#at = 0;
    this.#mayStep = true;
    this.#step = 'ends';
    try {
      thread.program.run();
      thread.hasEnded = true;
      return 'stepped';
    } catch (thrown) {
      if (thrown === BLOCKED) return 'blocked';
      if (thrown === OUT) return 'stepped';
      return { what: String(thrown) };
    } finally {
      this.#thread = undefined;
    }
  }

  /** `tells`: the caller learns what stood there. */
  #access(kind: string, index: number, next: (before: number) => number, tells = true): number {
    const thread = this.#thread;
    const before = this.#memory[index] ?? 0;
    if (thread === undefined) {
      this.#memory[index] = next(before);
      return before;
    }
    if (this.#at < thread.log.length) return thread.log[this.#at++] ?? 0;
    const quiet = this.#quiet[index];
    if (quiet === undefined) {
      if (!this.#mayStep) throw OUT;
      this.#mayStep = false;
      this.#step = `${kind} ${this.#names.get(index) ?? index}`;
    } else if (quiet.kind === 'guarded') {
      assert(this.#memory[quiet.lock] === this.#number + 1, `${index} without its lock`);
    }
    const after = next(before) | 0;
    if (after !== before) {
      this.#undo.push({ index, before });
      this.#set(index, after);
    }
    const heard = tells && quiet?.kind !== 'statistics' ? before : 0;
    thread.log.push(heard);
    thread.heard.push(mix((thread.heard.at(-1) ?? 0) + 1, heard));
    this.#at++;
    return heard;
  }

  #set(index: number, value: number): void {
    const before = this.#memory[index] ?? 0;
    this.#memory[index] = value;
    for (const seed of [0, 1]) {
      const change = mix(mix(seed, index), value) - mix(mix(seed, index), before);
      this.#sums[seed] = (this.#sums[seed] ?? 0) + change;
    }
  }

  /** Memory, and what each thread has heard, but for one that has ended: hashed, to more than 50 bits each. */
  #key(threads: readonly Thread[]): string {
    let key = this.#sums.join();
    for (const { heard, hasEnded } of threads) key += hasEnded ? '|' : `|${heard.length}:${heard.at(-1)}`;
    return key;
  }
}

/** 53 bits that depend on both; a safe integer. */
function mix(a: number, b: number): number {
  const low = scramble(Math.imul(a | 0, 0x9e37_79b1) ^ Math.imul(b | 0, 0x85eb_ca6b) ^ Math.floor(a / 2 ** 32));
  const high = scramble(low ^ Math.imul(b | 0, 0xc2b2_ae35) ^ a);
  return (low >>> 0) + (high & 0x1f_ffff) * 2 ** 32;
}

function scramble(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x7feb_352d);
  x = Math.imul(x ^ (x >>> 15), 0x846c_a68b);
  return x ^ (x >>> 16);
}

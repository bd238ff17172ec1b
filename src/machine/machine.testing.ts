/** What the machine's tests share: seeded chance, and golden files with an accept command. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';

/** A small seeded generator (xorshift32): the same seed gives the same test. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }
  /** 32 random bits. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state;
  }
  /** 0 to `limit` - 1. */
  below(limit: number): number {
    return this.next() % limit;
  }
  pick<T>(from: readonly T[]): T {
    const value = from[this.below(from.length)];
    if (value === undefined) throw new RangeError('pick from nothing');
    return value;
  }
}

/** Compares `actual` with the file; with ACCEPT=1 in the environment writes it instead. */
export function matchesGolden(actual: string, file: URL): void {
  if (process.env['ACCEPT'] === '1') writeFileSync(file, actual);
  let expected = '';
  try {
    expected = readFileSync(file, 'utf8');
  } catch {
    assert.fail(`there is no ${file.pathname}; ACCEPT=1 writes it`);
  }
  assert.equal(actual, expected, `differs from ${file.pathname}; ACCEPT=1 accepts the new text`);
}

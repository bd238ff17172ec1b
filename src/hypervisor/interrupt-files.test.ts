/** Messages to interrupt files: what they signal, and that no order of sender and hart loses one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FILE, FILE_WORD, FILE_WORDS, FILES } from '../isa/index.ts';
import { InterruptFile } from './interrupt-files.ts';

function setUp(file: number = FILE.supervisor) {
  const buffer = new SharedArrayBuffer(64 + FILES * FILE_WORDS * 8);
  const words = new BigUint64Array(buffer, 64 + file * FILE_WORDS * 8, FILE_WORDS);
  const levels: boolean[] = [];
  const subject = new InterruptFile(new Int32Array(buffer), 64, file, { set: (level) => levels.push(level) });
  return { words, levels, subject };
}

test('a message sets a pending bit; the line follows where the identity is enabled and delivered', () => {
  for (const identity of [1, 31, 32, 63, 64, 127, 128, 255]) {
    const { words, levels, subject } = setUp();
    const word = identity >> 6;
    const bit = 1n << BigInt(identity & 63);
    subject.post(identity);
    assert.equal(words[FILE_WORD.eip + word], bit, `${identity}`);
    words[FILE_WORD.eidelivery] = 1n;
    subject.post(identity);
    words[FILE_WORD.eie + word] = bit;
    words[FILE_WORD.eithreshold] = BigInt(identity);
    subject.post(identity);
    words[FILE_WORD.eithreshold] = BigInt(identity + 1);
    subject.post(identity);
    words[FILE_WORD.eithreshold] = 0n;
    subject.post(identity);
    words[FILE_WORD.eidelivery] = 0n;
    subject.post(identity);
    assert.deepEqual(levels, [false, false, false, true, true, false], `${identity}`);
  }
});

test('the first that waits is held against the threshold', () => {
  const { words, levels, subject } = setUp(FILE.machine);
  words[FILE_WORD.eidelivery] = 1n;
  words[FILE_WORD.eithreshold] = 100n;
  words.fill((1n << 64n) - 1n, FILE_WORD.eie, FILE_WORD.eie + 4);
  for (const identity of [200, 100, 99]) subject.post(identity);
  assert.deepEqual(levels, [false, false, true]);
});

test('numbers that are no identity change nothing', () => {
  const { words, levels, subject } = setUp();
  words[FILE_WORD.eidelivery] = 1n;
  for (const identity of [0, 256, 2047, 0xffff_ffff]) subject.post(identity);
  assert.deepEqual([...words], [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 1n, 0n]);
  assert.deepEqual(levels, []);
});

const ALL = (1n << 64n) - 1n;
const [EIP, EIE] = [FILE_WORD.eip, FILE_WORD.eie];

/** What a hart does to its file, before it lowers its line, looks, and raises it (isa/csr/imsic.ts). */
const CHANGES: Readonly<Record<string, (words: BigUint64Array) => void>> = {
  'claims what waits': (words) => {
    words[EIP] = (words[EIP] ?? 0n) & ~(1n << 5n);
  },
  'disables what comes': (words) => {
    words[EIE] = 1n << 5n;
  },
  'enables what comes': (words) => {
    words[EIE] = ALL;
  },
  'ends delivery': (words) => {
    words[FILE_WORD.eidelivery] = 0n;
  },
};

for (const [what, change] of Object.entries(CHANGES)) {
  for (const identity of [5, 9]) {
    test(`a hart ${what} while ${identity} comes: in every order the line ends as the file has it`, (t) => {
      const buffer = new SharedArrayBuffer(FILES * FILE_WORDS * 8);
      const words = new BigUint64Array(buffer, FILE.supervisor * FILE_WORDS * 8, FILE_WORDS);
      let line = false;
      let raises = false;
      const waits = (): boolean =>
        words[FILE_WORD.eidelivery] === 1n &&
        [0, 1, 2, 3].some((i) => ((words[EIP + i] ?? 0n) & (words[EIE + i] ?? 0n)) !== 0n);
      const hart: readonly (() => void)[] = [
        () => change(words),
        () => {
          line = false;
        },
        () => {
          raises = waits();
        },
        () => {
          line ||= raises;
        },
      ];
      /** Before which of the sender's accesses the hart does each of its steps, in rising order. */
      let places: readonly number[] = [];
      let accesses = 0;
      let steps = 0;
      const access = (): void => {
        while (steps < hart.length && (places[steps] ?? 0) <= accesses) hart[steps++]?.();
        accesses++;
      };
      const { load, or } = Atomics;
      t.mock.method(Atomics, 'load', (array: Int32Array, index: number) => {
        access();
        return load(array, index);
      });
      t.mock.method(Atomics, 'or', (array: Int32Array, index: number, bits: number) => {
        access();
        return or(array, index, bits);
      });
      const subject = new InterruptFile(new Int32Array(buffer), 0, FILE.supervisor, {
        set: (level) => {
          access();
          line = level;
        },
      });
      const run = (order: readonly number[]): number => {
        words.fill(0n);
        words[EIP] = 1n << 5n;
        words[EIE] = what.startsWith('enables') ? 1n << 5n : ALL;
        words[FILE_WORD.eidelivery] = 1n;
        [line, places, accesses, steps] = [true, order, 0, 0];
        subject.post(identity);
        const all = accesses;
        for (accesses = Number.POSITIVE_INFINITY; steps < hart.length; ) access();
        assert.equal(line, waits(), `order ${order}`);
        return all;
      };
      const most = run([1e9, 1e9, 1e9, 1e9]) * 2;
      let orders = 0;
      for (let a = 0; a <= most; a++)
        for (let b = a; b <= most; b++)
          for (let c = b; c <= most; c++) for (let d = c; d <= most; d++, orders++) run([a, b, c, d]);
      assert.ok(orders > 1000);
    });
  }
}

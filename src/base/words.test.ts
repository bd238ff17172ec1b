import assert from 'node:assert/strict';
import { test } from 'node:test';
import { struct } from './struct.ts';
import { counted, countUp, lowestBit, SharedWords } from './words.ts';

test('words are what Atomics does', () => {
  const words = new SharedWords(new SharedArrayBuffer(18));
  words.store(3, -2);
  assert.equal(words.load(3), -2);
  assert.equal(words.exchange(3, 5), -2);
  assert.equal(words.add(3, 2), 5);
  assert.equal(words.or(3, 8), 7);
  assert.equal(words.and(3, 9), 15);
  words.setBits(3, 6);
  words.clearBits(3, 6);
  words.setBits(3, 8);
  assert.equal(words.compareExchange(3, 8, 1), 9);
  assert.equal(words.compareExchange(3, 9, 1), 9);
  assert.equal(words.load(3), 1);
});

test('a count of 64 bits carries', () => {
  const layout = struct('counted', { before: 'u64', count: 'u64' });
  const buffer = new ArrayBuffer(layout.sizeBytes);
  const view = layout.view(buffer, 0);
  const words = new SharedWords(buffer);
  view.count = 0xffff_fffen;
  for (const [by, sum] of [
    [1, 0xffff_ffffn],
    [1, 0x1_0000_0000n],
    [0xffff_ffff, 0x1_ffff_ffffn],
    [2, 0x2_0000_0001n],
  ] as const) {
    countUp(words, layout.offset.count / 4, by);
    assert.equal(view.count, sum);
    assert.equal(counted(words, layout.offset.count / 4), Number(sum));
  }
  assert.equal(view.before, 0n);
});

test('the lowest bit', () => {
  for (let bit = 0; bit < 32; bit++) assert.equal(lowestBit((-1 << bit) | 0), bit);
});

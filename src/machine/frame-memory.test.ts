/** Devices' writes to code, while all code is dropped between the borrowing of memory and its return. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { BareHart } from '../engine/engine.testing.ts';
import { assemble, parseCpu } from '../isa/index.ts';
import { FrameMemory } from './frame-memory.ts';

const BASE = 0x8000_0000;
const [FIRST, SECOND] = [BASE, BASE + 0x1000];

function machine() {
  const hart = new BareHart({ extensions: parseCpu('rv64'), ramBase: BASE, ramBytes: 0x4000, codeBytes: 1 << 20 });
  for (const at of [FIRST, SECOND]) hart.write(at, assemble('1: addi x10, x10, 1\n j 1b', BigInt(at)).bytes);
  const run = (at: number): void => {
    hart.state.pc = BigInt(at);
    hart.run(4);
  };
  /** The decoded page of a frame, and what the first entry of it holds. */
  const page = (at: number): { entries: number; first: bigint } => {
    const entries = hart.memory.decodedPage(hart.map.host(at / 4096, 'read'));
    return { entries, first: entries === 0 ? 0n : must(hart.memory.u64[entries / 8]) };
  };
  return { hart, run, page, memory: new FrameMemory(hart.memory, hart.map) };
}

test('what is decoded between the borrowing of code and its return is decoded anew', () => {
  const { run, page, memory } = machine();
  run(FIRST);
  const [span] = must(memory.spans(FIRST, 4, 'write'));
  run(FIRST);
  assert.notEqual(page(FIRST).first, 0n);
  must(span).set(assemble('addi x10, x10, 3', BigInt(FIRST)).bytes);
  memory.settle();
  assert.equal(page(FIRST).first, 0n);
});

test('where all code was dropped meanwhile, other code that took its place stays', () => {
  const { hart, run, page, memory } = machine();
  run(FIRST);
  const before = page(FIRST).entries;
  must(memory.spans(FIRST, 4, 'write'));
  hart.dropCode();
  run(SECOND);
  assert.equal(page(SECOND).entries, before, 'it has the place that the other had');
  const { first } = page(SECOND);
  memory.settle();
  assert.notEqual(first, 0n);
  assert.equal(page(SECOND).first, first);
});

/**
 * Write-tracked shadows of two harts: the fence of one takes in what the other wrote to page tables, whether that one
 * knew that they are tracked or not, and drops nothing else (engine/tracked-frames.ts).
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { headerLayout, PLAN, shadowStats, trackedFrames } from '../engine/index.ts';
import { type ShadowHarts, TRIAL } from '../engine/trial-harts.testing.ts';
import { assemble, FEATURE, featuresOf } from '../isa/index.ts';
import { severalHarts } from './shadow-harts.testing.ts';

const PAGE = 4096;
const RAM = TRIAL.ramBase;
const [WALKS, WRITES] = [0, 1];
/** Code of each hart, tables, data. */
const [CODE, ROOT, MIDDLE, LAST, DATA] = [RAM, RAM + 8 * PAGE, RAM + 9 * PAGE, RAM + 10 * PAGE, RAM + 16 * PAGE];
const [X, Y] = [0x4000, 0x7000];
const AS_USER = 1n << 17n;
const leaf = (page: number): bigint => (BigInt((DATA + page * PAGE) / PAGE) << 10n) | 0xdfn;
const pointer = (to: number): bigint => (BigInt(to / PAGE) << 10n) | 1n;
const entry = (va: number): number => LAST + (va / PAGE) * 8;

let harts: ShadowHarts;

function execute(hart: number, source: string, a0: bigint, a1: bigint, goesOn = false): bigint {
  const state = must(harts.states[hart]);
  const at = CODE + hart * PAGE;
  harts.write(at, assemble(source, BigInt(at)).bytes);
  [state.x[10], state.x[11], state.pc] = [a0, a1, BigInt(at)];
  harts.run(hart, 1, goesOn);
  return must(state.x[10]);
}

const load = (va: number): number => Number(execute(WALKS, 'ld a0, 0(a1)', 0n, BigInt(va)));
const fence = (): bigint => execute(WALKS, 'sfence.vma', 0n, 0n);
/** `goesOn`: without a look at what became a page table. */
const map = (va: number, page: number, goesOn = false): bigint =>
  execute(WRITES, 'sd a0, 0(a1)', leaf(page), BigInt(entry(va)), goesOn);
const walks = (): number => shadowStats(must(harts.states[WALKS])).refillsByWalk;

beforeEach(() => {
  harts = severalHarts({ harts: 2, model: 'tracked', asidBits: 0 });
  const put = (at: number, value: bigint): void => harts.write(at, new Uint8Array(BigUint64Array.of(value).buffer));
  put(ROOT, pointer(MIDDLE));
  put(MIDDLE, pointer(LAST));
  for (const va of [X, Y]) put(entry(va), leaf(1));
  for (let page = 0; page < 8; page++) put(DATA + page * PAGE, BigInt(page));
  for (const [hart, state] of harts.states.entries()) {
    state.mode = 3n;
    state.features = featuresOf(TRIAL.extensions) & ~(FEATURE.sbi | FEATURE.sstc);
    state.pmpaddr0 = (1n << 54n) - 1n;
    state.pmpcfg0 = 0x1fn;
    harts.changed(hart);
  }
  must(harts.states[WALKS]).mstatus |= AS_USER;
  harts.changed(WALKS);
});

/** The walking hart knows X and Y, and the other that their tables are tracked. */
function begin(): void {
  execute(WALKS, 'csrw satp, a0', (8n << 60n) | BigInt(ROOT / PAGE), 0n);
  assert.deepEqual([load(X), load(Y)], [1, 1]);
  execute(WRITES, 'nop', 0n, 0n);
  execute(WALKS, 'nop', 0n, 0n);
  // What was read before the other knew is dropped once.
  fence();
  assert.deepEqual([load(X), load(Y)], [1, 1]);
}

describe('two harts, write-tracked', () => {
  test('a fence keeps what nobody wrote', () => {
    begin();
    const before = walks();
    for (let i = 0; i < 3; i++) {
      fence();
      assert.deepEqual([load(X), load(Y)], [1, 1]);
    }
    assert.equal(walks(), before);
  });

  test('a fence takes in what the other wrote, and drops nothing else', () => {
    begin();
    map(X, 2);
    const before = walks();
    assert.equal(load(X), 1, 'it is permitted until the fence');
    fence();
    assert.deepEqual([load(X), load(Y)], [2, 1]);
    assert.equal(walks(), before + 1);
  });

  test('so does the fence that the SBI asks for', () => {
    begin();
    map(Y, 3);
    harts.requestFence?.(WALKS);
    assert.deepEqual([load(X), load(Y)], [1, 3]);
  });

  test('one that does not know yet may write without notice: the next fence drops what was read meanwhile', () => {
    // It has the table in its write buffer.
    map(X, 1);
    map(X, 1);
    execute(WALKS, 'csrw satp, a0', (8n << 60n) | BigInt(ROOT / PAGE), 0n);
    assert.deepEqual([load(X), load(Y)], [1, 1]);
    const { trackedWrites } = must(harts.states[WRITES]);
    map(X, 2, true);
    assert.equal(must(harts.states[WRITES]).trackedWrites, trackedWrites, 'nobody took notice');
    fence();
    assert.deepEqual([load(X), load(Y)], [2, 1]);
    // From its next slice on it knows.
    execute(WRITES, 'nop', 0n, 0n);
    execute(WALKS, 'nop', 0n, 0n);
    fence();
    assert.deepEqual([load(X), load(Y)], [2, 1]);
    map(Y, 4, true);
    fence();
    assert.deepEqual([load(X), load(Y)], [2, 4]);
  });

  for (const { name, before, after } of [
    { name: 'while the other has written and not yet told', before: () => busy(1), after: () => busy(-1) },
    { name: 'that comes after more than the log holds', before: () => miss(5000), after: () => {} },
  ]) {
    test(`a fence ${name} drops everything`, () => {
      begin();
      const host = harts.map.host(LAST / PAGE, 'read') + (entry(X) % PAGE);
      harts.memory.u64[host / 8] = leaf(5);
      before();
      fence();
      after();
      assert.deepEqual([load(X), load(Y)], [5, 1]);
    });
  }

  test('a frame that the other writes all the time is given up by both', () => {
    begin();
    for (let i = 0; i < 300; i++) execute(WRITES, 'sd a0, 0(a1)', 0n, BigInt(LAST + 8 * 100));
    const { trackedWrites } = must(harts.states[WRITES]);
    map(X, 6);
    assert.equal(must(harts.states[WRITES]).trackedWrites, trackedWrites, 'nobody takes notice any more');
    fence();
    assert.deepEqual([load(X), load(Y)], [6, 1]);
  });

  test('a store-conditional that fails leaves nobody waiting', () => {
    begin();
    execute(WRITES, 'sc.d a0, a0, (a1)', 7n, BigInt(entry(X)));
    execute(WRITES, 'nop', 0n, 0n);
    const before = walks();
    fence();
    assert.deepEqual([load(X), load(Y)], [1, 1]);
    assert.equal(walks(), before);
  });
});

function tableAt(): number {
  return must(harts.memory.u32[(PLAN.header + headerLayout.offset.trackTable) / 4]);
}
function busy(by: number): void {
  Atomics.add(harts.memory.u32, (tableAt() + trackedFrames.offset.busy) / 4, by);
}
function miss(entries: number): void {
  must(harts.states[WALKS]).trackLogSeen -= entries;
}

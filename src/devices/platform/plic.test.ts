import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '../../base/assert.ts';
import { blockFor, checkRegisterModel, FakeClock, type Journal } from './platform.testing.ts';
import { Plic } from './plic.ts';

const HARTS = 2;
const PENDING = 0x1000;
const enableAt = (context: number) => 0x2000 + context * 0x80;
const thresholdAt = (context: number) => 0x20_0000 + context * 0x1000;
const claimAt = (context: number) => thresholdAt(context) + 4;

function makePlic(journal: Journal = [], block = blockFor(Plic.layout(HARTS))) {
  const levels = new Map<number, boolean>();
  const plic = new Plic('plic@c000000', block, HARTS, {
    setExternal: (context, level) => {
      levels.set(context, level);
      journal.push(`external ${context} ${level ? 1 : 0}`);
    },
  });
  return { plic, levels };
}

function started() {
  const all = makePlic();
  all.plic.reset();
  return all;
}

/** Source `source` at `priority`, enabled in `context`. */
function enable(plic: Plic, context: number, source: number, priority = 1): void {
  plic.write(source * 4, 4, priority);
  const at = enableAt(context) + (source >> 5) * 4;
  plic.write(at, 4, (plic.read(at, 4) | (1 << (source & 31))) >>> 0);
}

checkRegisterModel('plic', (journal, block) => {
  const { plic } = makePlic(journal, block);
  return {
    device: plic,
    registers: plic.registers,
    clock: new FakeClock(),
    disturb: (random) => plic.line(1 + random.below(95)).set(random.below(2) === 0),
  };
});

test('a line raises the contexts that enabled it, claim takes it, completion opens the gateway', () => {
  const { plic, levels } = started();
  enable(plic, 1, 10);
  const line = plic.line(10);
  line.set(true);
  assert.deepEqual([levels.get(0), levels.get(1)], [false, true]);
  assert.equal(plic.read(PENDING, 4), 1 << 10);
  assert.equal(plic.read(claimAt(0), 4), 0, 'not enabled there');
  assert.equal(plic.read(claimAt(1), 4), 10);
  assert.equal(levels.get(1), false);
  assert.equal(plic.read(PENDING, 4), 0);
  line.set(true);
  assert.equal(plic.read(PENDING, 4), 0, 'closed until completed');
  plic.write(claimAt(1), 4, 10);
  assert.equal(levels.get(1), true, 'still high: requested again');
  assert.equal(plic.read(claimAt(1), 4), 10);
  line.set(false);
  plic.write(claimAt(1), 4, 10);
  assert.equal(levels.get(1), false);
});

test('a request once made stays when the line falls', () => {
  const { plic, levels } = started();
  enable(plic, 1, 40);
  plic.line(40).set(true);
  plic.line(40).set(false);
  assert.equal(levels.get(1), true);
  assert.equal(plic.read(PENDING + 4, 4), 1 << 8);
  assert.equal(plic.read(claimAt(1), 4), 40);
});

test('completion by a context that has the source disabled is ignored', () => {
  const { plic } = started();
  enable(plic, 1, 3);
  plic.line(3).set(true);
  assert.equal(plic.read(claimAt(1), 4), 3);
  plic.write(enableAt(1), 4, 0);
  plic.write(claimAt(1), 4, 3);
  assert.equal(plic.read(PENDING, 4), 0);
  plic.write(enableAt(1), 4, 1 << 3);
  plic.write(claimAt(1), 4, 3);
  assert.equal(plic.read(PENDING, 4), 1 << 3);
});

test('the highest priority wins, the lowest number among equals', () => {
  const { plic } = started();
  for (const [source, priority] of [
    [5, 2],
    [4, 2],
    [70, 7],
    [9, 1],
    [95, 7],
  ] as const) {
    enable(plic, 3, source, priority);
    plic.line(source).set(true);
  }
  const order = [1, 2, 3, 4, 5, 6].map(() => plic.read(claimAt(3), 4));
  assert.deepEqual(order, [70, 95, 4, 5, 9, 0]);
});

test('the threshold masks the interrupt, not the claim; priority 0 never interrupts', () => {
  const { plic, levels } = started();
  enable(plic, 0, 1, 3);
  plic.write(thresholdAt(0), 4, 3);
  plic.line(1).set(true);
  assert.equal(levels.get(0), false);
  plic.write(thresholdAt(0), 4, 2);
  assert.equal(levels.get(0), true);
  plic.write(4, 4, 0);
  assert.equal(levels.get(0), false);
  assert.equal(plic.read(claimAt(0), 4), 0);
  plic.write(4, 4, 3);
  plic.write(thresholdAt(0), 4, 7);
  assert.equal(plic.read(claimAt(0), 4), 1);
});

test('registers hold what the hardware has: 3 bits of priority, no source 0', () => {
  const { plic } = started();
  plic.write(8, 4, 0xffff_ffff);
  assert.equal(plic.read(8, 4), 7);
  plic.write(thresholdAt(1), 4, 0xff);
  assert.equal(plic.read(thresholdAt(1), 4), 7);
  plic.write(enableAt(2), 4, 0xffff_ffff);
  assert.equal(plic.read(enableAt(2), 4), 0xffff_fffe);
  plic.write(enableAt(2) + 12, 4, 0xffff_ffff);
  assert.equal(plic.read(enableAt(2) + 12, 4), 0, 'no sources there');
  assert.equal(plic.state.unassignedReads, 0);
  plic.read(thresholdAt(HARTS * 2), 4);
  plic.write(PENDING, 4, 1);
  plic.read(8, 1);
  assert.deepEqual([plic.state.unassignedReads, plic.state.unassignedWrites], [2, 1]);
});

test('source 31 and 32: the sign bit and the word border', () => {
  const { plic } = started();
  for (const source of [31, 32, 63, 64]) enable(plic, 1, source);
  assert.equal(plic.read(enableAt(1), 4), 0x8000_0000);
  plic.line(31).set(true);
  assert.equal(plic.read(PENDING, 4), 0x8000_0000);
  plic.line(63).set(true);
  assert.deepEqual([plic.read(claimAt(1), 4), plic.read(claimAt(1), 4), plic.read(claimAt(1), 4)], [31, 63, 0]);
});

test('a line that is high at reset asks again', () => {
  const { plic, levels } = started();
  plic.line(7).set(true);
  plic.reset();
  assert.equal(levels.get(1), false);
  enable(plic, 1, 7);
  assert.equal(levels.get(1), true);
});

test('only sources 1 to 95 have lines', () => {
  const { plic } = started();
  for (const source of [0, 96, 1.5, -1]) assert.throws(() => plic.line(source), AssertionError);
});

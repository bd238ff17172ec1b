/** The queue of hot code between the thread that runs a vCPU and the one that translates. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HOT_QUEUE, vcpuState } from '../engine/index.ts';
import { type HotCode, HotQueue } from './hot-queue.ts';

function queue(): HotQueue {
  return new HotQueue(vcpuState.view(new SharedArrayBuffer(vcpuState.sizeBytes), 0));
}

function hot(i: number): Omit<HotCode, 'jumps'> {
  return {
    pc: 0xffff_ffff_8000_0000n + BigInt(i),
    decoded: 0xf000_0000 + i,
    bank: 0x8000_0000 + i,
    epoch: i,
    why: i % 2 === 0 ? 'reached' : 'emulated',
  };
}

function taken(from: HotQueue): Omit<HotCode, 'jumps'> | undefined {
  const found = from.take();
  if (found === undefined) return undefined;
  const { pc, decoded, bank, epoch, why } = found;
  return { pc, decoded, bank, epoch, why };
}

test('hot code is taken in the order in which it was put, whole', () => {
  const own = queue();
  for (let i = 0; i < 3; i++) assert.ok(own.put(hot(i)));
  for (let i = 0; i < 3; i++) assert.deepEqual(taken(own), hot(i));
  assert.equal(own.take(), undefined);
});

test('a full queue refuses, and goes on when there is room', () => {
  const own = queue();
  for (let i = 0; i < HOT_QUEUE; i++) assert.ok(own.put(hot(i)));
  assert.ok(!own.put(hot(HOT_QUEUE)));
  assert.deepEqual(taken(own), hot(0));
  assert.ok(own.put(hot(HOT_QUEUE)));
  for (let i = 1; i <= HOT_QUEUE; i++) assert.deepEqual(taken(own), hot(i));
  assert.equal(own.take(), undefined);
});

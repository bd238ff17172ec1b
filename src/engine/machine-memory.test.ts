/** The machine's memory: what dropping all code leaves, and who may. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { MachineMemory } from './machine-memory.ts';
import {
  DECODED_HEADER_BYTES,
  DECODED_LINKS,
  DECODED_STRIDE,
  PLAN,
  REGION_BYTES,
  REGION_LINKS,
} from './memory-plan.ts';
import type { ReaderStart } from './reader-worker.testing.ts';

function memory(): MachineMemory {
  return MachineMemory.create({ width: 32, shared: true, blockBytes: 4096, codeBytes: 1 << 20, frames: 16 });
}

test('dropped code takes regions, links and modules with it, and its generation moves', () => {
  const machine = memory();
  Object.assign(machine.header, { regionNext: 9, linkNext: 9, lastModule: 64, modules: 2, regionsFull: 1 });
  machine.header.decodedNext += 4096;
  machine.dropCode();
  const { regionNext, linkNext, lastModule, modules, regionsFull, codeFlushes, decodedNext } = machine.header;
  assert.deepEqual(
    { regionNext, linkNext, lastModule, modules, regionsFull, codeFlushes },
    { regionNext: 1, linkNext: 1, lastModule: 0, modules: 0, regionsFull: 0, codeFlushes: 1 },
  );
  assert.equal(decodedNext, machine.header.decodedFirst);
  // What was in use is to be cleared when it is used again.
  assert.equal(machine.header.decodedUsed, machine.header.decodedFirst + 4096);
});

test('where room is made, pages of cold code go; where that is too little, or tables are full, all goes', () => {
  const machine = memory();
  const { header, u32 } = machine;
  const table = PLAN.frameTable / 4;
  const place = (slot: number): number => {
    const page = header.decodedNext;
    header.decodedNext += DECODED_STRIDE;
    u32[table + slot] = page + DECODED_HEADER_BYTES;
    return page;
  };
  const [linked, dropped, cold] = [place(1), place(2), place(3)];
  header.regionNext = 3;
  header.linkNext = 3;
  u32[(PLAN.regions + REGION_BYTES) / 4] = linked + DECODED_HEADER_BYTES;
  u32.set([1, 0, 2, 0], (PLAN.regionLinks + 8) / 4);
  u32[(linked + DECODED_LINKS) / 4] = 1;
  u32[(dropped + DECODED_LINKS) / 4] = 2;
  header.regionsFull = 1;
  const before = machine.codeBytes;
  machine.makeRoomForCode();
  assert.deepEqual([...u32.subarray(table + 1, table + 4)], [linked + DECODED_HEADER_BYTES, 0, 0]);
  assert.equal(machine.codeBytes, before - 2 * DECODED_STRIDE);
  assert.deepEqual([header.regionsFull, header.codeFlushes, header.decodedEpoch, header.pagesEvicted], [0, 0, 1, 2]);
  assert.deepEqual([header.decodedFree, u32[cold / 4], u32[dropped / 4]], [cold, dropped, 0]);
  Object.assign(header, { linkNext: REGION_LINKS - 1, regionsFull: 1 });
  machine.makeRoomForCode();
  assert.deepEqual([machine.codeBytes, header.decodedFree, header.decodedFreeBytes], [0, 0, 0]);
  assert.deepEqual([header.codeFlushes, header.decodedEpoch], [1, 2]);
});

test('entries are emptied whole, while others execute from them', async () => {
  const machine = memory();
  const entries = machine.header.decodedFirst + DECODED_HEADER_BYTES;
  const whole = 0x1122_3344_5566_7788n;
  const list = new BigUint64Array(machine.buffer, entries, 2048);
  const words = new Int32Array(new SharedArrayBuffer(12));
  const worker = new Worker(new URL('./reader-worker.testing.ts', import.meta.url));
  const start: ReaderStart = { buffer: machine.buffer, at: entries, entries: list.length, whole, words };
  worker.postMessage(start);
  const passes = (): number => Atomics.load(words, 1);
  while (passes() === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  // And until the reader, which may have to wait for a processor, has met some of it.
  for (let turn = 0; turn < 2000 || passes() < 3; turn++) {
    list.fill(whole);
    machine.forgetCode(entries);
  }
  Atomics.store(words, 0, 1);
  await worker.terminate();
  assert.equal(words[2], 0, 'torn entries');
});

test('locks that ended threads held are free', () => {
  const machine = memory();
  machine.header.regionLock = 1;
  machine.header.sourceLock = 1;
  machine.freeLocks();
  assert.deepEqual([machine.header.regionLock, machine.header.sourceLock], [0, 0]);
  machine.dropCode();
  assert.equal(machine.header.codeFlushes, 1);
});

/** The machine's memory: what dropping all code leaves, and who may. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MachineMemory } from './machine-memory.ts';

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

test('locks that ended threads held are free', () => {
  const machine = memory();
  machine.header.regionLock = 1;
  machine.header.sourceLock = 1;
  machine.freeLocks();
  assert.deepEqual([machine.header.regionLock, machine.header.sourceLock], [0, 0]);
  machine.dropCode();
  assert.equal(machine.header.codeFlushes, 1);
});

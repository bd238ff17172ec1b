import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MachineInterrupts } from './machine-interrupts.ts';

/** What `--pci on` gives a guest: ports on the root bus, a card behind each. */
const CARDS = 6;
const requesters = Array.from({ length: CARDS }, (_, i) => [(i + 1) << 3, (i + 1) << 8]).flat();
const functions = requesters.map((requester) => ({ requester, sources: [32] }));

function machine(partitions: number): MachineInterrupts {
  const config = { room: { partitions }, relay: true, interruptRate: 30_000, clock: 'real' } as const;
  const made = MachineInterrupts.make(new SharedArrayBuffer(MachineInterrupts.sizeBytes(config)), 0, config);
  assert.ok(made);
  return made;
}

for (const partitions of [2, 65, 128, 256])
  test(`a machine with room for ${partitions} guests has room for the functions of all`, () => {
    const interrupts = machine(partitions);
    for (let partition = 0; partition < partitions; partition++) interrupts.add(partition, functions);
    const { requesters: known } = interrupts.fabric.stats();
    assert.equal(Object.keys(known).length, partitions * functions.length);
  });

test('functions of guests on the same bus are behind the same port', () => {
  const interrupts = machine(4);
  for (const partition of [0, 1]) interrupts.add(partition, functions);
  for (const requester of requesters) {
    const [first, second] = [0, 1].map((partition) =>
      interrupts.fabric.ports.findIndex(({ records }) => records.rowOf(partition * 0x1_0000 + requester) !== undefined),
    );
    assert.equal(first, (requester >> 8) % 8);
    assert.equal(second, first);
  }
});

test("without room all of a guest's functions are refused, and none stays", () => {
  const interrupts = machine(2);
  const many = Array.from({ length: 600 }, (_, requester) => ({ requester, sources: [] }));
  interrupts.add(0, many);
  assert.throws(() => interrupts.add(1, many), { code: 'machine-full' });
  assert.equal(Object.keys(interrupts.fabric.stats().requesters).length, many.length);
});

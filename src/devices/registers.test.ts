import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '../base/assert.ts';
import { RegisterTable, registersAsMarkdown } from './registers.ts';

interface Toy {
  state: { unassignedReads: number; unassignedWrites: number };
  bank: number;
  seen: string[];
}

const table = new RegisterTable<Toy>([
  {
    at: 0,
    bytes: 4,
    name: 'BANKED',
    when: { says: 'bank = 1', holds: (toy) => toy.bank === 1 },
    read: () => 0x1_2345_6789,
    does: 'hidden',
  },
  { at: 0, bytes: 4, name: 'STATUS', read: () => -1, reset: 0xffff_ffff, does: 'status' },
  { at: 0, bytes: 4, name: 'CONTROL', write: (toy, value) => toy.seen.push(`control ${value}`), does: 'control' },
  {
    at: 8,
    bytes: 1,
    alsoAs: [4],
    name: 'LANE',
    array: { count: 3, strideBytes: 4 },
    read: (_, index) => 0x100 + index,
    write: (toy, value, index) => toy.seen.push(`lane ${index} ${value}`),
    does: 'lane n',
  },
]);

const makeToy = (): Toy => ({ state: { unassignedReads: 0, unassignedWrites: 0 }, bank: 0, seen: [] });

test('an access finds the row of its offset, width, direction and bank; values are cut to the register', () => {
  const toy = makeToy();
  assert.equal(table.read(toy, 0, 4), 0xffff_ffff);
  toy.bank = 1;
  assert.equal(table.read(toy, 0, 4), 0x2345_6789);
  table.write(toy, 0, 4, 7);
  assert.equal(table.read(toy, 12, 1), 1);
  assert.equal(table.read(toy, 16, 4), 2);
  table.write(toy, 12, 4, 0xabcd);
  assert.deepEqual(toy.seen, ['control 7', 'lane 1 205']);
  assert.deepEqual(toy.state, { unassignedReads: 0, unassignedWrites: 0 });
});

test('everything else is unassigned and counted', () => {
  const toy = makeToy();
  for (const [at, bytes] of [
    [0, 1],
    [4, 4],
    [8, 2],
    [10, 1],
    [20, 1],
  ] as const) {
    assert.equal(table.read(toy, at, bytes), 0);
    table.write(toy, at, bytes, 1);
  }
  assert.deepEqual(toy.state, { unassignedReads: 5, unassignedWrites: 5 });
  assert.deepEqual(toy.seen, []);
});

test('rows name accesses for traces and fill tables for the docs', () => {
  const toy = makeToy();
  assert.equal(table.nameOf(toy, 12, 4, 'write'), 'LANE[1]');
  assert.equal(table.nameOf(toy, 0, 4, 'write'), 'CONTROL');
  assert.equal(table.nameOf(toy, 4, 4, 'read'), undefined);
  assert.deepEqual(registersAsMarkdown(table).split('\n').slice(2), [
    '| 0x0 | 4 | BANKED | r |  | hidden (bank = 1) |',
    '| 0x0 | 4 | STATUS | r | 0xffffffff | status |',
    '| 0x0 | 4 | CONTROL | w |  | control |',
    '| 0x8 + 0x4 x n | 1 | LANE | rw |  | lane n |',
  ]);
});

test('ill-formed rows are bugs', () => {
  const bad = (row: object) => () => new RegisterTable([row as never]);
  assert.throws(bad({ at: 2, bytes: 4, name: 'A', read: () => 0, does: '' }), AssertionError);
  assert.throws(bad({ at: 0, bytes: 4, name: 'B', does: '' }), AssertionError);
  const array = { count: 2, strideBytes: 2 };
  assert.throws(bad({ at: 0, bytes: 4, name: 'C', array, read: () => 0, does: '' }), AssertionError);
});

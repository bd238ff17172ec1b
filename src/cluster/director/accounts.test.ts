import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GuestSpec, HostRecord, Owner } from '../model.ts';
import { Accounts } from './accounts.ts';
import type { View } from './view.ts';

const GIB = 2 ** 30;
const host: HostRecord = {
  ...{ name: 'a', incarnation: 1, state: 'active', address: 'a', labels: {}, fences: 0 },
  capacity: { cores: 4, memoryBytes: 8 * GIB, diskBytes: 0 },
};
const requirements = { recoveryTimeMs: 60_000, performanceFloor: 0.5, priority: 1 };

/** Host a, and a guest of it in that state. */
function accounts(wanted: GuestSpec['wanted'], phase: Owner['phase']): Accounts {
  const spec: GuestSpec = {
    ...{
      name: 'x',
      cores: 2,
      memoryBytes: 6 * GIB,
      diskBytes: 0,
      requirements,
      methods: ['cold'],
      group: 'db',
      wanted,
    },
  };
  const owner: Owner = { host: 'a', incarnation: 1, generation: 1, phase };
  const found = <T>(name: string, value: T) => new Map([[name, { value, revision: 1 }]]);
  const nothing = new Map();
  const view = { hosts: found('a', host), specs: found('x', spec), owners: found('x', owner) };
  return new Accounts({ ...view, plans: nothing, placements: nothing } as unknown as View, 1);
}

test('a guest that is to end, and has not yet, still takes its room, and is of its group there', () => {
  const needs = { cores: 0, memoryBytes: 4 * GIB, diskBytes: 0 };
  for (const [wanted, phase, isThere] of [
    ['running', 'held', true],
    ['stopped', 'held', true],
    ['stopped', 'released', false],
  ] as const) {
    const all = accounts(wanted, phase);
    assert.equal(all.hasGroup('a', 'db'), isThere, `${wanted} ${phase}`);
    assert.equal(all.ledger.lacks('a', needs, 'evict') !== undefined, isThere, `${wanted} ${phase}`);
  }
});

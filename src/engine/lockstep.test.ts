/**
 * Random programs in lockstep with the reference machine, some seconds long; test/long/lockstep.ts runs as long as one
 * likes. The seeds are fixed, so that a failure is everybody's.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lockstep } from './lockstep.testing.ts';

for (const { width, cpu, programs } of [
  { width: 32, cpu: 'rv64', programs: 80 },
  { width: 64, cpu: 'rv64', programs: 40 },
  { width: 32, cpu: 'rv64,c=off', programs: 40 },
] as const) {
  test(`random programs end as on the reference machine (${cpu}, memory${width})`, () => {
    const lockstep = new Lockstep({ width, cpu });
    for (let seed = 1; seed <= programs; seed++) assert.equal(lockstep.run(seed * width), undefined);
    const { steps, givenUp, rows } = lockstep.progress;
    assert.ok(steps > programs * 1000, `${steps} steps`);
    assert.ok(givenUp < programs / 3, `${givenUp} programs given up`);
    assert.ok(rows.size > 200, `${rows.size} rows`);
  });
}

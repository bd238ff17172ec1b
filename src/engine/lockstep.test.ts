/**
 * Random programs in lockstep with the reference machine, some seconds long; test/long/lockstep.ts runs as long as one
 * likes. The seeds are fixed, so that a failure is everybody's.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lockstep } from './lockstep.testing.ts';

for (const { width, programs } of [
  { width: 32, programs: 100 },
  { width: 64, programs: 40 },
] as const) {
  test(`random programs end as on the reference machine (memory${width})`, () => {
    const lockstep = new Lockstep(width);
    for (let seed = 1; seed <= programs; seed++) assert.equal(lockstep.run(seed * width), undefined);
    const { steps, givenUp, rows } = lockstep.progress;
    assert.ok(steps > programs * 1000, `${steps} steps`);
    assert.ok(givenUp < programs / 3, `${givenUp} programs given up`);
    assert.ok(rows.size > 200, `${rows.size} rows`);
  });
}

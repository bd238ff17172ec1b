/**
 * Random programs in lockstep with the reference machine, some seconds long; test/long/lockstep.ts runs as long as one
 * likes. The seeds are fixed, so that a failure is everybody's.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lockstep } from './lockstep.testing.ts';

const NESTED = 'rv64,h=on,smstateen=on';
for (const combined of ['on', 'off'] as const)
  test(`random programs with guests end as on the reference machine, combined shadows ${combined}`, () => {
    const lockstep = new Lockstep({ cpu: NESTED, shadows: { combined } });
    const programs = 80;
    for (let seed = 1; seed <= programs; seed++) assert.equal(lockstep.run(seed), undefined);
    const { guestSteps, givenUp, rows } = lockstep.progress;
    assert.ok(guestSteps > programs * 300, `${guestSteps} steps of guests`);
    assert.ok(givenUp < programs / 3, `${givenUp} programs given up`);
    for (const row of ['hlv.d', 'hsv.w', 'hlvx.wu', 'hfence.vvma', 'hfence.gvma', 'sret'])
      assert.ok(rows.has(row), row);
  });

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

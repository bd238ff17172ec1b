/**
 * Random programs in lockstep with the reference machine, some seconds long; test/long/lockstep.ts runs as long as one
 * likes. The seeds are fixed, so that a failure is everybody's.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lockstep } from './lockstep.testing.ts';

const NESTED = 'rv64,h=on,smstateen=on';
const GUEST_ROWS = ['hlv.d', 'hsv.w', 'hlvx.wu', 'hfence.vvma', 'hfence.gvma', 'sret'];
for (const { combined, programs, rows } of [
  { combined: 'on', programs: 80, rows: GUEST_ROWS },
  { combined: 'off', programs: 20, rows: [] },
] as const)
  test(`random programs with guests end as on the reference machine, combined shadows ${combined}`, () => {
    const lockstep = new Lockstep({ cpu: NESTED, shadows: { combined } });
    const { progress } = lockstep;
    const lacking = (): string[] => rows.filter((row) => !progress.rows.has(row));
    // A row is seldom in a program: some more, until each has been executed.
    let seed = 0;
    while (seed < programs || (lacking().length > 0 && seed < 5 * programs))
      assert.equal(lockstep.run(++seed), undefined);
    assert.deepEqual(lacking(), []);
    assert.ok(progress.guestSteps > seed * 100, `${progress.guestSteps} steps of guests`);
    assert.ok(progress.givenUp < seed / 3, `${progress.givenUp} programs given up`);
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

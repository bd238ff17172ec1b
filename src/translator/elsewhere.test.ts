/**
 * Code translated on another thread, at random times, against the reference machine: programs that rewrite themselves,
 * with faults, interrupts and budget exits; code memory that overflows meanwhile.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lockstep } from '../engine/lockstep.testing.ts';
import { translatingElsewhere } from './elsewhere.testing.ts';

/** So little that all code is dropped in the middle of every other program. */
const CODE_BYTES = 700_000;

for (const { width, cpu, programs } of [
  { width: 32, cpu: 'rv64', programs: 60 },
  { width: 64, cpu: 'rv64', programs: 20 },
] as const) {
  test(`random programs, translated on another thread, end as on the reference machine (memory${width})`, async () => {
    const { translate, end } = translatingElsewhere({ cpu, seed: width });
    try {
      const lockstep = new Lockstep({ width, cpu, translate, codeBytes: CODE_BYTES });
      let inRegions = 0n;
      for (let seed = 1; seed <= programs; seed++) {
        assert.equal(lockstep.run(seed * width), undefined);
        inRegions += lockstep.regionSteps;
      }
      assert.ok(lockstep.regionsMade > 0, `${lockstep.regionsMade} regions`);
      // How much is translated when is up to the other thread.
      assert.ok(inRegions > 0n, `${inRegions} steps in regions`);
    } finally {
      await end();
    }
  });
}

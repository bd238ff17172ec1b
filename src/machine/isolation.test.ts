/** Hostile drivers beside canaries (hostile-driver.testing.ts), some seconds; test/long/isolation.ts runs for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostileDriver } from './hostile-driver.testing.ts';

for (const quick of [false, true])
  test(`whatever drivers make devices do, no canary is read or written${quick ? ', on their own threads either' : ''}`, () => {
    const driver = new HostileDriver({ quick });
    for (let seed = 1; seed <= 150; seed++) driver.run(seed);
    assert.ok(driver.refused > 200, `${driver.refused} refused`);
    assert.ok(driver.used > 200, `${driver.used} used`);
    assert.ok(quick ? driver.atOnce > 5 : driver.atOnce === 0, `${driver.atOnce} at once`);
  });

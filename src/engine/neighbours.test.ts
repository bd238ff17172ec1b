/** Some seconds of generated programs of two partitions (neighbours.testing.ts); test/long/isolation.ts runs for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Neighbours } from './neighbours.testing.ts';

for (const width of [32, 64] as const)
  test(`two partitions in turns on one processor do what each does alone (memory${width})`, () => {
    const neighbours = new Neighbours(width);
    for (let seed = 1; seed <= 25; seed++) neighbours.run(seed * width);
    assert.ok(neighbours.violations > 200, `${neighbours.violations} accesses to the other's frames`);
  });

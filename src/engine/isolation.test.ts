/** Some seconds of generated programs beside secrets (isolation.testing.ts); test/long/isolation.ts runs for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Isolation } from './isolation.testing.ts';

test('programs do the same whatever a forbidden page holds, with few shadows, whose page tables are tracked', () => {
  const isolation = new Isolation(32, undefined, { model: 'tracked', count: 2 });
  for (let seed = 1; seed <= 40; seed++) isolation.run(seed * 32);
  for (const [kind, count] of Object.entries(isolation.violations)) assert.ok(count > 5, `${kind}: ${count}`);
});

for (const width of [32, 64] as const) {
  test(`programs do the same whatever a forbidden page holds (memory${width})`, () => {
    const isolation = new Isolation(width);
    for (let seed = 1; seed <= 40; seed++) isolation.run(seed * width);
    for (const [kind, count] of Object.entries(isolation.violations)) assert.ok(count > 5, `${kind}: ${count}`);
  });

  test(`in single steps: each violation is the fault that it should be (memory${width})`, () => {
    const isolation = new Isolation(width);
    let steps = 0;
    for (let seed = 1; seed <= 150; seed++) steps += isolation.step(seed * width + 7);
    assert.ok(steps > 2000, `${steps} steps`);
    for (const kind of ['fetch', 'load', 'store', 'walk'] as const)
      assert.ok(isolation.violations[kind] > 0, `${kind}: ${isolation.violations[kind]}`);
  });
}

/** Programs beside secrets (engine/isolation.testing.ts) whose code is translated at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Isolation } from '../engine/isolation.testing.ts';
import { Neighbours } from '../engine/neighbours.testing.ts';
import { createDecoder, DEFAULT_EXTENSIONS } from '../isa/index.ts';
import { translating } from './translation.testing.ts';

for (const width of [32, 64] as const)
  test(`translated programs do the same whatever a forbidden page holds (memory${width})`, () => {
    const translate = translating({ followsCold: true })({ decoder: createDecoder(DEFAULT_EXTENSIONS) });
    const isolation = new Isolation(width, translate);
    for (let seed = 1; seed <= 48; seed++) isolation.run(seed * width + 3);
    assert.ok(isolation.regionsMade > 100, `${isolation.regionsMade} regions`);
    for (const kind of ['fetch', 'load', 'store', 'walk'] as const)
      assert.ok(isolation.violations[kind] > 0, `${kind}: ${isolation.violations[kind]}`);
  });

test('translated programs of two partitions in turns on one processor do what each does alone', () => {
  const translate = translating({ followsCold: true })({ decoder: createDecoder(DEFAULT_EXTENSIONS) });
  const neighbours = new Neighbours(32, translate);
  for (let seed = 1; seed <= 10; seed++) neighbours.run(seed * 32 + 3);
  assert.ok(neighbours.violations > 50, `${neighbours.violations} accesses to the other's frames`);
});

/** Some seconds of hostile guests (hostile.testing.ts); test/long/hostile.ts runs as long as one likes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prison } from './hostile.testing.ts';

for (const { width, programs } of [
  { width: 32, programs: 60 },
  { width: 64, programs: 60 },
] as const) {
  test(`hostile guests stay in their frames (memory${width})`, () => {
    const prison = new Prison(width);
    for (let seed = 1; seed <= programs; seed++) prison.run(seed * width);
    assert.deepEqual(
      [...prison.exits.keys()].sort(),
      ['budget', 'call', 'codeFull', 'mmio', 'wait'].filter((kind) => prison.exits.has(kind)),
    );
    assert.ok((prison.exits.get('mmio') ?? 0) > programs, 'devices were accessed');
  });
}

test('hostile hypervisors and their guests stay in their frames', () => {
  const prison = new Prison(32, undefined, 'rv64,h=on,smstateen=on');
  for (let seed = 1; seed <= 60; seed++) prison.run(seed);
  assert.ok(prison.nestedEvents > 1000, `${prison.nestedEvents} events of guests`);
});

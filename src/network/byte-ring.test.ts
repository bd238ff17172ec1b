import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BufferBudget, ByteRing, MAX_CHUNK_BYTES } from './byte-ring.ts';
import { Simulation } from './simulation.testing.ts';

test('a ring holds what was pushed and not dropped, across wraps and growth', () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const chance = new Simulation(seed);
    const budget = new BufferBudget(1 << 20);
    const ring = new ByteRing(200_000, budget);
    let model = new Uint8Array(0);
    for (let step = 0; step < 300; step += 1) {
      if (chance.chance(0.5)) {
        const bytes = chance.bytes(chance.between(0, 9000));
        if (ring.push(bytes)) {
          const joined = new Uint8Array(model.length + bytes.length);
          joined.set(model);
          joined.set(bytes, model.length);
          model = joined;
        }
      } else {
        const length = chance.between(0, model.length);
        ring.drop(length);
        model = model.slice(length);
      }
      if (chance.chance(0.05)) ring.trim();
      assert.equal(ring.length, model.length);
      const offset = chance.between(0, model.length);
      const length = chance.between(0, model.length - offset);
      const out = new Uint8Array(length + 3);
      ring.copyTo(offset, length, out, 2);
      assert.equal(Buffer.compare(out.subarray(2, 2 + length), model.subarray(offset, offset + length)), 0);
    }
    ring.free();
    assert.equal(budget.usedBytes, 0);
  }
});

test('a ring asks for no more at its limit, or the budget’s', () => {
  const budget = new BufferBudget(4 * MAX_CHUNK_BYTES);
  const first = new ByteRing(100_000, budget);
  assert.ok(first.wantsMore());
  first.push(new Uint8Array(60_000));
  assert.ok(first.wantsMore());
  first.push(new Uint8Array(60_000));
  assert.ok(!first.wantsMore());
  const second = new ByteRing(1 << 20, budget);
  assert.ok(second.wantsMore());
  assert.ok(second.push(new Uint8Array(MAX_CHUNK_BYTES)));
  assert.ok(second.wantsMore());
  second.push(new Uint8Array(1));
  assert.ok(!second.wantsMore(), 'the budget is used up');
  assert.ok(!second.push(new Uint8Array(1 << 17)));
  assert.equal(second.length, MAX_CHUNK_BYTES + 1);
  first.free();
  assert.ok(second.wantsMore());
  assert.throws(() => second.drop(1 << 20), /drop beyond/);
  assert.throws(() => second.copyTo(0, 1 << 20, new Uint8Array(0), 0), /read beyond/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { array, restore, save, struct, structs } from './struct.ts';

const inner = struct('inner', { a: 'u8', b: 'u64' });
const outer = struct('outer', { x: 'u8', y: 'u32', z: array('u16', 3), n: structs(inner, 2), s: 'i32', f: 'f64' });

test('fields are laid out in order, aligned to their size', () => {
  assert.deepEqual({ ...outer.offset }, { x: 0, y: 4, z: 8, n: 16, s: 48, f: 56 });
  assert.equal(outer.sizeBytes, 64);
});

test('accessors read and write the buffer; save and restore are inverse', () => {
  const one = outer.view(new SharedArrayBuffer(72), 8);
  one.x = 200;
  one.y = 0xdeadbeef;
  one.z.set([1, 2, 65535]);
  const nested = one.n[1];
  assert.ok(nested);
  nested.b = 0xffff_ffff_ffff_fff0n;
  one.s = -5;
  one.f = 0.1;
  const two = outer.view(new ArrayBuffer(64), 0);
  restore(outer, two, JSON.parse(JSON.stringify(save(outer, one))));
  assert.deepEqual(save(outer, two), save(outer, one));
  assert.equal(two.n[1]?.b, 0xffff_ffff_ffff_fff0n);
  assert.throws(() => restore(outer, two, { x: 1 }), /outer.y is missing/);
});

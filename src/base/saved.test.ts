import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSaved, layoutDigest, misfit } from './saved.ts';
import { array, save, struct, structs } from './struct.ts';

const inner = struct('inner', { a: 'u8', b: 'u64' });
const outer = struct('outer', { x: 'i32', z: array('u16', 2), n: structs(inner, 2), w: array('u64', 1) });
const good = (): Record<string, unknown> => JSON.parse(JSON.stringify(save(outer, outer.view(new ArrayBuffer(64), 0))));

test('what save gave fits its layout', () => {
  assert.equal(misfit(outer, good()), undefined);
  assert.ok(isSaved(outer, good()));
});

test('what does not fit is named', () => {
  const cases: [change: (saved: Record<string, unknown>) => void, named: string][] = [
    [(s) => delete s['x'], 'outer.x'],
    [(s) => Object.assign(s, { x: 2 ** 31 }), 'outer.x'],
    [(s) => Object.assign(s, { x: '1' }), 'outer.x'],
    [(s) => Object.assign(s, { x: 0.5 }), 'outer.x'],
    [(s) => Object.assign(s, { z: [1] }), 'outer.z'],
    [(s) => Object.assign(s, { z: [1, 65536] }), 'outer.z'],
    [(s) => Object.assign(s, { z: 'ab' }), 'outer.z'],
    [(s) => Object.assign(s, { w: [1] }), 'outer.w'],
    [(s) => Object.assign(s, { w: ['18446744073709551616'] }), 'outer.w'],
    [(s) => Object.assign(s, { w: ['-1'] }), 'outer.w'],
    [(s) => Object.assign(s, { n: [{ a: 1, b: '1' }, null] }), 'outer.n: inner'],
    [
      (s) =>
        Object.assign(s, {
          n: [
            { a: 256, b: '1' },
            { a: 1, b: '1' },
          ],
        }),
      'outer.n: inner.a',
    ],
  ];
  for (const [change, named] of cases) {
    const saved = good();
    change(saved);
    assert.equal(misfit(outer, saved), named);
  }
  for (const value of [undefined, null, 1, 'x', []]) assert.equal(misfit(outer, value), 'outer');
  assert.equal(misfit(outer, Object.create(good())), 'outer.x', 'what is inherited is not there');
});

test('a digest tells layouts apart by names, kinds, lengths and order', () => {
  const others = [
    struct('outer', { x: 'u32', z: array('u16', 2), n: structs(inner, 2), w: array('u64', 1) }),
    struct('outer', { x: 'i32', z: array('u16', 3), n: structs(inner, 2), w: array('u64', 1) }),
    struct('outer', { x: 'i32', y: array('u16', 2), n: structs(inner, 2), w: array('u64', 1) }),
    struct('outer', { z: array('u16', 2), x: 'i32', n: structs(inner, 2), w: array('u64', 1) }),
    struct('outer', { x: 'i32', z: array('u16', 2), n: structs(struct('inner', { a: 'u8' }), 2), w: array('u64', 1) }),
  ];
  const digests = [outer, ...others].map(layoutDigest);
  assert.equal(new Set(digests).size, digests.length);
  assert.match(digests[0] ?? '', /^[0-9a-f]{16}$/);
});

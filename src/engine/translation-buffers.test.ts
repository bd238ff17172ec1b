/** Translation buffers: two places for a page, and neither where an access that begins in the page before looks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assemble, DEFAULT_EXTENSIONS } from '../isa/index.ts';
import { BareHart } from './engine.testing.ts';
import { Random } from './random.testing.ts';
import { placesOf } from './translation-buffers.ts';

const PAGE = 4096;

test('no place of a page is the first one of a page beside it', () => {
  const random = new Random(1);
  for (let i = 0; i < 20_000; i++) {
    // Of few bits as well as of many: those above choose the second place.
    const page = BigInt.asUintN(52, random.wide() >> BigInt(12 + (i % 40)));
    const [first, second] = placesOf(page << 12n);
    assert.notEqual(second, first);
    for (const beside of [page - 1n, page + 1n])
      assert.notEqual(second, placesOf(BigInt.asUintN(64, beside << 12n))[0], `page ${page.toString(16)}`);
  }
});

for (const [name, access, result] of [
  ['load', 'ld a0, (a3)', 0x2222_2222_1111_1111n],
  ['store', 'sd a4, (a3)', undefined],
] as const)
  test(`a ${name} that begins in one page and ends in another, which had to make room, reaches both`, () => {
    const hart = new BareHart({ extensions: DEFAULT_EXTENSIONS, ramBase: 0, ramBytes: 512 * PAGE });
    const [before, page, rival] = [0x80 * PAGE, 0x81 * PAGE, 0x181 * PAGE];
    // In this order they get their frames: what lies before the page's is not the page before.
    for (const at of [page, rival, before]) hart.write(at, new Uint8Array(PAGE));
    hart.write(page - 4, new Uint8Array(4).fill(0x11));
    hart.write(page, new Uint8Array(4).fill(0x22));
    const touch = name === 'load' ? (base: string) => `ld a0, (${base})` : (base: string) => `sb zero, 8(${base})`;
    hart.write(0, assemble([touch('a1'), touch('a2'), access].join('\n'), 0n).bytes);
    Object.assign(hart.state.x, {
      11: BigInt(page),
      12: BigInt(rival),
      13: BigInt(page - 4),
      14: 0x4444_4444_3333_3333n,
    });
    hart.state.pc = 0n;
    hart.run(3);
    assert.equal(hart.state.pc, 12n);
    if (result !== undefined) assert.equal(hart.state.x[10], result);
    else
      assert.deepEqual([...hart.read(page - 4, 8)], [...new Uint8Array(4).fill(0x33), ...new Uint8Array(4).fill(0x44)]);
  });

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateRawSync, zstdCompressSync } from 'node:zlib';
import { Random } from '../../../devices/virtio/random.testing.ts';
import { decompress, zstdFrameBytes } from './compressed.ts';
import { clusterAt, isCopied, placeAt, setOwned, setUnallocated, setZero } from './entries.ts';
import { FreeExtents } from './free-extents.ts';
import { refcountAt, refcountMax, refcountsPerBlock, setRefcount } from './refcounts.ts';
import { TableCache } from './table-cache.ts';

test('refcounts of every width: each is what was set, whatever its neighbours are', () => {
  const random = new Random(1);
  for (let order = 0; order <= 6; order++) {
    const block = new DataView(new ArrayBuffer(512));
    const model = new Array<number>(refcountsPerBlock(512, order)).fill(0);
    for (let i = 0; i < 2000; i++) {
      const index = random.below(model.length);
      const count = random.below(Math.min(refcountMax(order) + 1, 2 ** 31));
      setRefcount(block, index, order, count);
      model[index] = count;
    }
    assert.deepEqual(
      model.map((_, index) => refcountAt(block, index, order)),
      model,
      `order ${order}`,
    );
    if (order < 6) assert.throws(() => setRefcount(block, 0, order, refcountMax(order) + 1), { code: 'disk-refcount' });
  }
});

test('entries: what is written is what is read, at places beyond 4 GiB too', () => {
  const table = new DataView(new ArrayBuffer(64));
  const at = 5 * 2 ** 40 + 0x8000_0000;
  setOwned(table, 1, at);
  assert.deepEqual(clusterAt(table, 1, 3, 16), { kind: 'data', at, copied: true });
  assert.equal(placeAt(table, 1), at);
  assert.ok(isCopied(table, 1));
  setZero(table, 1, at);
  assert.deepEqual(clusterAt(table, 1, 3, 16), { kind: 'zero', at, copied: true });
  // Version 2 does not know it.
  assert.deepEqual(clusterAt(table, 1, 2, 16), { kind: 'data', at, copied: true });
  setZero(table, 1, 0);
  assert.deepEqual(clusterAt(table, 1, 3, 16), { kind: 'zero', at: 0, copied: false });
  setUnallocated(table, 1);
  assert.deepEqual(clusterAt(table, 1, 3, 16), { kind: 'unallocated' });
});

test('entries: compressed clusters, by the bits that their size leaves', () => {
  const table = new DataView(new ArrayBuffer(8));
  // 64 KiB: 54 bits of place, 8 of sectors; at 0x12345, three sectors more.
  table.setBigUint64(0, (1n << 62n) | (3n << 54n) | 0x12345n);
  assert.deepEqual(clusterAt(table, 0, 3, 16), {
    kind: 'compressed',
    at: 0x12345,
    sizeBytes: 4 * 512 - (0x12345 % 512),
  });
  // 512 bytes: 61 bits of place, 1 of sectors.
  table.setBigUint64(0, (1n << 62n) | (1n << 61n) | 0x3_0000_0000n);
  assert.deepEqual(clusterAt(table, 0, 3, 9), { kind: 'compressed', at: 0x3_0000_0000, sizeBytes: 1024 });
});

test('compressed clusters end where they end, whatever follows', async () => {
  const random = new Random(2);
  for (let i = 0; i < 40; i++) {
    const clusterBytes = 4096 << random.below(4);
    const content = random.oneIn(3)
      ? random.bytes(clusterBytes)
      : new Uint8Array(clusterBytes).map((_, at) => (at * i) >> 5);
    const next = random.oneIn(2)
      ? zstdCompressSync(random.bytes(3000)).subarray(0, random.below(400))
      : random.bytes(300);
    const zstd = zstdCompressSync(content);
    assert.equal(zstdFrameBytes(Buffer.concat([zstd, next])), zstd.length);
    assert.deepEqual(new Uint8Array(await decompress(Buffer.concat([zstd, next]), 'zstd', clusterBytes)), content);
    const deflated = deflateRawSync(content);
    assert.deepEqual(new Uint8Array(await decompress(Buffer.concat([deflated, next]), 'zlib', clusterBytes)), content);
  }
});

test('compressed clusters that are damaged, too long or too short are errors', async () => {
  const random = new Random(3);
  for (const [kind, packed] of [
    ['zstd', zstdCompressSync(new Uint8Array(4096))],
    ['zlib', deflateRawSync(new Uint8Array(4096))],
  ] as const) {
    await assert.rejects(decompress(packed, kind, 2048), { code: 'disk-corrupt' });
    await assert.rejects(decompress(packed, kind, 8192), { code: 'disk-corrupt' });
    await assert.rejects(decompress(new Uint8Array(), kind, 4096), { code: 'disk-corrupt' });
    for (let i = 0; i < 50; i++) {
      const outcome = await decompress(random.bytes(1 + random.below(600)), kind, 4096).catch((error) => error.code);
      assert.ok(outcome === 'disk-corrupt' || outcome.length === 4096);
    }
  }
});

test('free extents: against a set, with chance choosing; nothing is given out twice', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed);
    const extents = new FreeExtents();
    const free = new Set<number>();
    for (let i = 0; i < 300; i++) {
      const count = 1 + random.below(6);
      if (random.oneIn(2)) {
        const first = random.below(200);
        const run = Array.from({ length: count }, (_, k) => first + k);
        if (run.some((cluster) => free.has(cluster))) continue;
        assert.ok(extents.add(first, count));
        for (const cluster of run) free.add(cluster);
        continue;
      }
      const taken = random.oneIn(2) ? extents.takeRun(count) : extents.takeSome(count);
      for (let k = 0; k < (taken?.count ?? 0); k++) assert.ok(free.delete((taken?.first ?? 0) + k), `seed ${seed}`);
    }
    let left = 0;
    for (let extent = extents.takeSome(1000); extent !== undefined; extent = extents.takeSome(1000))
      left += extent.count;
    assert.equal(left, free.size, `seed ${seed}`);
  }
});

test('tables: what is changed or pinned stays, the rest is loaded again when it has to go', async () => {
  const loads: number[] = [];
  const cache = new TableCache(512, 4 * 512, async (index, into) => {
    loads.push(index);
    into.fill(index);
  });
  const [zero, one] = await Promise.all([cache.pin(0), cache.pin(1)]);
  assert.equal(await cache.pin(0), zero);
  assert.deepEqual(loads, [0, 1]);
  cache.markDirty(one);
  cache.unpin(one);
  for (let index = 2; index < 10; index++) cache.unpin(await cache.pin(index));
  assert.equal(cache.peek(0), zero);
  assert.equal(cache.peek(1), one);
  assert.equal(cache.peek(2), undefined);
  cache.markClean(one);
  for (let index = 10; index < 20; index++) cache.unpin(await cache.pin(index));
  assert.equal(cache.peek(1), undefined);
});

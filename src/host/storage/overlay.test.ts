import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBackend } from '../../devices/index.ts';
import { blockBackendSuite } from '../../devices/virtio/block-backend.testing.ts';
import { Random } from '../../devices/virtio/random.testing.ts';
import { CrashFile } from './crash-file.testing.ts';
import { isValidMap, Overlay } from './overlay.ts';
import {
  CLUSTER,
  clusterBytesFor,
  dataAt,
  decodeHeader,
  encodeHeader,
  fileBytes,
  HEADER_BYTES,
  MAP_AT,
  type OverlayShape,
} from './overlay-format.ts';

function shapeOf(sizeBytes: number, clusterBytes = 4096): OverlayShape {
  return { sizeBytes, clusterBytes, baseIdentity: 'base', basePath: 'base.img' };
}

function newFile(shape: OverlayShape, pause?: () => Promise<void>): CrashFile {
  const content = new Uint8Array(Math.ceil(fileBytes(shape) / 512) * 512);
  content.set(encodeHeader(shape));
  return new CrashFile(content, pause);
}

/** The overlay as a process finds it that opens the file. */
function open(medium: Uint8Array, shape: OverlayShape, base: MemoryBackend): Overlay {
  assert.deepEqual(decodeHeader(medium.subarray(0, HEADER_BYTES)), shape);
  const map = medium.slice(MAP_AT, dataAt(shape));
  assert.ok(isValidMap(map, shape));
  return new Overlay(shape, base, new CrashFile(medium), map);
}

function overlayOver(
  content: Uint8Array,
  clusterBytes = 4096,
  sizeBytes = content.length,
  pause?: () => Promise<void>,
) {
  const base = new MemoryBackend(content.length, { content, readOnly: true });
  const shape = shapeOf(sizeBytes, clusterBytes);
  const file = newFile(shape, pause);
  const map = new Uint8Array(dataAt(shape) - MAP_AT);
  return { base, shape, file, overlay: new Overlay(shape, base, file, map) };
}

async function contentOf(disk: Overlay): Promise<Uint8Array> {
  const all = new Uint8Array(disk.sizeBytes);
  await disk.read(0, [all]);
  return all;
}

for (const clusterBytes of [4096, 16384]) {
  blockBackendSuite(`overlay with clusters of ${clusterBytes}`, async (content) => {
    const { overlay } = overlayOver(content, clusterBytes);
    return { backend: overlay, close: () => overlay.close() };
  });
}

test('overlay: the base stays as it was, and only what was written is in the file', async () => {
  const content = new Random(1).bytes(64 * 4096);
  const { base, overlay } = overlayOver(content);
  await overlay.write(4096 * 3 + 512, [new Uint8Array(512).fill(1)]);
  await overlay.write(4096 * 10, [new Uint8Array(4096 * 2).fill(2)]);
  assert.equal(overlay.allocatedBytes, 3 * 4096);
  const under = new Uint8Array(content.length);
  base.read(0, [under]);
  assert.deepEqual(under, content);
});

test('overlay: larger than its base, zeros follow, also within a cluster', async () => {
  const { overlay } = overlayOver(new Uint8Array(4096 + 512).fill(5), 4096, 16384);
  const expected = new Uint8Array(16384).fill(5, 0, 4608);
  assert.deepEqual(await contentOf(overlay), expected);
  await overlay.write(4096 + 1024, [new Uint8Array(512).fill(6)]);
  expected.fill(6, 5120, 5632);
  assert.deepEqual(await contentOf(overlay), expected);
});

test('overlay: a disk that ends within a cluster', async () => {
  const { overlay } = overlayOver(new Uint8Array(4096 + 1536).fill(5));
  await overlay.write(4096 + 1024, [new Uint8Array(512).fill(6)]);
  await overlay.writeZeroes(4096, 512);
  const expected = new Uint8Array(5632).fill(5);
  expected.fill(0, 4096, 4608).fill(6, 5120, 5632);
  assert.deepEqual(await contentOf(overlay), expected);
  await overlay.writeZeroes(4096, 1536);
  assert.deepEqual(await contentOf(overlay), expected.fill(0, 4096));
});

test('overlay: whole clusters are zeroed without writing; discarded ones need no room', async () => {
  const { overlay, file } = overlayOver(new Uint8Array(16 * 4096).fill(5));
  await overlay.write(0, [new Uint8Array(4096 * 4).fill(6)]);
  const writes = file.log.length;
  await overlay.writeZeroes(4096, 4096 * 2);
  overlay.discard(4096 * 3, 4096);
  assert.equal(file.log.length, writes);
  assert.equal(overlay.allocatedBytes, 4096);
  const expected = new Uint8Array(16 * 4096).fill(5);
  expected.fill(6, 0, 4096).fill(0, 4096, 4096 * 4);
  assert.deepEqual(await contentOf(overlay), expected);
});

test('overlay: a cluster that was zeroed and is written again holds no old data', async () => {
  const { overlay } = overlayOver(new Uint8Array(4096).fill(5));
  await overlay.write(0, [new Uint8Array(4096).fill(6)]);
  await overlay.writeZeroes(0, 4096);
  await overlay.write(512, [new Uint8Array(512).fill(7)]);
  assert.deepEqual(await contentOf(overlay), new Uint8Array(4096).fill(7, 512, 1024));
});

test('overlay: parts of one cluster written at once all arrive', async () => {
  const { overlay } = overlayOver(new Uint8Array(4096 * 2).fill(5));
  const sectors = Array.from({ length: 16 }, (_, i) => i);
  await Promise.all(sectors.map((i) => overlay.write(i * 512, [new Uint8Array(512).fill(100 + i)])));
  const all = await contentOf(overlay);
  assert.deepEqual(
    sectors.map((i) => all[i * 512 + 7]),
    sectors.map((i) => 100 + i),
  );
});

test('overlay: overlapping writes leave what one order of them would', async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Random(seed);
    const pause = async () => {
      for (let n = random.below(6); n > 0; n--) await Promise.resolve();
    };
    const { overlay } = overlayOver(new Uint8Array(4096 * 2).fill(5), 4096, 8192, pause);
    await Promise.all([
      overlay.write(0, [new Uint8Array(4096).fill(1)]),
      overlay.write(1024, [new Uint8Array(1024).fill(2)]),
      overlay.write(3584, [new Uint8Array(1024).fill(3)]),
    ]);
    const all = await contentOf(overlay);
    const at = (sector: number) => all[sector * 512];
    assert.deepEqual([at(0), at(1), at(4), at(6), at(9)], [1, 1, 1, 1, 5], `seed ${seed}`);
    assert.ok((at(2) === 1 && at(3) === 1) || (at(2) === 2 && at(3) === 2), `seed ${seed}`);
    assert.ok(at(7) === 1 || at(7) === 3, `seed ${seed}`);
    assert.equal(at(8), 3, `seed ${seed}`);
  }
});

test('overlay: data reaches the medium before the map says so', async () => {
  const { overlay, file, shape } = overlayOver(new Uint8Array(8 * 4096));
  await overlay.write(4096, [new Uint8Array(4096).fill(1)]);
  await overlay.flush();
  await overlay.flush();
  await overlay.write(4096, [new Uint8Array(512).fill(2)]);
  await overlay.flush();
  assert.deepEqual(file.log, [
    `write ${dataAt(shape) + 4096}+4096`,
    'sync',
    `write ${MAP_AT}+4096`,
    'sync',
    'sync',
    `write ${dataAt(shape) + 4096}+512`,
    'sync',
  ]);
});

test('overlay: flushes at once share, and each covers what was written before it', async () => {
  const { overlay, file } = overlayOver(new Uint8Array(8 * 4096));
  await overlay.write(0, [new Uint8Array(4096).fill(1)]);
  await Promise.all([overlay.flush(), overlay.flush(), overlay.flush()]);
  assert.equal(file.log.filter((entry) => entry === 'sync').length, 2);
});

test('overlay: a flush that fails is an error, and the next one does its work', async () => {
  const { overlay, file, base, shape } = overlayOver(new Uint8Array(8 * 4096));
  await overlay.write(0, [new Uint8Array(4096).fill(1)]);
  file.failing = 'sync';
  await assert.rejects(overlay.flush(), /medium error/);
  file.failing = undefined;
  await overlay.flush();
  const again = open(file.crash(new Random(1)), shape, base);
  assert.equal((await contentOf(again))[0], 1);
});

test('overlay: a write that fails changes nothing, and the cluster can be written again', async () => {
  const { overlay, file } = overlayOver(new Uint8Array(4096).fill(5));
  file.failing = 'write';
  await assert.rejects(overlay.write(512, [new Uint8Array(512)]), /no space/);
  file.failing = undefined;
  assert.deepEqual(await contentOf(overlay), new Uint8Array(4096).fill(5));
  await overlay.write(512, [new Uint8Array(512).fill(6)]);
  assert.equal((await contentOf(overlay))[512], 6);
});

test('property: after a crash every sector holds what was last flushed or something written since', async () => {
  const SECTORS = 96;
  for (let seed = 1; seed <= 150; seed++) {
    const random = new Random(seed);
    const pause = async () => {
      for (let n = random.below(4); n > 0; n--) await Promise.resolve();
    };
    const { overlay, file, base, shape } = overlayOver(
      new Uint8Array(SECTORS * 512).fill(255),
      4096,
      SECTORS * 512,
      pause,
    );
    // By sector: the values it may have after a crash. Every write has a value of its own.
    const possible = Array.from({ length: SECTORS }, () => new Set([255]));
    const current = new Array<number>(SECTORS).fill(255);
    let value = 0;
    for (let round = 0; round < 5; round++) {
      const pending: Promise<void>[] = [];
      const busy = new Set<number>();
      for (let n = 1 + random.below(5); n > 0; n--) {
        const first = random.below(SECTORS);
        const count = 1 + random.below(Math.min(20, SECTORS - first));
        const sectors = Array.from({ length: count }, (_, i) => first + i);
        if (sectors.some((sector) => busy.has(sector))) continue;
        const zero = random.oneIn(4);
        const fill = zero ? 0 : (++value % 253) + 1;
        for (const sector of sectors) {
          busy.add(sector);
          possible[sector]?.add(fill);
          current[sector] = fill;
        }
        const bytes = new Uint8Array(count * 512).fill(fill);
        pending.push(zero ? overlay.writeZeroes(first * 512, bytes.length) : overlay.write(first * 512, [bytes]));
      }
      if (random.oneIn(2)) await Promise.all(pending);
      if (random.oneIn(2)) {
        const finished = random.oneIn(2);
        if (finished) await Promise.all(pending);
        // Crash in the middle of a flush, too: it promises nothing before it is done.
        const flush = overlay.flush();
        if (random.oneIn(3)) {
          for (let n = random.below(8); n > 0; n--) await Promise.resolve();
          await check(file.crash(random), possible, seed);
        }
        await flush;
        if (finished) current.forEach((now, sector) => (possible[sector] = new Set([now])));
      }
      await check(file.crash(random), possible, seed);
      await Promise.all(pending);
    }

    async function check(medium: Uint8Array, allowed: readonly Set<number>[], at: number) {
      const found = await contentOf(open(medium, shape, base));
      for (let sector = 0; sector < SECTORS; sector++) {
        const bytes = new Set(found.subarray(sector * 512, sector * 512 + 512));
        const [byte] = bytes;
        assert.equal(bytes.size, 1, `seed ${at}: sector ${sector} is torn`);
        assert.ok(allowed[sector]?.has(byte ?? -1), `seed ${at}: sector ${sector} holds ${byte}`);
      }
    }
  }
});

test('format: header there and back; whatever is wrong with one is said', () => {
  const shape = { sizeBytes: 5 * 2 ** 40, clusterBytes: 524288, baseIdentity: 'x', basePath: 'höhle/basis.img' };
  const header = encodeHeader(shape);
  assert.deepEqual(decodeHeader(header), shape);
  assert.equal(decodeHeader(new Uint8Array(HEADER_BYTES)), 'is not an overlay');
  const damaged = header.slice();
  damaged[2000] = 1;
  assert.equal(decodeHeader(damaged), 'has a damaged header');
  const newer = header.slice();
  newer[8] = 2;
  assert.match(String(decodeHeader(newer)), /format 2/);
});

test('format: clusters of 4 KiB up to 64 GiB, and a map within 16 MiB beyond', () => {
  assert.equal(clusterBytesFor(8 * 2 ** 30), 4096);
  assert.equal(clusterBytesFor(64 * 2 ** 30), 4096);
  assert.equal(clusterBytesFor(65 * 2 ** 30), 8192);
  assert.equal(clusterBytesFor(2 ** 40), 65536);
  assert.ok(isValidMap(Uint8Array.of(CLUSTER.ZERO, CLUSTER.DATA, 9), shapeOf(8192)));
  assert.ok(!isValidMap(Uint8Array.of(3, 0), shapeOf(8192)));
});

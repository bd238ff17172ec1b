import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../base/assert.ts';
import { MemoryBackend, SECTOR_BYTES } from '../../devices/index.ts';
import { type DiskTwin, ForkableDisk } from './forkable-disk.ts';

const SIZE = 1 << 20;
const MOST_BYTES = 24 * 1024;

/** A disk with delays, so that reads and writes overlap. */
class SlowDisk extends MemoryBackend {
  closed = 0;
  override async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    await pause();
    await super.read(offset, into);
    await pause();
  }
  override async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    await pause();
    await super.write(offset, from);
    await pause();
  }
}

let seed = 1;
const random = (below: number): number => {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
  return Math.floor((seed / 2 ** 32) * below);
};
const pause = (): Promise<void> => new Promise((resolve) => (random(3) === 0 ? setImmediate(resolve) : resolve()));

/** A disk, and what should be on it. */
interface Copy {
  readonly disk: ForkableDisk;
  readonly model: Uint8Array;
  readonly twin?: DiskTwin;
}

async function all(disk: ForkableDisk): Promise<Uint8Array> {
  const bytes = new Uint8Array(SIZE);
  await disk.read(0, [bytes]);
  return bytes;
}

test('twins of disks, and their twins, each keep what was there and what they write', { timeout: 60_000 }, async () => {
  const slow = new SlowDisk(SIZE);
  const first = new ForkableDisk(slow, async () => void slow.closed++);
  const copies: Copy[] = [{ disk: first, model: new Uint8Array(SIZE) }];
  const someRange = (): [offset: number, size: number] => {
    const offset = random((SIZE - MOST_BYTES) / SECTOR_BYTES) * SECTOR_BYTES;
    return [offset, (1 + random(MOST_BYTES / SECTOR_BYTES)) * SECTOR_BYTES];
  };
  for (let round = 0; round < 60; round++) {
    // Writes of each disk do not overlap each other; those of others and reads do.
    await Promise.all(
      copies.map(async ({ disk, model }) => {
        for (let i = 0; i < 4; i++) {
          const [offset, size] = someRange();
          if (random(5) === 0) {
            await disk.writeZeroes?.(offset, size);
            model.fill(0, offset, offset + size);
          } else if (random(3) === 0) {
            const bytes = new Uint8Array(size);
            await disk.read(offset, [bytes]);
            assert.deepEqual(bytes, model.slice(offset, offset + size), `round ${round}`);
          } else {
            const bytes = new Uint8Array(size).fill(random(256));
            await disk.write(offset, [bytes]);
            model.set(bytes, offset);
          }
        }
      }),
    );
    if (copies.length < 12 && round % 3 === 0) {
      const { disk, model } = must(copies[random(copies.length)]);
      const twin = await disk.prepareTwin();
      const writes = random(2) === 0 ? disk.write(0, [new Uint8Array(SECTOR_BYTES).fill(round)]) : undefined;
      if (writes !== undefined) model.fill(round, 0, SECTOR_BYTES);
      await writes;
      twin.freeze();
      copies.push({ disk: new ForkableDisk(twin.backend, () => twin.close()), model: model.slice(), twin });
    }
  }
  for (const { disk, model } of copies) assert.deepEqual(await all(disk), model);
  // In whatever order they end, those that are left keep what they have.
  while (copies.length > 0) {
    const [gone] = copies.splice(random(copies.length), 1);
    await must(gone).disk.close();
    for (const { disk, model } of copies) assert.deepEqual(await all(disk), model);
  }
  assert.equal(slow.closed, 1);
});

test('a twin reads what was there while its original writes it', { timeout: 20_000 }, async () => {
  const slow = new SlowDisk(SIZE);
  const disk = new ForkableDisk(slow, async () => {});
  await disk.write(0, [new Uint8Array(SIZE).fill(1)]);
  const twin = await disk.prepareTwin();
  twin.freeze();
  for (let round = 0; round < 200; round++) {
    const offset = random(SIZE / SECTOR_BYTES) * SECTOR_BYTES;
    const bytes = new Uint8Array(SECTOR_BYTES);
    await Promise.all([twin.backend.read(offset, [bytes]), disk.write(offset, [new Uint8Array(SECTOR_BYTES).fill(2)])]);
    assert.deepEqual(bytes, new Uint8Array(SECTOR_BYTES).fill(1));
  }
  await disk.close();
  await twin.close();
});

test('a twin that was never made leaves nothing behind', async () => {
  let closed = 0;
  const disk = new ForkableDisk(new MemoryBackend(SIZE), async () => void closed++);
  const twin = await disk.prepareTwin();
  await twin.close();
  await disk.close();
  assert.equal(closed, 1);
});

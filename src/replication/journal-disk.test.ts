import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryDisk, randomOf } from './fakes.testing.ts';
import { type DiskEpoch, JournalDisk } from './journal-disk.ts';

const SECTORS = 64;

function random(
  disk: { write: JournalDisk['write'] },
  change: (offset: number, bytes: Uint8Array) => void,
  next: (below: number) => number,
): void {
  const sector = next(SECTORS - 4);
  const bytes = new Uint8Array((1 + next(4)) * 512).fill(1 + next(255));
  disk.write(sector * 512, [bytes.subarray(0, 512), bytes.subarray(512)]);
  change(sector * 512, bytes);
}

test('held: reads see every write, the disk has those of epochs that were applied', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const next = randomOf(seed);
    const below = new MemoryDisk(SECTORS * 512);
    const disk = new JournalDisk(below);
    const model = new Uint8Array(below.sizeBytes);
    disk.setMode('held');
    const epochs: { readonly epoch: DiskEpoch; readonly after: Uint8Array }[] = [];
    for (let step = 0; step < 200; step++) {
      const what = next(10);
      if (what < 5) random(disk, (offset, bytes) => model.set(bytes, offset), next);
      else if (what === 5) {
        const offset = next(SECTORS - 8) * 512;
        disk.writeZeroes?.(offset, 4096);
        model.fill(0, offset, offset + 4096);
      } else if (what === 6) epochs.push({ epoch: disk.take(), after: model.slice() });
      else if (what === 7) {
        const first = epochs.shift();
        if (first === undefined) continue;
        await disk.apply(first.epoch);
        assert.deepEqual(below.bytes, first.after, `seed ${seed}`);
      } else {
        const [a, b] = [new Uint8Array(1024), new Uint8Array(2048)];
        const offset = next(SECTORS - 6) * 512;
        await disk.read(offset, [a, b]);
        assert.deepEqual(Buffer.concat([a, b]), Buffer.from(model.subarray(offset, offset + 3072)), `seed ${seed}`);
      }
    }
    await disk.applyAll();
    disk.setMode('through');
    assert.deepEqual(below.bytes, model);
    assert.equal(disk.heldBytes, 0);
  }
});

test('held: a flush is the epoch’s, and done behind its writes', async () => {
  const below = new MemoryDisk(4096);
  const disk = new JournalDisk(below);
  disk.setMode('held');
  disk.write(0, [new Uint8Array(512).fill(1)]);
  disk.flush();
  assert.deepEqual([below.flushes, below.bytes[0]], [0, 0]);
  const epoch = disk.take();
  await disk.apply(epoch);
  assert.deepEqual([below.flushes, below.bytes[0]], [1, 1]);
  await disk.apply(disk.take());
  assert.equal(below.flushes, 1);
});

test('recorded: writes go to the disk, and are told once', () => {
  const below = new MemoryDisk(4096);
  const disk = new JournalDisk(below);
  disk.write(0, [new Uint8Array(512).fill(1)]);
  disk.setMode('recorded');
  disk.write(512, [new Uint8Array(512).fill(2)]);
  disk.discard?.(1024, 512);
  assert.equal(below.bytes[512], 2);
  assert.deepEqual(
    disk.take().changes.map(({ kind, offset }) => `${kind} ${offset}`),
    ['data 512', 'discard 1024'],
  );
  assert.deepEqual(disk.take().changes, []);
});

test('a read that was under way when its epoch was applied has what it began with', async () => {
  const below = new MemoryDisk(4096);
  const slow = Promise.withResolvers<void>();
  const disk = new JournalDisk({
    ...{ sizeBytes: 4096, readOnly: false, flush: () => {} },
    // What it had read before the write came there.
    read: async (offset, into) => {
      const before = below.bytes.slice(offset, offset + 512);
      await slow.promise;
      into[0]?.set(before);
    },
    write: (offset, from) => below.write(offset, from),
  });
  disk.setMode('held');
  disk.write(0, [new Uint8Array(512).fill(9)]);
  const into = new Uint8Array(512);
  const read = disk.read(0, [into]);
  await disk.apply(disk.take());
  slow.resolve();
  await read;
  assert.equal(into[0], 9);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blockBackendSuite } from './block-backend.testing.ts';
import { MemoryBackend } from './memory-backend.ts';

blockBackendSuite('memory', async (content) => ({
  backend: new MemoryBackend(content.length, { content }),
  close: async () => undefined,
}));

test('memory: only what was written takes room, and zeroing gives it back', () => {
  const disk = new MemoryBackend(1 << 30);
  assert.equal(disk.allocatedBytes, 0);
  disk.write(1 << 29, [new Uint8Array(512).fill(1)]);
  assert.equal(disk.allocatedBytes, 1 << 16);
  disk.discard(0, 1 << 30);
  assert.equal(disk.allocatedBytes, 0);
});

test('memory: an access beyond the end is a bug of ours', () => {
  const disk = new MemoryBackend(1024);
  assert.throws(() => disk.read(1024, [new Uint8Array(512)]), /beyond the end/);
  assert.throws(() => disk.write(512, [new Uint8Array(1024)]), /beyond the end/);
  assert.throws(() => new MemoryBackend(1000), /whole sectors/);
  assert.throws(() => new MemoryBackend(512, { readOnly: true }).write(0, [new Uint8Array(512)]), /read-only/);
});

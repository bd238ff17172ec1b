import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameFifo } from './frame-fifo.ts';
import { Random } from './random.testing.ts';

test('frames come out whole, in order, with what was said of them', () => {
  const fifo = new FrameFifo(256);
  fifo.push(Uint8Array.of(1, 2, 3), undefined);
  fifo.push(Uint8Array.of(4), { checksumValid: true, segmentBytes: 1460 });
  assert.deepEqual([...fifo.first], [1, 2, 3]);
  assert.equal(fifo.firstChecksumValid, false);
  fifo.shift();
  assert.deepEqual([...fifo.first], [4]);
  assert.equal(fifo.firstChecksumValid, true);
  assert.equal(fifo.firstSegmentBytes, 1460);
  fifo.shift();
  assert.equal(fifo.frames, 0);
});

test('property: against an array of frames, wherever the ring starts over', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = new Random(seed);
    const capacity = 64 + random.below(64) * 4;
    const fifo = new FrameFifo(capacity);
    const model: Uint8Array[] = [];
    for (let step = 0; step < 500; step++) {
      if (random.oneIn(2)) {
        const frame = random.bytes(1 + random.below(60));
        const held = model.reduce((sum, one) => sum + 12 + ((one.length + 3) & ~3), 0);
        const need = 12 + ((frame.length + 3) & ~3);
        const pushed = fifo.push(frame, undefined);
        if (pushed) model.push(frame);
        else assert.ok(held + 2 * need > capacity - 72, `seed ${seed}: refused with room to spare`);
      } else if (model.length > 0) {
        assert.deepEqual(fifo.first, model.shift(), `seed ${seed}, step ${step}`);
        fifo.shift();
      }
      assert.equal(fifo.frames, model.length);
    }
  }
});

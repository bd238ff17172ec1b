import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BufferBudget } from './byte-ring.ts';
import { Simulation } from './simulation.testing.ts';
import { FIRST_WINDOW_BYTES, TcpReceiver } from './tcp-receiver.ts';
import { pattern } from './test-bed.testing.ts';

const LIMIT = 256 << 10;

function receiver(first: number, earlyLimit = 64) {
  const budget = new BufferBudget(1 << 20);
  budget.reserve(FIRST_WINDOW_BYTES);
  return { budget, made: new TcpReceiver(first, 1460, LIMIT, earlyLimit, budget) };
}

test('whatever pieces come in whatever order, the stream goes on in order and within the window', () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const chance = new Simulation(seed);
    const first = seed % 2 === 0 ? -20_000 : 0x7fffffff - 20_000;
    const { made, budget } = receiver(first);
    const stream = pattern(300_000, seed);
    const taken: Uint8Array[] = [];
    let takenBytes = 0;
    const sink = {
      take: (bytes: Uint8Array, at: number, end: number) => {
        taken.push(bytes.slice(at, end));
        takenBytes += end - at;
      },
    };
    let edge = made.offer(7) * 128;
    for (let step = 0; step < 4000 && !made.ended; step += 1) {
      const start = Math.max(0, takenBytes + chance.between(-4000, chance.chance(0.6) ? 0 : 9000));
      const end = Math.min(stream.length, start + chance.between(0, 4000));
      if (start > end) continue;
      const sequence = (first + start) | 0;
      const fin = end === stream.length;
      if (made.touches(sequence, end - start + (fin ? 1 : 0))) made.accept(sequence, stream, start, end, fin, sink);
      assert.ok(takenBytes <= edge, 'nothing beyond what was offered');
      made.drained(chance.between(0, made.pendingBytes));
      const offered = takenBytes + made.offer(7) * 128;
      assert.ok(offered >= edge - 127, 'the edge never moves left, rounding apart');
      edge = Math.max(edge, offered);
      assert.ok(made.pendingBytes <= LIMIT);
    }
    assert.ok(made.ended, `seed ${seed}: ${takenBytes} bytes`);
    assert.equal(Buffer.compare(Buffer.concat(taken), stream), 0);
    assert.equal(made.next, (first + stream.length + 1) | 0);
    made.free();
    made.free();
    assert.equal(budget.usedBytes, 0);
  }
});

test('early segments are bounded in number; a FIN counts only behind all data', () => {
  const { made } = receiver(0, 3);
  made.offer(0);
  const sink = { take: () => {} };
  const bytes = pattern(10);
  assert.deepEqual(
    [10, 30, 50, 70].map((at) => made.accept(at, bytes, 0, 10, false, sink)),
    ['early', 'early', 'early', 'dropped'],
  );
  assert.equal(made.accept(60, bytes, 0, 0, true, sink), 'early');
  assert.equal(made.ended, false);
  assert.equal(made.accept(0, bytes, 0, 10, false, sink), 'in-order');
  assert.equal(made.accept(0, bytes, 0, 10, false, sink), 'old');
  assert.equal(made.next, 20);
  made.accept(20, bytes, 0, 10, false, sink);
  made.accept(40, bytes, 0, 10, false, sink);
  assert.deepEqual([made.next, made.ended, made.hasGap], [61, true, false]);
});

test('a closed window takes nothing, and its update waits until it is worth a segment', () => {
  const { made } = receiver(0);
  made.offer(0);
  const sink = { take: () => {} };
  const bytes = new Uint8Array(65_535);
  made.accept(0, bytes, 0, 65_535, false, sink);
  assert.equal(made.offer(0), 0);
  assert.ok(made.touches(65_535, 1), 'a probe is answered');
  assert.equal(made.accept(65_535, bytes, 0, 1, false, sink), 'dropped');
  made.drained(1000);
  assert.deepEqual([made.wantsUpdate(), made.offer(0)], [false, 0]);
  made.drained(2000);
  assert.ok(made.wantsUpdate());
  assert.equal(made.offer(0), 3001);
});

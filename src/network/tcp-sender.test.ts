/** When the sender sends what: timeouts, duplicates, windows. Times are exact, the clock is simulated. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BufferBudget, type ByteRing } from './byte-ring.ts';
import { newNetworkCounters } from './counters.ts';
import { type SegmentSink, TcpSender } from './tcp-sender.ts';

interface Sent {
  readonly atMs: number;
  readonly from: number;
  readonly bytes: number;
  readonly fin: boolean;
}

class Bench implements SegmentSink {
  nowMs = 0;
  readonly sent: Sent[] = [];
  ready = true;
  readonly counters = newNetworkCounters().tcp;
  readonly sender = new TcpSender(0, 1000, 1 << 20, new BufferBudget(4 << 20), this.counters);

  constructor(bytes: number, windowBytes: number) {
    this.sender.open(windowBytes, 0, 0);
    this.sender.ring.push(new Uint8Array(bytes));
  }

  sendData(from: number, _ring: ByteRing, _offset: number, bytes: number, fin: boolean): boolean {
    if (this.ready) this.sent.push({ atMs: this.nowMs, from, bytes, fin });
    return this.ready;
  }

  transmit(): [number, number][] {
    const count = this.sent.length;
    this.sender.transmit(this.nowMs, this);
    return this.sent.slice(count).map(({ from, bytes }) => [from, bytes]);
  }

  acknowledge(upTo: number, windowBytes: number): [number, number][] {
    const count = this.sent.length;
    this.sender.acknowledge(upTo, 0, windowBytes, true, this.nowMs, this);
    this.sender.transmit(this.nowMs, this);
    return this.sent.slice(count).map(({ from, bytes }) => [from, bytes]);
  }

  /** Lets the timer fire when it is due; returns what was sent. */
  timeOut(): Sent[] {
    const count = this.sent.length;
    assert.notEqual(this.sender.dueMs, Number.POSITIVE_INFINITY);
    this.nowMs = this.sender.dueMs;
    this.sender.onTimer(this.nowMs, this);
    this.sender.transmit(this.nowMs, this);
    return this.sent.slice(count);
  }
}

test('slow start: ten segments, then two for each that is acknowledged', () => {
  const bench = new Bench(100_000, 1 << 20);
  assert.equal(bench.transmit().length, 10);
  bench.nowMs = 10;
  assert.equal(bench.acknowledge(2000, 1 << 20).length, 4);
  assert.equal(bench.acknowledge(10_000, 1 << 20).length, 16);
});

test('a timeout sends the first segment again, then waits twice as long each time, up to a minute', () => {
  const bench = new Bench(3000, 1 << 20);
  bench.transmit();
  const times: number[] = [];
  for (let i = 0; i < 9; i += 1) {
    const [again] = bench.timeOut();
    assert.deepEqual([again?.from, again?.bytes], [0, 1000]);
    times.push(bench.nowMs);
  }
  assert.deepEqual(times, [1000, 3000, 7000, 15_000, 31_000, 63_000, 123_000, 183_000, 243_000]);
  assert.equal(bench.sender.exhausted, false);
  bench.timeOut();
  bench.timeOut();
  assert.equal(bench.sender.exhausted, true);
});

test('round trips shorten the timeout, to 200 ms at the least, and backoff ends with new data', () => {
  const bench = new Bench(100_000, 1 << 20);
  bench.transmit();
  for (let round = 1; round <= 20; round += 1) {
    bench.nowMs += 4;
    bench.acknowledge(round * 1000, 1 << 20);
  }
  const startMs = bench.nowMs;
  assert.equal(bench.sender.dueMs, startMs + 200);
  bench.timeOut();
  assert.equal(bench.sender.dueMs, startMs + 200 + 400);
  bench.acknowledge(30_000, 1 << 20);
  assert.equal(bench.sender.dueMs, bench.nowMs + 200);
});

test('three duplicates send the missing segment at once; a partial acknowledgement the next one', () => {
  const bench = new Bench(8000, 1 << 20);
  assert.equal(bench.transmit().length, 8);
  assert.deepEqual(bench.acknowledge(1000, 1 << 20), []);
  assert.deepEqual(bench.acknowledge(1000, 1 << 20), []);
  assert.deepEqual(bench.acknowledge(1000, 1 << 20), []);
  assert.deepEqual(bench.acknowledge(1000, 1 << 20), [[1000, 1000]]);
  assert.deepEqual(bench.acknowledge(1000, 1 << 20), []);
  assert.deepEqual(bench.acknowledge(4000, 1 << 20), [[4000, 1000]]);
  assert.deepEqual(bench.acknowledge(8000, 1 << 20), []);
  assert.equal(bench.sender.dueMs, Number.POSITIVE_INFINITY);
  assert.deepEqual([bench.counters.fastRetransmits, bench.counters.retransmits], [1, 2]);
});

test('a window update is no duplicate', () => {
  const bench = new Bench(8000, 1 << 20);
  bench.transmit();
  for (let i = 1; i <= 6; i += 1) assert.deepEqual(bench.acknowledge(0, (1 << 20) - i), []);
  assert.equal(bench.counters.duplicateAcks, 0);
});

test('a closed window is probed with one byte, for as long as the guest answers', () => {
  const bench = new Bench(5000, 2000);
  assert.deepEqual(bench.transmit(), [
    [0, 1000],
    [1000, 1000],
  ]);
  assert.deepEqual(bench.acknowledge(2000, 0), []);
  for (let i = 0; i < 40; i += 1) {
    const [probe] = bench.timeOut();
    assert.deepEqual([probe?.from, probe?.bytes], [2000, 1]);
    assert.deepEqual(bench.acknowledge(2000, 0), []);
    assert.equal(bench.sender.exhausted, false);
  }
  assert.equal(bench.counters.windowProbes, 40);
  assert.deepEqual(bench.acknowledge(2001, 3000), [
    [2001, 1000],
    [3001, 1000],
    [4001, 999],
  ]);
});

test('a narrow window waits for a segment’s worth; after a timeout it is used as it is', () => {
  const bench = new Bench(5000, 4000);
  bench.transmit();
  assert.deepEqual(bench.acknowledge(4000, 300), []);
  const [probe] = bench.timeOut();
  assert.deepEqual([probe?.from, probe?.bytes], [4000, 300]);
});

test('a FIN rides on the last segment, is sent again, and is acknowledged', () => {
  const bench = new Bench(1500, 1 << 20);
  bench.sender.finish();
  bench.transmit();
  assert.deepEqual(
    bench.sent.map(({ bytes, fin }) => [bytes, fin]),
    [
      [1000, false],
      [500, true],
    ],
  );
  bench.acknowledge(1500, 1 << 20);
  assert.equal(bench.sender.finAcknowledged, false);
  assert.deepEqual(
    bench.timeOut().map(({ from, bytes, fin }) => [from, bytes, fin]),
    [[1500, 0, true]],
  );
  assert.ok(bench.sender.isBeyond(1502));
  bench.acknowledge(1501, 1 << 20);
  assert.equal(bench.sender.finAcknowledged, true);
  assert.equal(bench.sender.dueMs, Number.POSITIVE_INFINITY);
});

test('a guest that is not ready gets nothing and loses nothing; its timer is put off', () => {
  const bench = new Bench(3000, 1 << 20);
  bench.transmit();
  bench.ready = false;
  for (let i = 0; i < 50; i += 1) {
    bench.nowMs = bench.sender.dueMs;
    bench.sender.postpone(bench.nowMs);
  }
  assert.equal(bench.sender.exhausted, false);
  bench.ready = true;
  assert.equal(bench.timeOut()[0]?.from, 0);
});

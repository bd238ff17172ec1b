import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, save } from '../../base/struct.ts';
import { Bench } from './bench.testing.ts';
import { FakeDriver } from './fake-driver.testing.ts';
import { type RngIo, VirtioRng } from './rng.ts';

function setUp(bytesPerSecond?: number) {
  const bench = new Bench(VirtioRng.layout);
  const time = { ticks: 0n, alarms: [] as number[] };
  let next = 0;
  const io: RngIo = {
    ...bench.io,
    source: {
      fill: (into) => {
        for (let i = 0; i < into.length; i++) into[i] = ++next & 0xff;
      },
    },
    clock: { ticks: () => time.ticks, wallMs: () => 0 },
    ticksPerSecond: 10_000_000,
    ringAfter: (ticks) => time.alarms.push(ticks),
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
  };
  const device = new VirtioRng(bench.wiring, io);
  bench.start(device);
  const driver = new FakeDriver(bench);
  const queue = driver.start()[0];
  assert.ok(queue);
  return { bench, device, driver, queue, time, io };
}

test('a buffer is filled from the source', () => {
  const { bench, device, driver, queue } = setUp();
  const room = [driver.room(3), driver.room(61)];
  queue.add([], room);
  queue.kick();
  bench.serve(device);
  assert.equal(queue.take()[0]?.writtenBytes, 64);
  const [a, b] = room;
  assert.ok(a && b);
  assert.deepEqual([...bench.memory.bytes(a.gpa, 3), ...bench.memory.bytes(b.gpa, 1)], [1, 2, 3, 4]);
  assert.equal(driver.takeInterrupt(), 1);
});

test('a large buffer is filled in part, and the used length says how far', () => {
  const { bench, device, driver, queue } = setUp();
  queue.add([], [driver.room(10_000)]);
  queue.kick();
  bench.serve(device);
  assert.equal(queue.take()[0]?.writtenBytes, 4096);
});

test('a chain without room for a byte stops the device', () => {
  const { bench, device, driver, queue } = setUp();
  queue.add([driver.room(8)]);
  queue.kick();
  bench.serve(device);
  assert.deepEqual(device.violations, { 'chain-format': 1 });
});

test('the rate is bounded: the rest comes with the alarm, as much as time has earned', () => {
  const { bench, device, driver, queue, time } = setUp(100);
  for (let i = 0; i < 3; i++) queue.add([], [driver.room(60)]);
  queue.kick();
  bench.serve(device);
  assert.deepEqual(
    queue.take().map((used) => used.writtenBytes),
    [60, 40],
  );
  assert.deepEqual(time.alarms, [100_000]);
  time.ticks += 100_000n;
  bench.wiring.doorbell.ring();
  bench.serve(device);
  assert.deepEqual(
    queue.take().map((used) => used.writtenBytes),
    [1],
  );
  assert.equal(time.alarms.length, 2);
});

test('the bucket holds a second’s worth and no more', () => {
  const { bench, device, driver, queue, time } = setUp(100);
  queue.add([], [driver.room(100)]);
  queue.kick();
  bench.serve(device);
  time.ticks += 1_000_000_000n;
  for (let i = 0; i < 3; i++) queue.add([], [driver.room(60)]);
  bench.wiring.doorbell.ring();
  bench.serve(device);
  assert.deepEqual(
    queue.take().map((used) => used.writtenBytes),
    [100, 60, 40],
  );
});

test('save and restore while requests wait for the bucket', () => {
  const { bench, device, driver, queue, time, io } = setUp(100);
  for (let i = 0; i < 2; i++) queue.add([], [driver.room(100)]);
  queue.kick();
  bench.serve(device);
  assert.equal(queue.take().length, 1);
  const saved = JSON.parse(JSON.stringify(save(device.layout, device.state)));
  const other = bench.plug(new VirtioRng(bench.wiring, io));
  restore(other.layout, other.state, saved);
  other.resume();
  time.ticks += 10_000_000n;
  bench.serve(other);
  assert.equal(queue.take()[0]?.writtenBytes, 100);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, save } from '../../base/struct.ts';
import { type PageRange, VirtioBalloon } from './balloon.ts';
import { Bench } from './bench.testing.ts';
import { FakeDriver } from './fake-driver.testing.ts';

const REPORTING = 5;
const STATS_VQ = 1;

function setUp(without: readonly number[] = []) {
  const bench = new Bench(VirtioBalloon.layout);
  const given: PageRange[] = [];
  const io = {
    ...bench.io,
    giveBack: (ranges: readonly PageRange[]) => {
      given.push(...ranges);
      return ranges.reduce((sum, { count }) => sum + count, 0);
    },
  };
  const device = new VirtioBalloon(bench.wiring, io);
  bench.start(device);
  const driver = new FakeDriver(bench);
  const [inflate, deflate, third, fourth] = driver.start(without);
  assert.ok(inflate && deflate && third && fourth);
  return { bench, device, driver, inflate, deflate, third, fourth, given, io };
}

const numbers = (...pages: number[]): Uint8Array => new Uint8Array(Uint32Array.from(pages).buffer);

/** u16 tag, u64 value. */
function statistics(...pairs: readonly (readonly [number, bigint])[]): Uint8Array {
  const bytes = new Uint8Array(pairs.length * 10);
  const view = new DataView(bytes.buffer);
  for (const [i, [tag, value]] of pairs.entries()) {
    view.setUint16(i * 10, tag, true);
    view.setBigUint64(i * 10 + 2, value, true);
  }
  return bytes;
}

test('the host asks, the driver inflates and says so', () => {
  const { bench, device, driver, inflate, deflate, given } = setUp();
  const before = driver.registers.generation();
  device.setTarget(3);
  assert.equal(driver.config(0, 4), 3);
  assert.notEqual(driver.registers.generation(), before, 'another generation of the configuration');
  assert.equal(driver.takeInterrupt(), 2);
  inflate.add([driver.buffer(numbers(0x80001, 0x80005)), driver.buffer(numbers(0x80007))]);
  inflate.kick();
  bench.serve(device);
  assert.equal(inflate.take().length, 1);
  assert.deepEqual(
    given.map(({ first, count }) => [first, count]),
    [0x80001, 0x80005, 0x80007].map((page) => [page, 1]),
  );
  driver.registers.setConfig(4, 4, 3);
  assert.deepEqual([device.target, device.actual], [3, 3]);
  deflate.add([driver.buffer(numbers(0x80001))]);
  deflate.kick();
  bench.serve(device);
  assert.equal(deflate.take().length, 1);
  assert.equal(given.length, 3);
  assert.deepEqual(device.violations, {});
});

test("other fields of the configuration are not the driver's to write", () => {
  const { bench, device, driver } = setUp();
  device.setTarget(7);
  driver.registers.setConfig(0, 4, 9);
  driver.registers.setConfig(4, 1, 9);
  driver.registers.setConfig(6, 4, 9);
  assert.deepEqual([device.target, device.actual], [7, 0]);
  assert.equal(bench.transport.state.unassignedWrites, 3);
});

test('of free memory that is reported, whole pages go', () => {
  const { bench, device, fourth, given } = setUp();
  fourth.add(
    [],
    [
      { gpa: 0x8000_0000, sizeBytes: 2 << 20 },
      { gpa: 0x9000_0800, sizeBytes: 0x1800 },
    ],
  );
  fourth.add([], [{ gpa: 0xa000_0001, sizeBytes: 0x1fff }]);
  fourth.add([], [{ gpa: 0xb000_0000, sizeBytes: 100 }]);
  fourth.kick();
  bench.serve(device);
  assert.equal(fourth.take().length, 3);
  assert.deepEqual(given, [
    { first: 0x80000, count: 512 },
    { first: 0x90001, count: 1 },
    { first: 0xa0001, count: 1 },
  ]);
  assert.equal(device.state.reportedPages, 514n);
});

test('without statistics, the queue of reports moves up', () => {
  const { bench, device, third, given } = setUp([STATS_VQ]);
  third.add([], [{ gpa: 0x8000_0000, sizeBytes: 4096 }]);
  third.kick();
  bench.serve(device);
  assert.equal(third.take().length, 1);
  assert.deepEqual(given, [{ first: 0x80000, count: 1 }]);
});

test('without reporting, its queue is not looked at', () => {
  const { bench, device, fourth, given } = setUp([REPORTING]);
  fourth.add([], [{ gpa: 0x8000_0000, sizeBytes: 4096 }]);
  fourth.forceKick();
  bench.serve(device);
  assert.deepEqual([fourth.take().length, given.length], [0, 0]);
});

test('statistics come with a buffer that waits until it is asked for', () => {
  const { bench, device, driver, third } = setUp();
  device.askStatistics();
  third.add([driver.buffer(statistics([4, 100n], [5, 900n], [77, 1n]))]);
  third.kick();
  bench.serve(device);
  assert.deepEqual(device.statistics, { freeBytes: 100, totalBytes: 900 });
  assert.equal(third.take().length, 0);
  device.askStatistics();
  assert.equal(third.take().length, 1);
  assert.equal(driver.takeInterrupt(), 1);
  third.add([driver.buffer(statistics([4, 50n]))]);
  third.kick();
  bench.serve(device);
  assert.equal(device.statistics['freeBytes'], 50);
});

test('numbers that are cut off, or too many, stop the device', () => {
  for (const bytes of [new Uint8Array(6), new Uint8Array(4096 * 4 + 4)]) {
    const { bench, device, driver, inflate, given } = setUp();
    inflate.add([driver.buffer(bytes)]);
    inflate.kick();
    bench.serve(device);
    assert.deepEqual(device.violations, { 'chain-format': 1 });
    assert.equal(given.length, 0);
  }
});

test('what waits is known after a restore; a reset forgets it, and the balloon is empty', () => {
  const { bench, device, driver, third, io } = setUp();
  third.add([driver.buffer(statistics([4, 100n]))]);
  third.kick();
  bench.serve(device);
  driver.registers.setConfig(4, 4, 12);
  device.setTarget(20);
  const bytes = save(device.layout, device.state);
  const other = new Bench(VirtioBalloon.layout);
  const again = other.plug(new VirtioBalloon(other.wiring, { ...io, memory: bench.memory }));
  restore(again.layout, again.state, bytes);
  again.resume();
  assert.deepEqual([again.target, again.actual, again.statistics], [20, 12, { freeBytes: 100 }]);
  again.askStatistics();
  assert.equal(third.take().length, 1);
  driver.registers.setStatus(0);
  assert.deepEqual([device.target, device.actual, device.statistics], [20, 0, {}]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, save } from '../../base/struct.ts';
import { registersAsMarkdown } from '../registers.ts';
import { EchoDevice } from './echo-device.testing.ts';
import { Bench, FakeDriver } from './fake-driver.testing.ts';
import { mmioRegisters } from './mmio-registers.ts';
import { INTERRUPT, STATUS, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from './spec.ts';

function setUp() {
  const bench = new Bench(EchoDevice.layout);
  const device = new EchoDevice(bench.wiring, bench.io);
  device.reset();
  return { bench, device, driver: new FakeDriver(device, bench.memory) };
}

test('identification: magic, version 2, device type, vendor', () => {
  const { device } = setUp();
  assert.equal(device.read(0x00, 4), 0x74726976);
  assert.equal(device.read(0x04, 4), 2);
  assert.equal(device.read(0x08, 4), 42);
  assert.equal(device.read(0x0c, 4), 0x4547414b);
});

test('registers read as their rows say after power-on', () => {
  const { device } = setUp();
  for (const row of mmioRegisters.rows) {
    if (row.reset !== undefined) assert.equal(device.read(row.at, row.bytes), row.reset, row.name);
  }
  assert.match(registersAsMarkdown(mmioRegisters), /\| 0x70 \| 4 \| Status \| rw \| 0x0 \|/);
});

test('every thread sees one device: registers written through one instance are read through another', () => {
  const { bench, device } = setUp();
  const elsewhere = new FakeDriver(new EchoDevice(bench.wiring), bench.memory);
  const [queue] = elsewhere.start();
  queue?.add([elsewhere.buffer(Uint8Array.of(1, 2))], [elsewhere.room(2)]);
  queue?.kick();
  assert.ok(bench.serve(device));
  assert.equal(device.state.echoed, 1);
  assert.equal(elsewhere.takeInterrupt(), INTERRUPT.USED_BUFFER);
});

test('offered features are shown 32 at a time; other words are empty', () => {
  const { device, driver } = setUp();
  assert.deepEqual(driver.offered(), new Set([VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1]));
  device.write(0x14, 4, 2);
  assert.equal(device.read(0x10, 4), 0);
});

const refusals: [string, (driver: FakeDriver, device: EchoDevice) => void][] = [
  ['a feature that was not offered', (driver) => assert.equal(driver.negotiate([5]), false)],
  [
    'a driver without VERSION_1',
    (_, device) => {
      device.write(0x24, 4, 0);
      device.write(0x20, 4, 1 << VIRTIO_F_INDIRECT_DESC);
      device.write(0x70, 4, STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
      assert.equal(device.read(0x70, 4), STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    },
  ],
  [
    'DRIVER_OK without FEATURES_OK',
    (_, device) => {
      device.write(0x70, 4, STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.DRIVER_OK);
      assert.equal(device.read(0x70, 4), STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    },
  ],
];
for (const [what, offend] of refusals) {
  test(`negotiation refuses ${what}, and the driver may try again`, () => {
    const { device, driver } = setUp();
    offend(driver, device);
    assert.equal(device.violations.negotiation, 1);
    assert.ok(driver.negotiate([]));
  });
}

test('accepted features are fixed once FEATURES_OK is set', () => {
  const { device, driver } = setUp();
  driver.negotiate([VIRTIO_F_EVENT_IDX]);
  device.write(0x24, 4, 0);
  device.write(0x20, 4, 1 << VIRTIO_F_INDIRECT_DESC);
  assert.ok(device.accepted(VIRTIO_F_EVENT_IDX));
  assert.ok(!device.accepted(VIRTIO_F_INDIRECT_DESC));
});

test('status bits are never cleared but by a reset, and DEVICE_NEEDS_RESET is the device’s own', () => {
  const { device, driver } = setUp();
  driver.start();
  const up = STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK | STATUS.DRIVER_OK;
  assert.equal(driver.status(), up);
  device.write(0x70, 4, STATUS.ACKNOWLEDGE | STATUS.DEVICE_NEEDS_RESET);
  assert.equal(driver.status(), up);
  device.write(0x70, 4, 0);
  assert.equal(driver.status(), 0);
});

test('configuration is read at any width; writes are counted and change nothing', () => {
  const { device } = setUp();
  assert.equal(device.read(0x100, 1), 6);
  assert.equal(device.read(0x100, 2), 0x0506);
  assert.equal(device.read(0x100, 4), 0x0304_0506);
  assert.equal(device.read(0x104, 4), 0x0102);
  assert.equal(device.read(0x108, 4), 0);
  device.write(0x100, 4, 7);
  assert.equal(device.read(0x100, 1), 6);
  assert.equal(device.state.unassignedWrites, 1);
});

test('a changed configuration has a new generation and interrupts a driver that is up', () => {
  const { bench, device, driver } = setUp();
  device.changeConfig(1);
  assert.equal(bench.line, false);
  const before = device.read(0xfc, 4);
  driver.start();
  device.changeConfig(2);
  assert.notEqual(device.read(0xfc, 4), before);
  assert.equal(bench.line, true);
  assert.equal(driver.takeInterrupt(), INTERRUPT.CONFIG_CHANGE);
  assert.equal(bench.line, false);
});

test('an acknowledgement clears only its own bits, and the line follows what is left', () => {
  const { bench, device, driver } = setUp();
  const [queue] = driver.start();
  queue?.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
  queue?.kick();
  bench.serve(device);
  device.changeConfig(3);
  assert.equal(device.read(0x60, 4), 3);
  device.write(0x64, 4, INTERRUPT.USED_BUFFER);
  assert.equal(device.read(0x60, 4), INTERRUPT.CONFIG_CHANGE);
  assert.equal(bench.line, true);
  device.write(0x64, 4, INTERRUPT.CONFIG_CHANGE);
  assert.equal(bench.line, false);
});

const brokenQueues: [string, { size?: number; desc?: number; driver?: number; device?: number; high?: number }][] = [
  ['a size that is no power of two', { size: 12 }],
  ['a size beyond the maximum', { size: 32 }],
  ['size zero', { size: 0 }],
  ['a misaligned table', { desc: 0x8000_0008 }],
  ['a misaligned driver area', { driver: 0x8000_0001 }],
  ['a misaligned device area', { device: 0x8000_0002 }],
  ['an address beyond 2^52', { high: 0x10_0000 }],
];
for (const [what, part] of brokenQueues) {
  test(`a queue with ${what} does not become ready`, () => {
    const { device, driver } = setUp();
    driver.negotiate([]);
    device.write(0x30, 4, 0);
    device.write(0x38, 4, part.size ?? 16);
    device.write(0x80, 4, part.desc ?? 0x8000_0000);
    device.write(0x90, 4, part.driver ?? 0x8000_1000);
    device.write(0x94, 4, part.high ?? 0);
    device.write(0xa0, 4, part.device ?? 0x8000_2000);
    device.write(0x44, 4, 1);
    assert.equal(device.read(0x44, 4), 0);
    assert.equal(device.violations['queue-setup'], 1);
    assert.equal(driver.status() & STATUS.DEVICE_NEEDS_RESET, STATUS.DEVICE_NEEDS_RESET);
  });
}

test('a queue in use keeps its size and addresses; queues that do not exist swallow everything', () => {
  const { device, driver } = setUp();
  const [queue] = driver.start();
  device.write(0x30, 4, 0);
  device.write(0x38, 4, 4);
  device.write(0x80, 4, 0);
  assert.equal(device.state.queues[0]?.size, 16);
  assert.equal(device.state.queues[0]?.descLow, queue?.table);
  device.write(0x30, 4, 77);
  assert.equal(device.read(0x34, 4), 0);
  device.write(0x38, 4, 4);
  device.write(0x44, 4, 1);
  assert.equal(device.read(0x44, 4), 0);
  device.write(0x50, 4, 77);
  assert.equal(device.state.notified & ~3, 0);
});

test('rings that are not memory stop the device, which recovers with a reset', () => {
  const { bench, device, driver } = setUp();
  driver.negotiate([]);
  device.write(0x30, 4, 0);
  device.write(0x80, 4, 0x1000);
  device.write(0x90, 4, 0x2000);
  device.write(0xa0, 4, 0x3000);
  device.write(0x44, 4, 1);
  driver.driverOk();
  assert.ok(bench.serve(device));
  assert.equal(device.violations.dma, 1);
  assert.equal(driver.takeInterrupt(), INTERRUPT.CONFIG_CHANGE);
  assert.ok(!device.live);
  const [queue] = driver.start();
  queue?.add([driver.buffer(Uint8Array.of(9))], [driver.room(1)]);
  queue?.kick();
  bench.serve(device);
  assert.equal(queue?.take().length, 1);
});

test('a reset clears registers and queues, and counts a new life of each queue', () => {
  const { device, driver } = setUp();
  driver.start();
  const epoch = device.state.queues[0]?.epoch ?? 0;
  device.write(0x70, 4, 0);
  assert.equal(device.state.queues[0]?.ready, 0);
  assert.equal(device.state.queues[0]?.descLow, 0);
  assert.equal(device.state.queues[0]?.epoch, epoch + 1);
  assert.equal(device.state.accepted[0], 0);
});

test('notifications before DRIVER_OK are not lost: DRIVER_OK serves every ready queue', () => {
  const { bench, device, driver } = setUp();
  driver.negotiate([]);
  const queue = driver.setUp(0, 16);
  queue.add([driver.buffer(Uint8Array.of(5))], [driver.room(1)]);
  queue.forceKick();
  bench.serve(device);
  assert.equal(device.state.echoed, 0);
  driver.driverOk();
  bench.serve(device);
  assert.equal(device.state.echoed, 1);
});

test('save and restore between any two steps: the driver goes on with the restored device', () => {
  for (let cut = 0; cut < 40; cut++) {
    const bench = new Bench(EchoDevice.layout);
    let device = new EchoDevice(bench.wiring, bench.io);
    device.reset();
    // The driver knows registers only, as a guest does.
    const driver = new FakeDriver(
      {
        read: (offset, bytes) => device.read(offset, bytes),
        write: (offset, bytes, value) => device.write(offset, bytes, value),
        service: () => device.service(),
      },
      bench.memory,
    );
    const queue = driver.start()[0];
    assert.ok(queue);
    let returned = 0;
    for (let step = 0; step < 40; step++) {
      if (step === cut) {
        const saved = JSON.parse(JSON.stringify(save(device.layout, device.state)));
        new Uint8Array(bench.block.buffer).fill(0xff);
        device = new EchoDevice(bench.wiring, bench.io);
        restore(device.layout, device.state, saved);
        device.resume();
      }
      if (step % 3 === 0) queue.add([driver.buffer(Uint8Array.of(step))], [driver.room(1)]);
      if (step % 3 === 1) queue.kick();
      if (step % 3 === 2) {
        bench.serve(device);
        returned += queue.take().length;
      }
    }
    bench.serve(device);
    returned += queue.take().length;
    queue.kick();
    bench.serve(device);
    returned += queue.take().length;
    assert.equal(returned, 14, `cut at step ${cut}`);
  }
});

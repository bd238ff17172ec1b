/**
 * What every virtio device does, whichever transport shows it: the suite that each transport's tests run. It knows
 * registers only by what they are for (driver-registers.testing.ts).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, save } from '../../base/struct.ts';
import { Bench, type TransportKind } from './bench.testing.ts';
import { EchoDevice } from './echo-device.testing.ts';
import { FakeDriver } from './fake-driver.testing.ts';
import { PciTransport } from './pci-transport.ts';
import { INTERRUPT, STATUS, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from './spec.ts';

const UP = STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK | STATUS.DRIVER_OK;

export function setUpEcho(transport: TransportKind) {
  const bench = new Bench(EchoDevice.layout, { transport });
  const device = bench.start(new EchoDevice(bench.wiring, bench.io));
  const driver = new FakeDriver(bench);
  return { bench, device, driver, registers: driver.registers };
}

/** Runs the suite over a transport. */
export function deviceSuite(kind: TransportKind): void {
  const setUp = () => setUpEcho(kind);

  test(`${kind}: every thread sees one device: what one instance was told, another does`, () => {
    const { bench, device } = setUp();
    // A processor's thread: registers only.
    bench.plug(new EchoDevice(bench.wiring));
    const driver = new FakeDriver(bench);
    const [queue] = driver.start();
    queue?.add([driver.buffer(Uint8Array.of(1, 2))], [driver.room(2)]);
    queue?.kick();
    assert.ok(bench.serve(device));
    assert.equal(device.state.echoed, 1);
    assert.equal(driver.takeInterrupt(), INTERRUPT.USED_BUFFER);
  });

  test(`${kind}: offered features are shown 32 at a time; other words are empty`, () => {
    const { driver, bench } = setUp();
    const own = [VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1, ...bench.transport.features];
    assert.deepEqual(driver.offered(), new Set(own));
    assert.equal(driver.registers.offered(2), 0);
  });

  const refusals: [string, (driver: FakeDriver) => void][] = [
    ['a feature that was not offered', (driver) => assert.equal(driver.negotiate([5]), false)],
    [
      'a driver without VERSION_1',
      ({ registers }) => {
        registers.accept(0, 1 << VIRTIO_F_INDIRECT_DESC);
        registers.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
        assert.equal(registers.status(), STATUS.ACKNOWLEDGE | STATUS.DRIVER);
      },
    ],
    [
      'DRIVER_OK without FEATURES_OK',
      ({ registers }) => {
        registers.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.DRIVER_OK);
        assert.equal(registers.status(), STATUS.ACKNOWLEDGE | STATUS.DRIVER);
      },
    ],
  ];
  for (const [what, offend] of refusals) {
    test(`${kind}: negotiation refuses ${what}, and the driver may try again`, () => {
      const { device, driver } = setUp();
      offend(driver);
      assert.equal(device.violations.negotiation, 1);
      assert.ok(driver.negotiate([]));
    });
  }

  test(`${kind}: accepted features are fixed once FEATURES_OK is set`, () => {
    const { device, driver, registers } = setUp();
    driver.negotiate([VIRTIO_F_EVENT_IDX]);
    registers.accept(0, 1 << VIRTIO_F_INDIRECT_DESC);
    assert.ok(device.accepted(VIRTIO_F_EVENT_IDX));
    assert.ok(!device.accepted(VIRTIO_F_INDIRECT_DESC));
  });

  test(`${kind}: status bits are never cleared but by a reset, and DEVICE_NEEDS_RESET is the device’s own`, () => {
    const { driver, registers } = setUp();
    driver.start();
    assert.equal(driver.status(), UP);
    registers.setStatus(STATUS.ACKNOWLEDGE | STATUS.DEVICE_NEEDS_RESET);
    assert.equal(driver.status(), UP);
    registers.setStatus(0);
    assert.equal(driver.status(), 0);
  });

  test(`${kind}: configuration is read at any width; writes are counted and change nothing`, () => {
    const { bench, driver, registers } = setUp();
    assert.equal(driver.config(0, 1), 6);
    assert.equal(driver.config(0, 2), 0x0506);
    assert.equal(driver.config(0, 4), 0x0304_0506);
    assert.equal(driver.config(4, 4), 0x0102);
    assert.equal(driver.config(8, 4), 0);
    registers.setConfig(0, 4, 7);
    assert.equal(driver.config(0, 1), 6);
    assert.equal(bench.transport.state.unassignedWrites, 1);
  });

  test(`${kind}: a changed configuration has a new generation and interrupts a driver that is up`, () => {
    const { bench, device, driver, registers } = setUp();
    device.changeConfig(1);
    assert.equal(bench.line, false);
    const before = registers.generation();
    driver.start();
    device.changeConfig(2);
    assert.notEqual(registers.generation(), before);
    assert.equal(bench.line, true);
    assert.equal(driver.takeInterrupt(), INTERRUPT.CONFIG_CHANGE);
    assert.equal(bench.line, false);
  });

  const sound = { table: 0x8000_0000, available: 0x8000_1000, used: 0x8000_2000 };
  const brokenQueues: [string, { size?: number; at?: Partial<typeof sound> }][] = [
    ['a size that is no power of two', { size: 12 }],
    ['a size beyond the maximum', { size: 32 }],
    ['size zero', { size: 0 }],
    ['a misaligned table', { at: { table: 0x8000_0008 } }],
    ['a misaligned driver area', { at: { available: 0x8000_0001 } }],
    ['a misaligned device area', { at: { used: 0x8000_0002 } }],
    ['an address beyond 2^52', { at: { available: 2 ** 52 + 0x1000 } }],
  ];
  for (const [what, { size, at }] of brokenQueues) {
    test(`${kind}: a queue with ${what} does not become ready`, () => {
      const { device, driver, registers } = setUp();
      driver.negotiate([]);
      registers.setSize(0, size ?? 16);
      registers.setAddresses(0, { ...sound, ...at });
      registers.enable(0);
      assert.ok(!registers.isReady(0));
      assert.equal(device.violations['queue-setup'], 1);
      assert.equal(driver.status() & STATUS.DEVICE_NEEDS_RESET, STATUS.DEVICE_NEEDS_RESET);
    });
  }

  test(`${kind}: a queue in use keeps its size and addresses; queues that do not exist swallow everything`, () => {
    const { device, driver, registers } = setUp();
    const [queue] = driver.start();
    registers.setSize(0, 4);
    registers.setAddresses(0, { table: 0, available: 0, used: 0 });
    assert.equal(device.state.queues[0]?.size, 16);
    assert.equal(device.state.queues[0]?.descLow, queue?.table);
    assert.equal(registers.queueSizeMax(77), 0);
    registers.setSize(77, 4);
    registers.enable(77);
    assert.ok(!registers.isReady(77));
    registers.notify(77);
    assert.equal(device.state.notified & ~3, 0);
  });

  test(`${kind}: rings that are not memory stop the device, which recovers with a reset`, () => {
    const { bench, device, driver, registers } = setUp();
    driver.negotiate([]);
    registers.setAddresses(0, { table: 0x1000, available: 0x2000, used: 0x3000 });
    registers.enable(0);
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

  test(`${kind}: a reset clears registers, queues and interrupts, and counts a new life of each queue`, () => {
    const { bench, device, driver, registers } = setUp();
    driver.start();
    const epoch = device.state.queues[0]?.epoch ?? 0;
    device.changeConfig(7);
    assert.equal(bench.line, true);
    registers.setStatus(0);
    assert.equal(bench.line, false);
    assert.equal(driver.takeInterrupt(), 0);
    assert.equal(device.state.queues[0]?.ready, 0);
    assert.equal(device.state.queues[0]?.descLow, 0);
    assert.equal(device.state.queues[0]?.epoch, epoch + 1);
    assert.equal(device.state.accepted[0], 0);
  });

  test(`${kind}: notifications before DRIVER_OK are not lost: DRIVER_OK serves every ready queue`, () => {
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

  test(`${kind}: save and restore between any two steps: the driver goes on with the restored device`, () => {
    for (let cut = 0; cut < 40; cut++) {
      const { bench, device: first, driver } = setUp();
      let device = first;
      const queue = driver.start()[0];
      assert.ok(queue);
      let returned = 0;
      for (let step = 0; step < 40; step++) {
        if (step === cut) device = restored(bench);
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

  test(`${kind}: an interrupt that was pending when the machine was saved is pending when it is restored`, () => {
    const { bench, device, driver } = setUp();
    driver.start();
    device.changeConfig(9);
    restored(bench);
    assert.equal(bench.line, true);
    assert.equal(driver.takeInterrupt(), INTERRUPT.CONFIG_CHANGE);
  });
}

/** Another process's device and transport, with what these have in their blocks. */
function restored(bench: Bench): EchoDevice {
  const saved = JSON.parse(JSON.stringify(bench.models.map(({ layout, state }) => save(layout, state))));
  bench.scrub();
  // A line is driven again, and so is a port.
  bench.line = false;
  const other = bench.plug(new EchoDevice(bench.wiring, bench.io));
  for (const [i, { layout, state }] of bench.models.entries()) restore(layout, state, saved[i]);
  if (bench.transport instanceof PciTransport) bench.pci.function.drive();
  other.resume();
  return other;
}

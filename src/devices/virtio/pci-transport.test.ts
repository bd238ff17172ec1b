import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtioBalloon } from './balloon.ts';
import { type AnyVirtioDevice, Bench } from './bench.testing.ts';
import { HeldBackend } from './block.testing.ts';
import { VirtioBlock } from './block.ts';
import { VirtioConsole } from './console.ts';
import { deviceSuite, setUpEcho } from './device-suite.testing.ts';
import { FakeDriver, type FakeQueue } from './fake-driver.testing.ts';
import { MemoryBackend } from './memory-backend.ts';
import { VirtioNet } from './net.ts';
import { CFG_TYPE, PciDriverRegisters } from './pci-driver.testing.ts';
import { virtioKind } from './pci-identity.ts';
import { NO_VECTOR, pciRegisters } from './pci-registers.ts';
import { VirtioRng } from './rng.ts';
import { INTERRUPT, STATUS, VIRTIO_F_RING_RESET } from './spec.ts';

deviceSuite('pci');

function setUp() {
  const { bench, device, driver } = setUpEcho('pci');
  const { registers } = bench;
  assert.ok(registers instanceof PciDriverRegisters);
  return { bench, device, driver, registers, func: bench.pci.function };
}

function echo(queue: FakeQueue | undefined, driver: FakeDriver): void {
  assert.ok(queue);
  queue.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
  queue.kick();
}

/**
 * Configuration space of QEMU 10.0's functions behind a pcie-root-port, at power-on, read by qtest from ECAM: vendor and
 * class and MSI-X differ by device, the rest is alike.
 */
const QEMU_ALIKE = `
  04: 00100000 -------- 00000000 00000000 00000000 00000000 00000000 0000000c 00000000 00000000 11001af4
  30: 00000000 000000dc 00000000 00000100
  40: 00020010 10008020 00000000 00000411 00110000 00000000 00000000 00000000
  60: 00000000 00300000 00000000 00000000 00000000 00000000 00000000 00034001
  80: 00000000 01107c09 00000004 00000000 00001000 03108409 00000004 00001000
  a0: 00001000 04109409 00000004 00002000 00001000 0214a409 00000004 00003000
  c0: 00001000 00000004 0514b409 00000000 00000000 00000000 00000000 --------
  e0: 00000001 00000801`;
const QEMU_DEVICES = [
  { make: VirtioNet, id: '10411af4', classCode: '02000001', msix: '0003c811' },
  { make: VirtioBlock, id: '10421af4', classCode: '01000001', msix: '0001c811' },
  { make: VirtioConsole, id: '10431af4', classCode: '07800001', msix: '0001c811' },
  { make: VirtioRng, id: '10441af4', classCode: '00ff0001', msix: '0001c811' },
  { make: VirtioBalloon, id: '10451af4', classCode: '00ff0001', msix: '0001c811' },
] as const;

for (const { make, id, classCode, msix } of QEMU_DEVICES) {
  test(`configuration space of ${make.layout.name} is QEMU's`, () => {
    const { deviceId } = new make(new Bench(make.layout).wiring);
    const bench = new Bench(make.layout, { transport: 'pci', vectors: virtioKind(deviceId).vectors(1) });
    bench.start(new make(bench.wiring) as AnyVirtioDevice);
    const func = bench.pci.function;
    func.write(0x04, 2, 0);
    const word = (at: number): string => func.read(at, 4).toString(16).padStart(8, '0');
    assert.deepEqual([word(0x00), word(0x08), word(0xdc)], [id, classCode, msix]);
    for (const [, from = '', words = ''] of QEMU_ALIKE.matchAll(/(..): (.*)/g)) {
      const wanted = words
        .split(' ')
        .map((value, i) => (value[0] === '-' ? word(Number.parseInt(from, 16) + 4 * i) : value));
      assert.deepEqual(
        wanted.map((_, i) => word(Number.parseInt(from, 16) + 4 * i)),
        wanted,
        from,
      );
    }
  });
}

test('registers read as their rows say after power-on', () => {
  const { registers } = setUp();
  for (const row of pciRegisters.rows) {
    if (row.reset !== undefined) assert.equal(registers.read(CFG_TYPE.common, row.at, row.bytes), row.reset, row.name);
  }
  assert.equal(registers.read(CFG_TYPE.common, 0x12, 2), 2, 'num_queues');
  registers.write(CFG_TYPE.common, 0x16, 2, 1);
  assert.equal(registers.read(CFG_TYPE.common, 0x1e, 2), 1, 'queue_notify_off');
});

test('without messages, the ISR status has a bit for what happened, and reading it clears it and INTx', () => {
  const { bench, device, driver, registers, func } = setUp();
  const [queue] = driver.start();
  echo(queue, driver);
  bench.serve(device);
  device.changeConfig(3);
  assert.equal(bench.line, true);
  assert.equal(func.read(0x06, 2) & 8, 8, 'Interrupt Status');
  assert.equal(registers.takeInterrupt(), INTERRUPT.USED_BUFFER | INTERRUPT.CONFIG_CHANGE);
  assert.equal(bench.line, false);
  assert.equal(func.read(0x06, 2) & 8, 0);
  assert.equal(registers.takeInterrupt(), 0);
  assert.deepEqual(bench.messages, []);
});

test('with messages, each queue and the configuration have their own vector, and INTx is silent', () => {
  const { bench, device, driver, registers } = setUp();
  registers.enableMessages(4);
  const queues = driver.start();
  assert.equal(registers.setConfigVector(0), 0);
  assert.equal(registers.setQueueVector(0, 2), 2);
  assert.equal(registers.setQueueVector(1, 3), 3);
  echo(queues[0], driver);
  bench.serve(device);
  echo(queues[1], driver);
  bench.serve(device);
  device.changeConfig(3);
  assert.deepEqual(bench.messages, [2, 3, 0]);
  assert.equal(bench.line, false);
  assert.equal(registers.takeInterrupt(), 0);
});

test('a queue without a vector interrupts nobody; a vector beyond the table is none', () => {
  const { bench, device, driver, registers } = setUp();
  registers.enableMessages(4);
  const [queue] = driver.start();
  assert.equal(registers.setQueueVector(0, 4), NO_VECTOR);
  assert.equal(registers.setConfigVector(0x7fff), NO_VECTOR);
  echo(queue, driver);
  bench.serve(device);
  device.changeConfig(1);
  assert.deepEqual(bench.messages, []);
  assert.equal(device.state.echoed, 1);
});

test('a reset of the device takes its vectors away', () => {
  const { driver, registers } = setUp();
  driver.start();
  registers.setConfigVector(1);
  registers.setQueueVector(0, 2);
  registers.setStatus(0);
  assert.equal(registers.read(CFG_TYPE.common, 0x10, 2), NO_VECTOR);
  registers.write(CFG_TYPE.common, 0x16, 2, 0);
  assert.equal(registers.read(CFG_TYPE.common, 0x1a, 2), NO_VECTOR);
});

test('notifications: each queue at its place, whatever is written there; what is in between is nothing', () => {
  const { bench, device, driver, registers } = setUp();
  const queues = driver.start();
  bench.serve(device);
  queues[1]?.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
  registers.write(CFG_TYPE.notify, 4, 4, 0x1234_5678);
  bench.serve(device);
  assert.equal(device.state.echoed, 1);
  const before = bench.transport.state.unassignedWrites;
  registers.write(CFG_TYPE.notify, 6, 2, 1);
  registers.write(CFG_TYPE.notify, 4 * 77, 2, 77);
  assert.equal(bench.transport.state.unassignedWrites, before + 2);
});

test('what needs no lock: notifications and the ISR status', () => {
  const { func } = setUp();
  const bar = func.description.bars.find(({ index }) => index === 4);
  assert.ok(bar);
  const posted = [0x0000, 0x0fff, 0x1000, 0x2000, 0x2fff, 0x3000, 0x3ffc].filter((at) => func.isBarPosted(bar, at));
  assert.deepEqual(posted, [0x1000, 0x3000, 0x3ffc]);
});

test('access by configuration space reaches every part, and nothing else', () => {
  const { func, driver, registers } = setUp();
  const at = PciDriverRegisters.capabilities(func, 9).find((cap) => func.read(cap + 3, 1) === CFG_TYPE.access);
  assert.ok(at !== undefined);
  const aim = (bar: number, offset: number, length: number): void => {
    func.write(at + 4, 1, bar);
    func.write(at + 8, 4, offset);
    func.write(at + 12, 4, length);
  };
  const read = (bar: number, offset: number, length: number): number => {
    aim(bar, offset, length);
    return func.read(at + 16, 4);
  };
  driver.start();
  assert.equal(read(4, 0x14, 1), registers.status());
  assert.equal(read(4, 0x12, 2), 2);
  assert.equal(read(4, 0x2000, 4), 0x0304_0506);
  aim(4, 0x14, 1);
  func.write(at + 16, 4, 0xffff_ff00);
  assert.equal(registers.status(), 0, 'a reset, by one byte');
  for (const [bar, offset, length] of [
    [1, 0, 4],
    [0xff, 0x2000, 4],
    [4, 0x2000, 3],
    [4, 0x2000, 0],
    [4, 0x2001, 2],
    [4, 0x4000, 4],
    [4, 0xffff_fffc, 4],
  ] as const) {
    assert.equal(read(bar, offset, length), 0, `${bar} ${offset} ${length}`);
    func.write(at + 16, 4, 0xffff_ffff);
  }
});

test('a function-level reset is a reset of the device', () => {
  const { device, driver, registers, func } = setUp();
  driver.start();
  registers.setConfigVector(1);
  const [at = 0] = PciDriverRegisters.capabilities(func, 0x10);
  func.write(at + 8, 2, 1 << 15);
  assert.equal(device.state.status, 0);
  assert.equal(device.state.queues[0]?.ready, 0);
  registers.enableFunction();
  assert.equal(registers.read(CFG_TYPE.common, 0x10, 2), NO_VECTOR);
  assert.ok(driver.start().length === 2);
});

test('a device that is no bus master reaches no memory', () => {
  const { bench, device, driver, func } = setUp();
  const [queue] = driver.start();
  bench.serve(device);
  func.write(0x04, 2, 2);
  echo(queue, driver);
  bench.serve(device);
  assert.equal(device.violations.dma, 1);
  assert.equal(driver.status() & STATUS.DEVICE_NEEDS_RESET, STATUS.DEVICE_NEEDS_RESET);
});

test('queue reset: as it was before it was set up, the others going on; then set up anew, of another size', () => {
  const { bench, device, driver, registers } = setUp();
  const [first, second] = driver.start();
  registers.setQueueVector(0, 1);
  first?.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
  const reset = () => {
    registers.write(CFG_TYPE.common, 0x16, 2, 0);
    registers.write(CFG_TYPE.common, 0x3a, 2, 1);
  };
  reset();
  assert.equal(registers.read(CFG_TYPE.common, 0x3a, 2), 0, 'it is done');
  assert.ok(!registers.isReady(0));
  assert.equal(registers.queueSizeMax(0), 16);
  assert.equal(registers.read(CFG_TYPE.common, 0x1a, 2), NO_VECTOR);
  bench.serve(device);
  assert.equal(device.state.echoed, 0, 'what was offered before is not taken');
  echo(second, driver);
  bench.serve(device);
  assert.equal(second?.take().length, 1);
  const again = driver.setUp(0, 4);
  echo(again, driver);
  bench.serve(device);
  assert.equal(again.take().length, 1);
  assert.deepEqual(device.violations, {});
});

test('queue reset is not to be had by a driver that has not accepted it', () => {
  const { driver, registers } = setUp();
  driver.start([VIRTIO_F_RING_RESET]);
  registers.write(CFG_TYPE.common, 0x16, 2, 0);
  registers.write(CFG_TYPE.common, 0x3a, 2, 1);
  assert.ok(registers.isReady(0));
});

test('queue reset while a disk works on its requests: nothing of them comes back', async () => {
  const bench = new Bench(VirtioBlock.layout, { transport: 'pci' });
  const backend = new HeldBackend(new MemoryBackend(1 << 20));
  const device = bench.start(new VirtioBlock(bench.wiring, { ...bench.io, backend }));
  const driver = new FakeDriver(bench);
  const { registers } = driver;
  assert.ok(registers instanceof PciDriverRegisters);
  const [queue] = driver.start();
  const header = driver.buffer(new Uint8Array(16));
  const data = driver.buffer(new Uint8Array(512).fill(7));
  queue?.add([header], [data, driver.room(1)]);
  queue?.kick();
  await bench.settle(device);
  assert.equal(backend.waiting.length, 1);
  registers.write(CFG_TYPE.common, 0x3a, 2, 1);
  backend.waiting[0]?.go();
  await bench.settle(device);
  assert.equal(queue?.take().length, 0);
  assert.deepEqual([...bench.memory.bytes(data.gpa, 4)], [7, 7, 7, 7]);
  assert.equal(device.underWay, 0);
});

/**
 * The fuzzer of the virtio devices: a driver that does, by a seed, whatever a hostile guest could: registers in any
 * order, rings and descriptors of random and of almost right content, memory that changes under the device's hands,
 * rights that vanish, resets and restores at any time. What must hold, whatever it does:
 *
 *     no call throws | no byte outside the frames changes | nor one in a frame that may not be written |
 *     a service ends after a bounded number of accesses to memory | the doorbell falls silent |
 *     after a reset the device works for an honest driver
 */
import assert from 'node:assert/strict';
import { restore, save } from '../../base/struct.ts';
import type { AccessBytes } from '../device.ts';
import type { PciFunction } from '../pci/index.ts';
import { Bench, type TransportKind } from './bench.testing.ts';
import type { MmioWindow } from './driver-registers.testing.ts';
import { FakeDriver } from './fake-driver.testing.ts';
import { type FuzzedDevice, LAYOUTS, STYLES, type Subject, subjectOf } from './fuzz-subjects.testing.ts';
import { FRAMES, HostileMemory, Rings } from './hostile-guest.testing.ts';
import { mmioRegisters } from './mmio-registers.ts';
import { MmioTransport } from './mmio-transport.ts';
import { pciRegisters } from './pci-registers.ts';
import { Random } from './random.testing.ts';
/** What a run met, to see that the fuzzer gets anywhere. */
export interface FuzzOutcome {
  readonly violations: Readonly<Record<string, number>>;
  readonly usedBuffers: number;
}

/** One run; throws when something does not hold. The seed decides everything. */
export async function fuzz(
  kind: FuzzedDevice,
  transport: TransportKind,
  seed: number,
  steps: number,
): Promise<FuzzOutcome> {
  const random = new Random(seed);
  const bench = new Bench(LAYOUTS[kind], { frames: FRAMES, transport });
  const memory = new HostileMemory(bench.memory, random);
  const subject = subjectOf(kind, bench, memory, random);
  let device = bench.start(subject.make());
  const rings = new Rings(bench.memory, random, STYLES[kind]);
  const violations: Record<string, number> = {};
  const note = () => {
    for (const [what, count] of Object.entries(device.violations)) violations[what] = (violations[what] ?? 0) + count;
  };
  let usedBuffers = 0;
  const serve = () => {
    const before = device.state.queues.map((queue) => queue.nextUsed);
    memory.begin();
    assert.ok(bench.serve(device, 2000), 'the doorbell never falls silent');
    device.state.queues.forEach((queue, i) => {
      usedBuffers += (queue.nextUsed - (before[i] ?? 0)) & 0xffff;
    });
  };
  for (let step = 0; step < steps; step++) {
    switch (random.below(16)) {
      case 0:
        anyRegister(bench, random);
        break;
      case 1:
        if (random.oneIn(8)) bringUp(bench, rings, random);
        break;
      case 2:
        subject.host(device);
        break;
      case 3:
        if (random.oneIn(40)) memory.forbid();
        break;
      case 4:
        if (random.oneIn(10)) {
          note();
          const saved = JSON.parse(JSON.stringify(bench.models.map(({ layout, state }) => save(layout, state))));
          if (random.oneIn(2)) device = bench.plug(subject.make());
          for (const [i, { layout, state }] of bench.models.entries()) restore(layout, state, saved[i]);
          for (let i = 0; i < device.state.violations.length; i++) device.state.violations[i] = 0;
          device.resume();
        }
        break;
      case 5:
        memory.begin();
        bench.complete();
        if (random.oneIn(4)) await new Promise((resolve) => setImmediate(resolve));
        break;
      case 6:
      case 7:
        serve();
        break;
      case 8:
        if (!device.live) bringUp(bench, rings, random);
        break;
      default:
        rings.offer();
        if (random.oneIn(3)) bench.registers.notify(random.below(device.state.queues.length));
    }
  }
  serve();
  await bench.settle(device);
  note();
  memory.check();
  await recovers(subject, bench, memory);
  return { violations, usedBuffers };
}

/** After all that, a reset makes the device work for an honest driver. */
async function recovers(subject: Subject, bench: Bench, memory: HostileMemory): Promise<void> {
  memory.calm();
  const device = bench.start(subject.make());
  bench.serve(device);
  const driver = new FakeDriver(bench);
  assert.ok(driver.negotiate(driver.offered()), 'the device refuses its own features after the reset');
  driver.driverOk();
  await bench.settle(device);
  assert.ok(device.live);
}

function anyRegister(bench: Bench, random: Random): void {
  if (bench.transport instanceof MmioTransport) anyAccess(bench.transport, mmioRegisters.rows, 0x1000, 0x70, random);
  else anyOfFunction(bench.transport.function, random);
}

/** Configuration space, MSI-X's table, the device's parts. */
function anyOfFunction(func: PciFunction, random: Random): void {
  if (random.oneIn(4)) {
    // Seldom off the bus, or nothing ever gets going; never told where it lies.
    const rows = func.config.rows.filter(({ at }) => at >= 0x28);
    anyAccess(func, rows, 0x1000, undefined, random);
    if (!random.oneIn(10)) func.write(0x04, 2, 6);
    return;
  }
  const bar = random.pick(func.description.bars);
  const window = {
    read: (offset: number, bytes: AccessBytes) => func.readBar(bar, offset, bytes),
    write: (offset: number, bytes: AccessBytes, value: number) => func.writeBar(bar, offset, bytes, value),
  };
  const parts = [...pciRegisters.rows, { at: 0x1000 }, { at: 0x2000 }, { at: 0x2004 }, { at: 0x3000 }, { at: 0x3004 }];
  anyAccess(window, bar.index === 4 ? parts : [{ at: 0 }, { at: 12 }, { at: 0x800 }], bar.sizeBytes, 0x14, random);
}

/** Some access to a window whose registers are at `rows`. */
function anyAccess(
  window: MmioWindow,
  rows: readonly { readonly at: number }[],
  sizeBytes: number,
  statusAt: number | undefined,
  random: Random,
): void {
  const bytes = random.pick([1, 2, 4, 4, 4] as const);
  const at = random.oneIn(4) ? random.below(sizeBytes) : random.pick(rows).at;
  const offset = at - (at % bytes);
  if (random.oneIn(2)) {
    const value = window.read(offset, bytes);
    assert.ok(Number.isInteger(value) && value >= 0 && value < 2 ** (bytes * 8), `read ${value} from ${offset}`);
  } else {
    // A status of 0 resets: seldom, or nothing ever gets going.
    const value = random.oneIn(2) ? random.below(32) : random.u32();
    if (offset === statusAt && value === 0 && !random.oneIn(20)) return;
    window.write(offset, bytes, bytes === 4 ? value : value & (2 ** (bytes * 8) - 1));
  }
}

/** The status dance, mostly right, with rings mostly in memory. */
function bringUp({ registers, transport }: Bench, rings: Rings, random: Random): void {
  const { state } = transport.device;
  for (const status of [0, 1, 3]) registers.setStatus(status);
  for (let word = 0; word < 2; word++) {
    const offered = state.offered[word] ?? 0;
    const optional = random.oneIn(3) ? random.u32() : 0xffff_ffff;
    registers.accept(word, word === 0 ? (offered & optional) >>> 0 : offered);
  }
  registers.setStatus(11);
  rings.clear();
  // With many queues, one that is broken would be the rule.
  const isSound = random.oneIn(2);
  for (let i = 0; i < state.queues.length; i++) {
    if (registers.queueSizeMax(i) === 0) continue;
    const size = !isSound && random.oneIn(20) ? random.u32() : 2 ** random.below(5);
    const ring = rings.add(Math.min(16, size));
    const wild = (gpa: number): number => {
      if (isSound) return gpa;
      const low = random.oneIn(100) ? random.u32() : gpa;
      return random.oneIn(100) ? random.below(0x200000) * 2 ** 32 + low : low;
    };
    registers.setSize(i, size);
    registers.setAddresses(i, { table: wild(ring.table), available: wild(ring.available), used: wild(ring.used) });
    registers.enable(i);
  }
  registers.setStatus(15);
}

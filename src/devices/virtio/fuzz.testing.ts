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
import type { GuestMemory } from '../device.ts';
import { VirtioBlock } from './block.ts';
import type { BlockBackend } from './block-backend.ts';
import { VirtioConsole } from './console.ts';
import { EchoDevice } from './echo-device.testing.ts';
import { Bench, FakeDriver } from './fake-driver.testing.ts';
import { type FakeMemory, FRAME_BYTES } from './fake-memory.testing.ts';
import { MemoryBackend } from './memory-backend.ts';
import { mmioRegisters } from './mmio-registers.ts';
import { VirtioNet } from './net.ts';
import { Random } from './random.testing.ts';
import { VirtioRng } from './rng.ts';
import type { TransportState } from './state.ts';
import type { IoPorts, VirtioDevice } from './transport.ts';

type AnyVirtioDevice = VirtioDevice<TransportState>;

/** A device and what its host does to it. */
interface Subject {
  make(): AnyVirtioDevice;
  /** Something that the host may do at any time. */
  host(device: AnyVirtioDevice): void;
}

export const FUZZED_DEVICES = ['echo', 'block', 'console', 'net', 'rng'] as const;
export type FuzzedDevice = (typeof FUZZED_DEVICES)[number];

const LAYOUTS = {
  echo: EchoDevice.layout,
  block: VirtioBlock.layout,
  console: VirtioConsole.layout,
  net: VirtioNet.layout,
  rng: VirtioRng.layout,
} as const;

/** What chains mostly look like: buffer sizes of the readable and the writable part, for even and for odd queues. */
interface Style {
  readonly readable: readonly number[];
  readonly writable: readonly number[];
}
const RECEIVE_STYLE: Style = { readable: [], writable: [1600, 12, 2048, 100] };
const STYLES: Readonly<Record<FuzzedDevice, readonly [even: Style, odd: Style]>> = {
  echo: [
    { readable: [20, 600], writable: [16, 1024] },
    { readable: [1], writable: [4096] },
  ],
  block: [
    { readable: [16, 512, 1024], writable: [1] },
    { readable: [16], writable: [512, 4096, 1] },
  ],
  console: [RECEIVE_STYLE, { readable: [8, 300], writable: [] }],
  net: [RECEIVE_STYLE, { readable: [12, 60, 1400], writable: [] }],
  rng: [
    { readable: [], writable: [64, 100] },
    { readable: [], writable: [8] },
  ],
};

const FRAMES = 64;
/** The last frames are not the driver's: it never writes there, the device may not, and some buffers point there. */
const GUARDED_FRAMES = 2;
const GUARD = 0x3a;
/** Accesses to memory in one service: queues x chains x descriptors, generously. */
const SERVICE_ACCESSES_MAX = 300_000;

/** What a run met, to see that the fuzzer gets anywhere. */
export interface FuzzOutcome {
  readonly violations: Readonly<Record<string, number>>;
  readonly usedBuffers: number;
}

/** One run; throws when something does not hold. The seed decides everything. */
export async function fuzz(kind: FuzzedDevice, seed: number, steps: number): Promise<FuzzOutcome> {
  const random = new Random(seed);
  const bench = new Bench(LAYOUTS[kind], { frames: FRAMES });
  const memory = new HostileMemory(bench.memory, random);
  const subject = subjectOf(kind, bench, memory, random);
  let device = subject.make();
  device.reset();
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
        anyRegister(device, random);
        break;
      case 1:
        if (random.oneIn(8)) bringUp(device, rings, random);
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
          const saved = JSON.parse(JSON.stringify(save(device.layout, device.state)));
          if (random.oneIn(2)) device = subject.make();
          restore(device.layout, device.state, saved);
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
        if (!device.live) bringUp(device, rings, random);
        break;
      default:
        rings.offer();
        if (random.oneIn(3)) device.write(0x50, 4, random.below(device.state.queues.length));
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
  const device = subject.make();
  device.reset();
  bench.serve(device);
  const driver = new FakeDriver(device, bench.memory);
  assert.ok(driver.negotiate(driver.offered()), 'the device refuses its own features after the reset');
  driver.driverOk();
  await bench.settle(device);
  assert.ok(device.live);
}

function anyRegister(device: AnyVirtioDevice, random: Random): void {
  const bytes = random.pick([1, 2, 4, 4, 4] as const);
  const at = random.oneIn(4) ? random.below(0x1000) : random.pick(mmioRegisters.rows).at;
  const offset = at - (at % bytes);
  if (random.oneIn(2)) {
    const value = device.read(offset, bytes);
    assert.ok(Number.isInteger(value) && value >= 0 && value < 2 ** (bytes * 8), `read ${value} from ${offset}`);
  } else {
    // A status of 0 resets: seldom, or nothing ever gets going.
    const value = random.oneIn(2) ? random.below(32) : random.u32();
    if (offset === 0x70 && value === 0 && !random.oneIn(20)) return;
    device.write(offset, bytes, bytes === 4 ? value : value & (2 ** (bytes * 8) - 1));
  }
}

/** The status dance, mostly right, with rings mostly in memory. */
function bringUp(device: AnyVirtioDevice, rings: Rings, random: Random): void {
  device.write(0x70, 4, 0);
  device.write(0x70, 4, 1);
  device.write(0x70, 4, 3);
  for (let word = 0; word < 2; word++) {
    const offered = device.state.offered[word] ?? 0;
    const optional = random.oneIn(3) ? random.u32() : 0xffff_ffff;
    device.write(0x24, 4, word);
    device.write(0x20, 4, word === 0 ? (offered & optional) >>> 0 : offered);
  }
  device.write(0x70, 4, 11);
  rings.clear();
  for (let i = 0; i < device.state.queues.length; i++) {
    device.write(0x30, 4, i);
    const sizeMax = device.read(0x34, 4);
    if (sizeMax === 0) continue;
    const size = random.oneIn(20) ? random.u32() : 2 ** random.below(5);
    const ring = rings.add(Math.min(16, size));
    device.write(0x38, 4, size);
    for (const [at, gpa] of [
      [0x80, ring.table],
      [0x90, ring.available],
      [0xa0, ring.used],
    ] as const) {
      device.write(at, 4, random.oneIn(100) ? random.u32() : gpa);
      device.write(at + 4, 4, random.oneIn(100) ? random.below(0x200000) : 0);
    }
    device.write(0x44, 4, 1);
  }
  device.write(0x70, 4, 15);
}

interface Ring {
  readonly size: number;
  readonly table: number;
  readonly available: number;
  readonly used: number;
  index: number;
}

/** Queues in guest memory with contents between right and random. */
class Rings {
  readonly #memory: FakeMemory;
  readonly #random: Random;
  readonly #styles: readonly [Style, Style];
  #rings: Ring[] = [];

  constructor(memory: FakeMemory, random: Random, styles: readonly [even: Style, odd: Style]) {
    this.#memory = memory;
    this.#random = random;
    this.#styles = styles;
  }

  clear(): void {
    this.#rings = [];
  }

  add(size: number): Ring {
    const place = (align: number) => {
      const at = this.#gpa(FRAME_BYTES / 2);
      return at - (at % align);
    };
    const ring = { size, table: place(16), available: place(2), used: place(4), index: 0 };
    this.#rings.push(ring);
    if (!this.#owns(ring.table, 256) || !this.#owns(ring.available, 64) || !this.#owns(ring.used, 160)) return ring;
    for (let at = 0; at < 64; at += 2) this.#memory.setU16(ring.available + at, 0);
    for (let at = 0; at < 160; at += 4) this.#memory.setU32(ring.used + at, 0);
    return ring;
  }

  /** Puts a chain into some queue. */
  offer(): void {
    const random = this.#random;
    const memory = this.#memory;
    if (this.#rings.length === 0) return;
    const number = random.below(this.#rings.length);
    const ring = this.#rings[number];
    if (ring === undefined || !this.#owns(ring.available, 64)) return;
    const sizes = this.#sizes(number);
    const head = random.below(ring.size);
    if (sizes.length > ring.size || random.oneIn(5)) {
      const table = this.#gpa(sizes.length * 16);
      this.#chain(table, sizes, 0, sizes.length);
      this.#descriptor(ring.table, head, table, random.oneIn(40) ? random.below(200) : sizes.length * 16, 4, 0);
    } else this.#chain(ring.table, sizes, head, ring.size);
    if (random.oneIn(200)) memory.setU16(ring.available + 2, random.below(65536));
    memory.setU16(ring.available + 4 + (ring.index % ring.size) * 2, random.oneIn(100) ? random.u32() & 0xffff : head);
    ring.index = (ring.index + 1) & 0xffff;
    memory.setU16(ring.available + 2, ring.index);
    if (random.oneIn(20)) memory.setU16(ring.available, random.below(2));
  }

  /** Sizes of a chain's buffers, writable ones negative. */
  #sizes(queue: number): number[] {
    const random = this.#random;
    if (random.oneIn(12)) {
      const length = 1 + random.below(4);
      const readable = random.below(length + 1);
      return Array.from({ length }, (_, i) => {
        const size = random.pick([1, 8, 12, 16, 512, 513, 4096, 8192, random.below(40_000), random.u32() >>> 1]);
        return i < readable ? size : -size;
      });
    }
    const { readable, writable } = this.#styles[queue % 2 === 0 ? 0 : 1];
    const some = (sizes: readonly number[]) => sizes.slice(0, Math.max(1, random.below(sizes.length + 1)));
    const last = writable.at(-1);
    const into = last === undefined ? [] : [...some(writable).slice(0, -1), last];
    return [...some(readable), ...into.map((size) => -size)];
  }

  #chain(table: number, sizes: readonly number[], head: number, size: number): void {
    const random = this.#random;
    for (const [i, signed] of sizes.entries()) {
      const sizeBytes = Math.abs(signed);
      const next = random.oneIn(150) ? random.below(70_000) : (head + i + 1) % size;
      let flags = (i + 1 < sizes.length ? 1 : 0) | (signed > 0 ? 0 : 2);
      if (random.oneIn(150)) flags = random.below(16);
      const gpa = random.oneIn(150) ? random.u32() * random.pick([1, 2 ** 20, 2 ** 31]) : this.#gpa(sizeBytes);
      if (signed > 0) this.#content(gpa);
      this.#descriptor(table, (head + i) % size, gpa, sizeBytes, flags, next);
    }
  }

  /** The start of a buffer that the device reads: what headers and messages are made of. */
  #content(gpa: number): void {
    if (!this.#owns(gpa, 16)) return;
    const random = this.#random;
    this.#memory.setU32(gpa, random.pick([0, 0, 1, 1, 4, 8, 11, 13, random.below(16), random.u32()]));
    this.#memory.setU32(gpa + 4, random.pick([0, 1, 0x1_0003, 0x1_0006, 6, random.u32()]));
    this.#memory.setU32(gpa + 8, random.oneIn(8) ? random.u32() : random.below(300));
    this.#memory.setU32(gpa + 12, random.oneIn(20) ? random.u32() : 0);
  }

  #descriptor(table: number, index: number, gpa: number, sizeBytes: number, flags: number, next: number): void {
    const at = table + index * 16;
    if (!this.#owns(at, 16)) return;
    this.#memory.setU64(at, gpa);
    this.#memory.setU32(at + 8, sizeBytes);
    this.#memory.setU16(at + 12, flags);
    this.#memory.setU16(at + 14, next & 0xffff);
  }

  #owns(gpa: number, sizeBytes: number): boolean {
    return gpa >= this.#memory.base && gpa + sizeBytes <= ownedEnd(this.#memory);
  }

  #gpa(room: number): number {
    const space = FRAMES * FRAME_BYTES - room;
    return this.#memory.base + (space > 0 ? this.#random.below(space) : 0);
  }
}

/** Where the guarded frames begin. */
function ownedEnd(memory: FakeMemory): number {
  return memory.base + (FRAMES - GUARDED_FRAMES) * FRAME_BYTES;
}

/** Guest memory that other harts write to while the device works, and whose frames lose their rights. */
class HostileMemory implements GuestMemory {
  readonly #memory: FakeMemory;
  readonly #random: Random;
  #accesses = 0;
  #isCalm = false;

  constructor(memory: FakeMemory, random: Random) {
    this.#memory = memory;
    this.#random = random;
    const guard = new Uint8Array(FRAME_BYTES).fill(GUARD);
    for (let gpa = ownedEnd(memory); gpa < memory.base + memory.sizeBytes; gpa += FRAME_BYTES) {
      memory.setBytes(gpa, guard);
      memory.forbid(gpa, 'write');
    }
  }

  begin(): void {
    this.#accesses = 0;
  }

  calm(): void {
    this.#isCalm = true;
  }

  read(gpa: number, into: Uint8Array): boolean {
    this.#access();
    return this.#memory.read(gpa, into);
  }

  write(gpa: number, from: Uint8Array): boolean {
    this.#access();
    return this.#memory.write(gpa, from);
  }

  spans(gpa: number, sizeBytes: number, access: 'read' | 'write'): Uint8Array[] | null {
    this.#access();
    return this.#memory.spans(gpa, sizeBytes, access);
  }

  /** Takes the right to write or read some frame away. */
  forbid(): void {
    const frame = this.#memory.base + this.#random.below(FRAMES) * FRAME_BYTES;
    this.#memory.forbid(frame, this.#random.pick(['read', 'write', 'both'] as const));
  }

  check(): void {
    this.#memory.checkCanaries();
    const guarded = this.#memory.bytes(ownedEnd(this.#memory), GUARDED_FRAMES * FRAME_BYTES);
    assert.ok(
      guarded.every((byte) => byte === GUARD),
      'the device wrote to a frame that it may not write',
    );
  }

  #access(): void {
    assert.ok(++this.#accesses < SERVICE_ACCESSES_MAX, 'a service without end');
    if (this.#isCalm || !this.#random.oneIn(50)) return;
    const at = this.#memory.base + 2 * this.#random.below((ownedEnd(this.#memory) - this.#memory.base) / 2);
    this.#memory.setU16(at, this.#random.oneIn(2) ? this.#random.below(16) : this.#random.u32() & 0xffff);
  }
}

function subjectOf(kind: FuzzedDevice, bench: Bench, memory: HostileMemory, random: Random): Subject {
  const io: IoPorts = { ...bench.io, memory };
  const { wiring } = bench;
  switch (kind) {
    case 'echo':
      return {
        make: () => new EchoDevice(wiring, io),
        host: (device) => (device as EchoDevice).changeConfig(random.u32()),
      };
    case 'block': {
      const backend = new MoodyBackend(random);
      return {
        make: () => new VirtioBlock(wiring, { ...io, backend, queues: 3, serial: 'fuzz' }),
        host: () => undefined,
      };
    }
    case 'rng': {
      let ticks = 0n;
      const rngIo = {
        ...io,
        source: { fill: (into: Uint8Array) => void into.fill(random.u32() & 0xff) },
        clock: { ticks: () => ticks, wallMs: () => 0 },
        ticksPerSecond: 1000,
        ringAfter: () => undefined,
        bytesPerSecond: 10_000,
      };
      return {
        make: () => new VirtioRng(wiring, rngIo),
        host: () => {
          ticks += BigInt(random.below(500));
          wiring.doorbell.ring();
        },
      };
    }
    case 'net': {
      const events = { offload: () => undefined, room: () => undefined };
      const port = { send: (frame: Uint8Array) => void assert.ok(frame.length >= 14) };
      const offloads = random.oneIn(2);
      return {
        make: () => new VirtioNet(wiring, { ...io, port, events, mac: new Uint8Array(6), offloads }),
        host: (device) => {
          const net = device as unknown as VirtioNet;
          if (random.oneIn(20)) net.setLinkUp(random.oneIn(2));
          const segmentBytes = random.oneIn(4) ? 1460 : 0;
          const frame = random.bytes(14 + random.below(3000));
          net.receive(frame, { checksumValid: segmentBytes > 0 || random.oneIn(2), segmentBytes });
        },
      };
    }
    case 'console':
      return {
        make: () => {
          const device = new VirtioConsole(wiring, io);
          for (const port of device.ports) {
            port.onData = () => {
              if (random.oneIn(10)) port.pause();
              if (random.oneIn(10)) port.send(random.bytes(50));
            };
            port.onDrain = () => void port.send(random.bytes(100));
          }
          return device;
        },
        host: (device) => {
          const console = device as unknown as VirtioConsole;
          const port = random.pick(console.ports);
          port.send(random.bytes(random.below(5000)));
          port.resume();
          if (random.oneIn(10)) port.setConnected(random.oneIn(2));
          if (random.oneIn(10)) console.resize(random.below(300), random.below(100));
        },
      };
  }
}

/** A disk that answers now, later, or with an error. */
class MoodyBackend implements BlockBackend {
  readonly sizeBytes = 256 * 512;
  readonly readOnly = false;
  readonly #disk = new MemoryBackend(this.sizeBytes);
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  read(offset: number, into: readonly Uint8Array[]): Promise<void> | void {
    return this.#mood(() => this.#disk.read(offset, into));
  }

  write(offset: number, from: readonly Uint8Array[]): Promise<void> | void {
    return this.#mood(() => this.#disk.write(offset, from));
  }

  flush(): Promise<void> | void {
    return this.#mood(() => this.#disk.flush());
  }

  discard(offset: number, sizeBytes: number): Promise<void> | void {
    return this.#mood(() => this.#disk.discard(offset, sizeBytes));
  }

  writeZeroes(offset: number, sizeBytes: number): Promise<void> | void {
    return this.#mood(() => this.#disk.writeZeroes(offset, sizeBytes));
  }

  #mood(perform: () => void): Promise<void> | void {
    switch (this.#random.below(8)) {
      case 0:
        throw new Error('at once');
      case 1:
        return Promise.reject(new Error('later'));
      case 2:
      case 3:
        return perform();
      default:
        return new Promise((resolve) => {
          setImmediate(() => {
            perform();
            resolve();
          });
        });
    }
  }
}

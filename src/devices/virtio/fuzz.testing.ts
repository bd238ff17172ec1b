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
import { VirtioBalloon } from './balloon.ts';
import { type AnyVirtioDevice, Bench, type TransportKind } from './bench.testing.ts';
import { VirtioBlock } from './block.ts';
import { TwoThreadBlock } from './block-at-once.testing.ts';
import type { BlockBackend, QuickDisk } from './block-backend.ts';
import { VirtioConsole } from './console.ts';
import type { MmioWindow } from './driver-registers.testing.ts';
import { EchoDevice } from './echo-device.testing.ts';
import { FakeDriver } from './fake-driver.testing.ts';
import { FRAMES, HostileMemory, Rings, type Style } from './hostile-guest.testing.ts';
import { MemoryBackend } from './memory-backend.ts';
import { mmioRegisters } from './mmio-registers.ts';
import { MmioTransport } from './mmio-transport.ts';
import { VirtioNet } from './net.ts';
import { partialFrame } from './net-frames.testing.ts';
import { VirtioP9 } from './p9.ts';
import type { P9Server } from './p9-port.ts';
import { pciRegisters } from './pci-registers.ts';
import { Random } from './random.testing.ts';
import { VirtioRng } from './rng.ts';
import type { IoPorts, Wiring } from './virtio-device.ts';
import { VirtioVsock } from './vsock.ts';
import { CID_FIRST_GUEST, VsockHeader, type VsockOp } from './vsock-packet.ts';
import type { VsockEvents, VsockRequest, VsockStream } from './vsock-port.ts';

/** A device and what its host does to it. */
interface Subject {
  make(): AnyVirtioDevice;
  /** Something that the host may do at any time. */
  host(device: AnyVirtioDevice): void;
}

export const FUZZED_DEVICES = [
  'echo',
  'block',
  'quick-block',
  'console',
  'net',
  'rng',
  'balloon',
  'vsock',
  'p9',
] as const;
export type FuzzedDevice = (typeof FUZZED_DEVICES)[number];

const LAYOUTS = {
  balloon: VirtioBalloon.layout,
  echo: EchoDevice.layout,
  block: VirtioBlock.layout,
  'quick-block': VirtioBlock.layout,
  console: VirtioConsole.layout,
  net: VirtioNet.layout,
  p9: VirtioP9.layout,
  rng: VirtioRng.layout,
  vsock: VirtioVsock.layout,
} as const;

const RECEIVE_STYLE: Style = { readable: [], writable: [1600, 12, 2048, 100] };
const SEND_STYLE: Style = { readable: [12, 60, 1400], writable: [] };
/** Of a control queue: class and command, data, answer. */
const CONTROL_STYLE: Style = { readable: [2, 4, 12, 40], writable: [1] };
const NET_PAIRS = 2;
const BLOCK_STYLES: readonly Style[] = [
  { readable: [16, 512, 1024], writable: [1] },
  { readable: [16], writable: [512, 4096, 1] },
];
/** By queue; queues beyond begin again. */
const STYLES: Readonly<Record<FuzzedDevice, readonly Style[]>> = {
  balloon: [
    { readable: [1024, 40], writable: [] },
    { readable: [70], writable: [8192] },
  ],
  echo: [
    { readable: [20, 600], writable: [16, 1024] },
    { readable: [1], writable: [4096] },
  ],
  block: BLOCK_STYLES,
  'quick-block': BLOCK_STYLES,
  console: [RECEIVE_STYLE, { readable: [8, 300], writable: [] }],
  net: [RECEIVE_STYLE, SEND_STYLE, CONTROL_STYLE, SEND_STYLE, CONTROL_STYLE],
  p9: [{ readable: [7, 23, 600], writable: [11, 64, 8192] }],
  rng: [
    { readable: [], writable: [64, 100] },
    { readable: [], writable: [8] },
  ],
  vsock: [
    { readable: [], writable: [1000, 100] },
    { readable: [144, 100, 300], writable: [], head: vsockHead },
    { readable: [], writable: [4] },
  ],
};

/** A packet's header of a few streams, some of which the host has asked for. */
function vsockHead(random: Random): Uint8Array {
  const header = new VsockHeader();
  const isOurs = random.oneIn(3);
  header.set({
    ...{ sourceCid: random.oneIn(30) ? random.u32() : CID_FIRST_GUEST, destinationCid: random.oneIn(30) ? 1 : 2 },
    sourcePort: random.below(6),
    destinationPort: isOurs ? 2 ** 30 + 1 + random.below(8) : random.below(3),
    op: random.pick([1, 1, 2, 3, 4, 5, 5, 5, 5, 6, 7, random.below(9)]) as VsockOp,
    lengthBytes: random.oneIn(40) ? random.u32() : random.pick([0, 0, 10, 100]),
    type: random.oneIn(30) ? random.below(4) : 1,
    flags: random.below(4),
    bufferBytes: random.pick([0, 1, 1000, 1 << 18, random.u32()]),
    forwardedBytes: random.oneIn(4) ? random.u32() : random.below(2000),
  });
  return header.bytes;
}

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

/** Half of the notifications find the device free, and a quarter of the transfers a disk that makes wait. */
function quickBlockSubject(wiring: Wiring, io: IoPorts, memory: HostileMemory, random: Random): Subject {
  const backend = new MoodyBackend(random);
  const quick = new MemoryBackend(backend.sizeBytes);
  const disk: QuickDisk = {
    read: (offset, into) => {
      quick.read(offset, into);
      return !random.oneIn(4);
    },
    write: (offset, from) => {
      quick.write(offset, from);
      return !random.oneIn(4);
    },
  };
  const run = (act: () => boolean): boolean => {
    memory.begin();
    return random.oneIn(2) && act();
  };
  return {
    make: () => new TwoThreadBlock(wiring, { memory: io.memory, disk, run }, { ...io, backend, queues: 3 }),
    host: () => undefined,
  };
}

function subjectOf(kind: FuzzedDevice, bench: Bench, memory: HostileMemory, random: Random): Subject {
  const io: IoPorts = { ...bench.io, memory: bench.reach(memory) };
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
    case 'quick-block':
      return quickBlockSubject(wiring, io, memory, random);
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
    case 'balloon':
      return {
        make: () => new VirtioBalloon(wiring, { ...io, giveBack: (ranges) => ranges.length }),
        host: (device) => {
          const balloon = device as unknown as VirtioBalloon;
          if (random.oneIn(2)) balloon.setTarget(random.below(1 << 20));
          else balloon.askStatistics();
        },
      };
    case 'net': {
      const events = { offload: () => undefined, room: () => undefined };
      const port = { send: (frame: Uint8Array) => void assert.ok(frame.length >= 14) };
      const offloads = random.oneIn(2);
      return {
        make: () => new VirtioNet(wiring, { ...io, port, events, mac: new Uint8Array(6), offloads, pairs: NET_PAIRS }),
        host: (device) => {
          const net = device as unknown as VirtioNet;
          if (random.oneIn(20)) net.setLinkUp(random.oneIn(2));
          if (random.oneIn(20)) net.announce();
          const segmentBytes = random.oneIn(4) ? 1460 : 0;
          const isWhole = random.oneIn(2);
          const payload = random.bytes(random.below(3000));
          const version = random.pick([4, 6] as const);
          const frame = isWhole ? partialFrame({ payload, version }).frame : random.bytes(14 + random.below(3000));
          net.receive(frame, { checksumValid: segmentBytes > 0 || random.oneIn(2), segmentBytes });
        },
      };
    }
    case 'p9':
      return { make: () => new VirtioP9(wiring, { ...io, server: moodyServer(random) }), host: () => undefined };
    case 'vsock':
      return vsockSubject(bench, io, random);
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

/** Its host asks for streams, accepts, refuses, waits, writes, pauses, ends, gives up. */
function vsockSubject(bench: Bench, io: IoPorts, random: Random): Subject {
  const streams: VsockStream[] = [];
  const requests: VsockRequest[] = [];
  const act = (stream: VsockStream | undefined): void => {
    switch (random.below(7)) {
      case 0:
        stream?.end();
        break;
      case 1:
        if (random.oneIn(4)) stream?.reset();
        break;
      case 2:
        stream?.pause();
        break;
      case 3:
        stream?.resume();
        break;
      default:
        stream?.write(random.bytes(random.below(3000)));
    }
  };
  const events = (): VsockEvents => {
    let isOver = false;
    const mood = (): void => {
      assert.ok(!isOver, 'an event after the stream has failed');
      if (random.oneIn(10)) act(streams[random.below(streams.length + 1)]);
    };
    return {
      ...{ connected: mood, data: mood, drained: mood, ended: mood },
      failed: () => {
        assert.ok(!isOver, 'it fails twice');
        isOver = true;
      },
    };
  };
  return {
    make: () => {
      const device = new VirtioVsock(bench.wiring, { ...io, cid: CID_FIRST_GUEST });
      device.listen('any', (request) => {
        if (random.oneIn(2)) streams.push(request.accept(events()));
        else requests.push(request);
      });
      return device;
    },
    host: (device) => {
      if (random.oneIn(4)) streams.push((device as unknown as VirtioVsock).connect(random.below(6), events()));
      const request = random.oneIn(2) ? requests.shift() : undefined;
      if (random.oneIn(3)) request?.refuse();
      else if (request !== undefined) streams.push(request.accept(events()));
      act(streams[random.below(streams.length + 1)]);
    },
  };
}

/** A server that answers now or later, as much as there is room for. */
function moodyServer(random: Random): P9Server {
  return {
    tag: new TextEncoder().encode('/work'),
    reset: () => undefined,
    refuse: () => 11,
    answer: (request, reply) => {
      assert.ok(request.length >= 7 && reply.length >= 11);
      const length = 7 + random.below(reply.length - 6);
      reply.fill(0x55, 0, length);
      if (random.oneIn(2)) return length;
      return new Promise((resolve) => setImmediate(() => resolve(length)));
    },
  };
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

/** Devices as the fuzzer (fuzz.testing.ts) has them: what is on their other side, and what their queues are offered. */
import assert from 'node:assert/strict';
import { VirtioBalloon } from './balloon.ts';
import type { AnyVirtioDevice, Bench } from './bench.testing.ts';
import { VirtioBlock } from './block.ts';
import { TwoThreadBlock } from './block-at-once.testing.ts';
import type { BlockBackend, QuickDisk } from './block-backend.ts';
import { VirtioConsole } from './console.ts';
import { EchoDevice } from './echo-device.testing.ts';
import type { HostileMemory, Style } from './hostile-guest.testing.ts';
import { MemoryBackend } from './memory-backend.ts';
import { VirtioNet } from './net.ts';
import { partialFrame } from './net-frames.testing.ts';
import { VirtioP9 } from './p9.ts';
import type { P9Server } from './p9-port.ts';
import type { Random } from './random.testing.ts';
import { VirtioRng } from './rng.ts';
import type { IoPorts, Wiring } from './virtio-device.ts';
import { VirtioVsock } from './vsock.ts';
import { CID_FIRST_GUEST, VsockHeader, type VsockOp } from './vsock-packet.ts';
import type { VsockEvents, VsockRequest, VsockStream } from './vsock-port.ts';
/** A device and what its host does to it. */
export interface Subject {
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

export const LAYOUTS = {
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
export const NET_PAIRS = 2;
const BLOCK_STYLES: readonly Style[] = [
  { readable: [16, 512, 1024], writable: [1] },
  { readable: [16], writable: [512, 4096, 1] },
];
/** By queue; queues beyond begin again. */
export const STYLES: Readonly<Record<FuzzedDevice, readonly Style[]>> = {
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
    flush: () => !random.oneIn(4),
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

export function subjectOf(kind: FuzzedDevice, bench: Bench, memory: HostileMemory, random: Random): Subject {
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

/**
 * What the block, the network and the socket device move in memory, with a driver that does next to nothing: chains are built
 * once and offered again and again. `node src/devices/virtio/throughput.testing.ts [seconds for each]` prints MB/s and
 * exits with 1 when a bulk workload stays below 500. Guest memory is scattered frame by frame, the worst case.
 */

import { Bench } from './bench.testing.ts';
import { BlockBench } from './block.testing.ts';
import { VIRTIO_BLK_T } from './block-request.ts';
import { type Buffer, FakeDriver, type FakeQueue } from './fake-driver.testing.ts';
import { MemoryBackend } from './memory-backend.ts';
import { VirtioNet } from './net.ts';
import { partialFrame } from './net-frames.testing.ts';
import { VirtioVsock } from './vsock.ts';
import { CID_FIRST_GUEST, VIRTIO_VSOCK_OP, VsockHeader, type VsockOp } from './vsock-packet.ts';
import type { VsockStream } from './vsock-port.ts';

const seconds = Number(process.argv[2] ?? 1);
const BULK_MIN = 500;
/** Of Ethernet, IPv4 and TCP. */
const HEADERS_BYTES = 54;
const RECEIVE_BUFFERS = 120;
const MIB = 1 << 20;

interface Workload {
  readonly name: string;
  /** Whether the bound applies; small transfers are about calls, not bytes. */
  readonly bulk: boolean;
  /** Moves some data; how many bytes. */
  round(): number;
}

/** Chains that are offered over and over; the used ring is only counted. */
class Carousel {
  readonly #queue: FakeQueue;
  readonly #heads: readonly number[];

  constructor(queue: FakeQueue, chains: readonly { readable: readonly Buffer[]; writable: readonly Buffer[] }[]) {
    this.#queue = queue;
    this.#heads = chains.map(({ readable, writable }) => queue.add(readable, writable, true));
  }

  offer(): void {
    for (const head of this.#heads) this.#queue.offer(head);
    this.#queue.kick();
  }
}

/** Buffers of 4 KiB, or larger where a chain would be too long. */
function pages(driver: FakeDriver, sizeBytes: number): Buffer[] {
  const each = sizeBytes > 512 * 1024 ? 8192 : 4096;
  const count = Math.ceil(sizeBytes / each);
  return Array.from({ length: count }, (_, i) => driver.room(Math.min(each, sizeBytes - i * each)));
}

function block(type: number, sizeBytes: number): Workload {
  const requests = Math.min(64, (16 * MIB) / sizeBytes);
  const disk = new BlockBench(new MemoryBackend(64 * MIB, { content: new Uint8Array(64 * MIB).fill(1) }), {
    memory: { frames: 8192 },
  });
  const { driver } = disk;
  const queue = disk.queues[0] as FakeQueue;
  const carousel = new Carousel(
    queue,
    Array.from({ length: requests }, (_, i) => {
      const header = disk.header(type, (i * sizeBytes) / 512);
      const data = pages(driver, sizeBytes);
      const status = driver.room(1);
      return type === VIRTIO_BLK_T.IN
        ? { readable: [header], writable: [...data, status] }
        : { readable: [header, ...data], writable: [status] };
    }),
  );
  disk.serve();
  return {
    name: `block ${type === VIRTIO_BLK_T.IN ? 'read' : 'write'} ${sizeBytes}`,
    bulk: sizeBytes >= 65536,
    round: () => {
      carousel.offer();
      disk.serve();
      driver.takeInterrupt();
      if (!disk.device.live || disk.device.counters.errors > 0) {
        throw new Error(`the workload is broken: ${JSON.stringify([disk.device.violations, disk.device.counters])}`);
      }
      return requests * sizeBytes;
    },
  };
}

function net(direction: 'send' | 'receive', frameBytes: number): Workload {
  const bench = new Bench(VirtioNet.layout, { frames: 4096 });
  let received = 0;
  const device = new VirtioNet(bench.wiring, {
    ...bench.io,
    mac: new Uint8Array(6),
    offloads: true,
    port: {
      send: (frame) => {
        received += frame.length;
      },
    },
  });
  bench.start(device);
  const driver = new FakeDriver(bench);
  const [rx, tx] = driver.start() as [FakeQueue, FakeQueue];
  const frames = frameBytes > 4096 ? 12 : 64;
  const offload = frameBytes > 1514 ? { checksumValid: true, segmentBytes: 1448 } : undefined;
  const header = new Uint8Array(12);
  if (offload !== undefined) header.set([1, 1, 0, 0, 0xa8, 5, 34, 0, 16, 0]);
  const sent = { readable: [driver.buffer(header), ...pages(driver, frameBytes)], writable: [] };
  const buffers = frames * Math.ceil((frameBytes + 12) / 4096);
  const carousel =
    direction === 'send'
      ? new Carousel(
          tx,
          Array.from({ length: frames }, () => sent),
        )
      : new Carousel(
          rx,
          Array.from({ length: buffers }, () => ({ readable: [], writable: [driver.room(4096)] })),
        );
  bench.serve(device);
  const { frame } = partialFrame({ payload: new Uint8Array(frameBytes - HEADERS_BYTES) });
  const moved = () => (direction === 'send' ? received : device.counters.receivedBytes);
  let isFirst = true;
  return {
    name: `net ${direction} ${frameBytes}`,
    bulk: frameBytes > 4096,
    round: () => {
      const before = moved();
      // Building the chains has offered them once.
      if (!isFirst || direction === 'send') carousel.offer();
      isFirst = false;
      if (direction === 'receive') for (let i = 0; i < frames; i++) device.receive(frame, offload);
      bench.serve(device);
      driver.takeInterrupt();
      if (moved() === before) throw new Error('the workload is broken');
      return moved() - before;
    },
  };
}

/** Streams of one connection, the guest's buffers of 4 KiB towards it, as Linux's driver has them. */
function vsock(direction: 'send' | 'receive', packetBytes: number): Workload {
  const bench = new Bench(VirtioVsock.layout, { frames: 4096 });
  const device = bench.start(new VirtioVsock(bench.wiring, { ...bench.io, cid: CID_FIRST_GUEST }));
  let stream: VsockStream | undefined;
  let moved = 0;
  const count = (byteCount: number): void => {
    moved += byteCount;
  };
  device.listen(1, (request) => {
    stream = request.accept({
      ...{ data: (bytes) => count(bytes.length), drained: count },
      ...{ ended: () => undefined, failed: () => undefined },
    });
  });
  const driver = new FakeDriver(bench);
  const [rx, tx] = driver.start() as [FakeQueue, FakeQueue];
  const header = new VsockHeader();
  const packet = (op: VsockOp, lengthBytes: number): Buffer => {
    header.set({
      ...{ sourceCid: CID_FIRST_GUEST, destinationCid: 2, sourcePort: 9, destinationPort: 1, op, lengthBytes },
      ...{ bufferBytes: 1 << 20, forwardedBytes: 0 },
    });
    return driver.buffer(header.bytes);
  };
  tx.add([packet(VIRTIO_VSOCK_OP.REQUEST, 0)]);
  tx.kick();
  bench.serve(device);
  const update = packet(VIRTIO_VSOCK_OP.CREDIT_UPDATE, 0);
  const sent = { readable: [packet(VIRTIO_VSOCK_OP.RW, packetBytes), ...pages(driver, packetBytes)], writable: [] };
  const said = direction === 'send' ? Array.from({ length: 32 }, () => sent) : [{ readable: [update], writable: [] }];
  const talk = new Carousel(tx, said);
  const room = driver.room(4096);
  for (let i = 0; i < RECEIVE_BUFFERS; i++) rx.add([], [room]);
  const bytes = new Uint8Array(packetBytes);
  let isFirst = true;
  return {
    name: `vsock ${direction} ${packetBytes}`,
    bulk: packetBytes > 4096,
    round: () => {
      const before = moved;
      if (direction === 'receive') for (let i = 0; i < 4; i++) stream?.write(bytes);
      // Of what the guest has, it took all.
      bench.memory.setU32(update.gpa + 40, moved % 2 ** 32);
      // Building the chains has offered them once.
      if (!isFirst) talk.offer();
      isFirst = false;
      for (const _ of rx.take()) rx.add([], [room]);
      tx.forceKick();
      bench.serve(device);
      driver.takeInterrupt();
      if (moved === before || !device.live)
        throw new Error(`the workload is broken: ${JSON.stringify(device.violations)}`);
      return moved - before;
    },
  };
}

const workloads: (() => Workload)[] = [
  () => block(VIRTIO_BLK_T.IN, 4096),
  () => block(VIRTIO_BLK_T.IN, 65536),
  () => block(VIRTIO_BLK_T.IN, MIB),
  () => block(VIRTIO_BLK_T.OUT, 4096),
  () => block(VIRTIO_BLK_T.OUT, 65536),
  () => block(VIRTIO_BLK_T.OUT, MIB),
  () => net('send', 1514),
  () => net('send', 65000),
  () => net('receive', 1514),
  () => net('receive', 65000),
  () => vsock('send', 4096),
  () => vsock('send', 65536),
  () => vsock('receive', 65536),
];

let failed = false;
for (const make of workloads) {
  const workload = make();
  run(workload, 0.2);
  const rate = run(workload, seconds);
  const slow = workload.bulk && rate < BULK_MIN;
  failed ||= slow;
  console.log(`${workload.name.padEnd(20)} ${rate.toFixed(0).padStart(6)} MB/s${slow ? `  below ${BULK_MIN}` : ''}`);
}
process.exit(failed ? 1 : 0);

function run(workload: Workload, forSeconds: number): number {
  const start = performance.now();
  let bytes = 0;
  let now = start;
  for (; now - start < forSeconds * 1000; now = performance.now())
    for (let i = 0; i < 4; i++) bytes += workload.round();
  return bytes / 1e6 / ((now - start) / 1000);
}

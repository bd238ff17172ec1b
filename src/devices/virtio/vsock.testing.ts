/** A driver of the socket device, for tests: packets by hand, as Linux's virtio_transport makes them. */
import assert from 'node:assert/strict';
import { Bench, type BenchOptions } from './bench.testing.ts';
import { type Buffer, FakeDriver, type FakeQueue } from './fake-driver.testing.ts';
import { VirtioVsock, type VsockIo } from './vsock.ts';
import { VIRTIO_VSOCK_OP, VSOCK_HEADER_BYTES, VsockHeader, type VsockOp } from './vsock-packet.ts';
import type { VsockEvents } from './vsock-port.ts';

export const CID = 3;
const RECEIVE_BUFFERS = 64;

export interface Said {
  /** `RW`, `RST`: as the specification calls it. */
  readonly op: string;
  readonly guestPort: number;
  readonly hostPort: number;
  readonly flags: number;
  readonly bufferBytes: number;
  readonly forwardedBytes: number;
  readonly type: number;
  readonly data: Uint8Array;
}

export interface Speech {
  readonly guestPort?: number;
  readonly hostPort?: number;
  readonly op: VsockOp | number;
  readonly data?: Uint8Array;
  readonly flags?: number;
  readonly bufferBytes?: number;
  readonly forwardedBytes?: number;
  readonly type?: number;
  readonly sourceCid?: number;
  readonly destinationCid?: number;
  /** Instead of the data's. */
  readonly lengthBytes?: number;
}

export class VsockGuest {
  readonly bench: Bench;
  readonly driver: FakeDriver;
  readonly io: VsockIo;
  device: VirtioVsock;
  queues: FakeQueue[] = [];
  readonly #rooms = new Map<number, Buffer>();
  readonly #roomBytes: number;

  constructor(options: BenchOptions & { readonly roomBytes?: number; readonly isDown?: boolean } = {}) {
    this.bench = new Bench(VirtioVsock.layout, { frames: 2048, ...options });
    this.#roomBytes = options.roomBytes ?? 4096;
    this.io = { ...this.bench.io, cid: CID };
    this.device = this.bench.start(new VirtioVsock(this.bench.wiring, this.io));
    this.driver = new FakeDriver(this.bench);
    if (options.isDown !== true) this.start();
  }

  start(): void {
    this.queues = this.driver.start();
    this.#rooms.clear();
    this.offer(RECEIVE_BUFFERS);
    this.serve();
  }

  queue(index: number): FakeQueue {
    const queue = this.queues[index];
    assert.ok(queue);
    return queue;
  }

  /** Offers so many receive buffers. */
  offer(count: number): void {
    for (let i = 0; i < count; i++) {
      const room = this.driver.room(this.#roomBytes);
      this.#rooms.set(this.queue(0).add([], [room]), room);
    }
    this.queue(0).kick();
  }

  serve(): void {
    assert.ok(this.bench.serve(this.device), 'the doorbell never falls silent');
  }

  say(speech: Speech): void {
    this.whisper(speech);
    this.queue(1).kick();
    this.serve();
    this.queue(1).take();
  }

  /** Offers a packet without notifying. */
  whisper({ guestPort = 5000, hostPort = 1234, data = new Uint8Array(0), ...rest }: Speech): void {
    const header = new VsockHeader();
    header.set({
      ...{ sourceCid: rest.sourceCid ?? CID, destinationCid: rest.destinationCid ?? 2 },
      ...{ sourcePort: guestPort, destinationPort: hostPort, op: rest.op as VsockOp },
      ...{ lengthBytes: rest.lengthBytes ?? data.length, flags: rest.flags ?? 0 },
      ...{ bufferBytes: rest.bufferBytes ?? 1 << 18, forwardedBytes: rest.forwardedBytes ?? 0, type: rest.type ?? 1 },
    });
    const buffers = [this.driver.buffer(header.bytes), ...(data.length > 0 ? [this.driver.buffer(data)] : [])];
    this.queue(1).add(buffers);
  }

  /** What the device has said since the last time; the buffers are offered again. */
  heard(): Said[] {
    const { memory } = this.bench;
    const rooms: Buffer[] = [];
    const said = this.queue(0)
      .take()
      .map(({ id, writtenBytes }) => {
        const room = this.#rooms.get(id) as Buffer;
        rooms.push(room);
        const header = new VsockHeader();
        header.bytes.set(memory.bytes(room.gpa, VSOCK_HEADER_BYTES));
        assert.ok(header.isBetween(2, CID));
        assert.equal(header.lengthBytes, writtenBytes - VSOCK_HEADER_BYTES);
        return {
          op: Object.entries(VIRTIO_VSOCK_OP).find(([, op]) => op === header.op)?.[0] ?? String(header.op),
          ...{ guestPort: header.destinationPort, hostPort: header.sourcePort, flags: header.flags, type: header.type },
          ...{ bufferBytes: header.bufferBytes, forwardedBytes: header.forwardedBytes },
          data: memory.bytes(room.gpa + VSOCK_HEADER_BYTES, header.lengthBytes),
        };
      });
    for (const room of rooms) this.#rooms.set(this.queue(0).add([], [room]), room);
    if (said.length > 0) {
      this.queue(0).kick();
      this.serve();
    }
    return said;
  }

  ops(): string[] {
    return this.heard().map(({ op }) => op);
  }
}

/** The host's end, written down. */
export class VsockLog implements VsockEvents {
  readonly lines: string[] = [];
  readonly bytes: number[] = [];
  drainedBytes = 0;

  connected(): void {
    this.lines.push('connected');
  }

  data(bytes: Uint8Array): void {
    for (const byte of bytes) this.bytes.push(byte);
  }

  drained(byteCount: number): void {
    this.drainedBytes += byteCount;
  }

  ended(): void {
    this.lines.push('ended');
  }

  failed(reason: string): void {
    this.lines.push(`failed: ${reason}`);
  }
}

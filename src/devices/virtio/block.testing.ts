/** A driver of the block device, for tests, benchmarks and fuzzers: requests as Linux's virtio_blk builds them. */
import assert from 'node:assert/strict';
import type { Block } from '../device.ts';
import { Bench } from './bench.testing.ts';
import { type BlockIo, VirtioBlock } from './block.ts';
import type { BlockBackend } from './block-backend.ts';
import { VIRTIO_BLK_T } from './block-request.ts';
import { type Buffer, FakeDriver, type FakeQueue } from './fake-driver.testing.ts';
import type { FakeMemoryOptions } from './fake-memory.testing.ts';

export interface Answer {
  readonly status: number;
  readonly data: Uint8Array;
  /** From the used ring. */
  readonly writtenBytes: number;
}

export interface SentRequest {
  readonly head: number;
  readonly data: Buffer | undefined;
  readonly status: Buffer;
}

export class BlockBench {
  readonly bench: Bench;
  readonly driver: FakeDriver;
  readonly reports: string[] = [];
  device: VirtioBlock;
  queues: FakeQueue[] = [];
  readonly #io: Omit<BlockIo, keyof Bench['io']>;

  constructor(
    backend: BlockBackend,
    options: { serial?: string; queues?: number; without?: number[]; memory?: FakeMemoryOptions } = {},
  ) {
    this.bench = new Bench(VirtioBlock.layout, options.memory ?? { frames: 512 });
    const { serial, queues } = options;
    this.#io = {
      backend,
      ...(serial === undefined ? {} : { serial }),
      ...(queues === undefined ? {} : { queues }),
      report: (operation, cause) =>
        this.reports.push(`${operation}: ${cause instanceof Error ? cause.message : cause}`),
    };
    this.device = this.newDevice();
    this.bench.start(this.device);
    this.driver = new FakeDriver(this.bench);
    this.queues = this.driver.start(options.without);
    this.serve();
  }

  get block(): Block {
    return this.bench.block;
  }

  /** Another process's instance over the same block. */
  newDevice(): VirtioBlock {
    return this.bench.plug(new VirtioBlock(this.bench.wiring, { ...this.bench.io, ...this.#io }));
  }

  serve(): void {
    assert.ok(this.bench.serve(this.device), 'the device keeps ringing');
  }

  header(type: number, sector: number): Buffer {
    const bytes = new Uint8Array(16);
    const data = new DataView(bytes.buffer);
    data.setUint32(0, type, true);
    data.setBigUint64(8, BigInt(sector), true);
    return this.driver.buffer(bytes);
  }

  /** Offers a request without notifying; `data` goes to the device, or that many bytes come from it. */
  send(type: number, sector: number, data: Uint8Array | number = 0, queue = 0): SentRequest {
    const ring = this.queues[queue];
    assert.ok(ring);
    const header = this.header(type, sector);
    const status = this.driver.buffer(Uint8Array.of(0xff));
    const sent = typeof data === 'number' ? [] : [this.driver.buffer(data)];
    const wanted = typeof data === 'number' && data > 0 ? [this.driver.room(data)] : [];
    const head = ring.add([header, ...sent], [...wanted, status], true);
    return { head, data: wanted[0], status };
  }

  /** One request from beginning to end. */
  async request(type: number, sector: number, data: Uint8Array | number = 0, queue = 0): Promise<Answer> {
    const sent = this.send(type, sector, data, queue);
    this.queues[queue]?.kick();
    await this.bench.settle(this.device);
    const used = this.queues[queue]?.take() ?? [];
    assert.equal(used.length, 1, 'one answer to one request');
    assert.equal(used[0]?.id, sent.head);
    return this.answer(sent, used[0]?.writtenBytes ?? 0);
  }

  answer(sent: SentRequest, writtenBytes: number): Answer {
    const { memory } = this.bench;
    return {
      status: memory.bytes(sent.status.gpa, 1)[0] ?? 0,
      data: sent.data === undefined ? new Uint8Array(0) : memory.bytes(sent.data.gpa, sent.data.sizeBytes),
      writtenBytes,
    };
  }

  read(sector: number, sizeBytes: number): Promise<Answer> {
    return this.request(VIRTIO_BLK_T.IN, sector, sizeBytes);
  }

  write(sector: number, data: Uint8Array): Promise<Answer> {
    return this.request(VIRTIO_BLK_T.OUT, sector, data);
  }

  /** Segments for discard and write-zeroes. */
  static ranges(...ranges: readonly [sector: number, sectors: number, flags?: number][]): Uint8Array {
    const bytes = new Uint8Array(ranges.length * 16);
    const data = new DataView(bytes.buffer);
    ranges.forEach(([sector, sectors, flags], i) => {
      data.setBigUint64(i * 16, BigInt(sector), true);
      data.setUint32(i * 16 + 8, sectors, true);
      data.setUint32(i * 16 + 12, flags ?? 0, true);
    });
    return bytes;
  }
}

/** A disk whose answers wait until the test lets them go, in the order of its choice. */
export class HeldBackend implements BlockBackend {
  readonly waiting: { readonly what: string; go(error?: Error): void }[] = [];
  readonly log: string[] = [];
  readonly #disk: BlockBackend;

  constructor(disk: BlockBackend) {
    this.#disk = disk;
  }

  get sizeBytes(): number {
    return this.#disk.sizeBytes;
  }

  get readOnly(): boolean {
    return this.#disk.readOnly;
  }

  read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    return this.#hold(`read ${offset}`, () => this.#disk.read(offset, into));
  }

  write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    return this.#hold(`write ${offset}`, () => this.#disk.write(offset, from));
  }

  flush(): Promise<void> {
    return this.#hold('flush', () => this.#disk.flush());
  }

  #hold(what: string, perform: () => Promise<void> | void): Promise<void> {
    this.log.push(what);
    return new Promise((resolve, reject) => {
      this.waiting.push({
        what,
        go: (error) => {
          if (error !== undefined) reject(error);
          else Promise.resolve(perform()).then(resolve, reject);
        },
      });
    });
  }
}

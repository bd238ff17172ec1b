/**
 * The block device (virtio 1.2, section 5.2) over a BlockBackend: read, write, flush, discard, write-zeroes,
 * identity; up to four queues. Any number of requests is under way at once, bounded by the bytes they hold; they
 * complete in the backend's order. The host's errors become VIRTIO_BLK_S_IOERR and are reported.
 *
 *     service: pop, check, copy the guest's data -> backend -> promise -> schedule -> copy to the guest, push
 *     at once: pop, check -> file -> push           (block-at-once.ts; else the queue is the I/O thread's to serve)
 *
 * Save and restore while requests are under way: those that were taken and not yet answered are recorded by head in
 * the block, and `resume` takes them up again from the guest's tables, which the driver may not touch meanwhile. So
 * a request may reach the backend twice, before and after; each kind has the same outcome then.
 * A driver that does not negotiate FLUSH gets every write flushed (section 5.2.6.2).
 * Left out: geometry, the writeback switch (CONFIG_WCE), secure erase, lifetime, zones.
 */
import { must } from '../../base/assert.ts';
import { array, struct, type View } from '../../base/struct.ts';
import { QuickRequests } from './block-at-once.ts';
import { type BlockBackend, type QuickDisk, SECTOR_BYTES } from './block-backend.ts';
import {
  BLOCK_QUEUES_MAX,
  blockConfig,
  blockFeatures,
  CONFIG_BYTES,
  QUEUE_SIZE,
  REQUEST_BYTES_MAX,
  VIRTIO_BLK_F,
} from './block-config.ts';
import { BlockRequest, type BlockStatus, identity, inTurn, VIRTIO_BLK_S, VIRTIO_BLK_T } from './block-request.ts';
import { PiecePool } from './piece-pool.ts';
import type { Queue } from './queue.ts';
import { virtioFields } from './state.ts';
import { type AtOncePorts, type IoPorts, VirtioDevice, type Wiring } from './virtio-device.ts';

const VIRTIO_ID_BLOCK = 2;
/** While requests hold more than this, further ones wait in the queue. */
const UNDER_WAY_BYTES_MAX = 32 << 20;
/** One service takes about this much, so that the device's lock is free again within a millisecond or so. */
const SERVICE_BYTES = 4 << 20;
/** What is done at once for one notification, so that the vCPU goes on within some 100 us. */
const AT_ONCE_BYTES = 2 << 20;
/** What a request without data counts for. */
const REQUEST_COST_BYTES = 4096;
/** A medium's time is that of a copy of a MiB and more: two in a row are enough. */
const FLUSH_COST_BYTES = 1 << 20;
const ID_BYTES = 20;
const HEAD_WORDS = QUEUE_SIZE / 32;

const fields = {
  ...virtioFields(BLOCK_QUEUES_MAX, CONFIG_BYTES),
  /** Bit per head, by queue: taken from the available ring and not yet returned. */
  underWay: array('u32', BLOCK_QUEUES_MAX * HEAD_WORDS),
  /** Done at once, on whatever thread, since power-on: reads, writes, and their bytes. */
  quickReads: 'f64',
  quickWrites: 'f64',
  quickFlushes: 'f64',
  quickReadBytes: 'f64',
  quickWrittenBytes: 'f64',
} as const;
const layout = struct('virtio-block', fields);

export interface BlockIo extends IoPorts {
  readonly backend: BlockBackend;
  /** What the guest reads as the disk's identity, at most 20 ASCII characters (`/sys/block/vda/serial`). */
  readonly serial?: string;
  /** 1 to BLOCK_QUEUES_MAX, default 1. */
  readonly queues?: number;
  /** Told of every host error behind a VIRTIO_BLK_S_IOERR. */
  report?(operation: string, cause: unknown): void;
}

/** What an instance has on a processor's thread where that does requests at once. */
export interface BlockAtOnce extends AtOncePorts {
  readonly disk: QuickDisk;
}

/** Plain numbers of the I/O thread's instance since its construction, and of what was done at once since power-on. */
export interface BlockCounters {
  /** Of the reads, writes and flushes, those done at once. */
  atOnce: number;
  reads: number;
  writes: number;
  flushes: number;
  discards: number;
  readBytes: number;
  writtenBytes: number;
  /** Requests answered with VIRTIO_BLK_S_IOERR. */
  errors: number;
}

export class VirtioBlock extends VirtioDevice<View<typeof fields>> {
  static readonly layout = layout;
  readonly #counters = { reads: 0, writes: 0, flushes: 0, discards: 0, readBytes: 0, writtenBytes: 0, errors: 0 };
  readonly #io: BlockIo | undefined;
  readonly #atOnce: BlockAtOnce | undefined;
  readonly #quick: QuickRequests | undefined;
  readonly #pool = new PiecePool();
  readonly #idle: BlockRequest[] = [];
  #underWay = 0;
  #underWayBytes = 0;
  /** Queues that wait until fewer bytes are under way. */
  #stalled = 0;
  #session = 0;

  /** `io` on the I/O thread; on others nothing, or what it takes to do requests at once. */
  constructor(wiring: Wiring, io?: BlockIo | BlockAtOnce) {
    const isServed = io !== undefined && 'backend' in io;
    super(VIRTIO_ID_BLOCK, layout, layout.view(wiring.block.buffer, wiring.block.at), wiring, io?.memory, { isServed });
    this.#io = isServed ? io : undefined;
    this.#atOnce = isServed ? undefined : io;
    this.#quick = this.#atOnce && new QuickRequests(this.#atOnce.memory, this.#atOnce.disk);
    this.strap();
  }

  get counters(): BlockCounters {
    const { reads, writes, flushes, readBytes, writtenBytes, ...others } = this.#counters;
    const { quickReads, quickWrites, quickFlushes, quickReadBytes, quickWrittenBytes } = this.state;
    return {
      reads: reads + quickReads,
      writes: writes + quickWrites,
      flushes: flushes + quickFlushes,
      atOnce: quickReads + quickWrites + quickFlushes,
      readBytes: readBytes + quickReadBytes,
      writtenBytes: writtenBytes + quickWrittenBytes,
      ...others,
    };
  }

  override reset(): void {
    super.reset();
    const { state } = this;
    state.quickReads = state.quickWrites = state.quickFlushes = state.quickReadBytes = state.quickWrittenBytes = 0;
  }

  /** Requests that the backend has not answered yet. */
  get underWay(): number {
    return this.#underWay;
  }

  override resume(): void {
    this.#session++;
    this.#stalled = 0;
    super.resume();
    for (let i = 0; i < BLOCK_QUEUES_MAX; i++) this.#takeUp(i);
  }

  protected override strap(): void {
    const io = this.#io;
    if (io === undefined) return;
    const { backend } = io;
    const queues = Math.min(Math.max(io.queues ?? 1, 1), BLOCK_QUEUES_MAX);
    this.offer(
      blockFeatures(backend, queues),
      Array.from({ length: queues }, () => QUEUE_SIZE),
    );
    for (const { at, bytes, value } of blockConfig(backend, queues)) this.setConfig(at, bytes, value);
  }

  protected override queueEnded(index: number): void {
    this.state.underWay.fill(0, index * HEAD_WORDS, (index + 1) * HEAD_WORDS);
  }

  protected override serve(notified: number): void {
    for (let i = 0; i < BLOCK_QUEUES_MAX; i++) if ((notified >>> i) & 1) this.#serveQueue(i);
  }

  protected override serveAtOnce(index: number): boolean {
    return this.#quick !== undefined && this.#atOnce?.run(() => this.#serveQuickly(must(this.#quick), index)) === true;
  }

  /** False: something is left for the I/O thread. */
  #serveQuickly(quick: QuickRequests, index: number): boolean {
    const queue = this.openQueue(index);
    if (queue === undefined) return false;
    const { chain } = quick.request;
    const sizeBytes = this.readConfig(0, 4) * SECTOR_BYTES + this.readConfig(4, 4) * 2 ** 32 * SECTOR_BYTES;
    const isReadOnly = ((this.state.offered[0] ?? 0) & (1 << VIRTIO_BLK_F.RO)) !== 0;
    const shape = { sizeBytes, isWritable: !isReadOnly && this.accepted(VIRTIO_BLK_F.FLUSH) };
    queue.disarm();
    let budget = AT_ONCE_BYTES;
    do {
      while (queue.pop(chain)) {
        const written = budget <= 0 || this.#isUnderWay(index, chain.head) ? -1 : quick.perform(shape);
        if (written < 0) {
          queue.rewind(1, 0);
          this.publish(queue);
          return false;
        }
        budget -=
          (quick.request.type === VIRTIO_BLK_T.FLUSH ? FLUSH_COST_BYTES : REQUEST_COST_BYTES) +
          chain.readableBytes +
          chain.writableBytes;
        this.#countQuick(quick.request);
        queue.push(chain.head, written);
      }
      this.publish(queue);
    } while (queue.arm());
    return true;
  }

  #countQuick({ type, sentBytes, wantedBytes }: BlockRequest): void {
    const { state } = this;
    if (type === VIRTIO_BLK_T.IN) {
      state.quickReads++;
      state.quickReadBytes += wantedBytes;
    } else if (type === VIRTIO_BLK_T.OUT) {
      state.quickWrites++;
      state.quickWrittenBytes += sentBytes;
    } else state.quickFlushes++;
  }

  #serveQueue(index: number): void {
    const queue = this.openQueue(index);
    if (queue === undefined) return;
    queue.disarm();
    let budget = SERVICE_BYTES;
    do {
      while (budget > 0 && this.#underWayBytes < UNDER_WAY_BYTES_MAX) {
        const request = this.#idleRequest();
        if (!queue.pop(request.chain)) {
          this.#idle.push(request);
          break;
        }
        budget -= REQUEST_COST_BYTES + request.chain.readableBytes + request.chain.writableBytes;
        if (this.#isUnderWay(index, request.chain.head)) {
          this.violated('head-in-flight');
          return;
        }
        if (!this.#start(request, queue)) return;
      }
      this.publish(queue);
      if (this.#underWayBytes >= UNDER_WAY_BYTES_MAX) {
        this.#stalled |= 1 << index;
        return;
      }
      if (budget <= 0) {
        this.serveAgain(1 << index);
        return;
      }
    } while (queue.arm());
  }

  /** Takes the requests up again that the restored block names. */
  #takeUp(index: number): void {
    const queue = this.openQueue(index);
    if (queue === undefined) return;
    for (let head = 0; head < queue.size; head++) {
      if (!this.#isUnderWay(index, head)) continue;
      this.#markUnderWay(index, head, false);
      const request = this.#idleRequest();
      if (!queue.load(head, request.chain) || !this.#start(request, queue)) return;
    }
    this.publish(queue);
  }

  /** Answers the request or gives it to the backend; false after a violation. */
  #start(request: BlockRequest, queue: Queue): boolean {
    request.queue = queue.index;
    request.epoch = queue.epoch;
    request.session = this.#session;
    request.pieces = [];
    if (!request.wellFormed) {
      this.violated('chain-format');
      return false;
    }
    if (!request.readHeader()) {
      this.violated('dma');
      return false;
    }
    let outcome: Promise<void> | BlockStatus | undefined;
    try {
      outcome = this.#perform(request, this.#mustIo());
    } catch (error) {
      this.#report(request, error);
      outcome = VIRTIO_BLK_S.IOERR;
    }
    if (outcome === undefined) {
      this.violated('dma');
      return false;
    }
    if (typeof outcome === 'number') return this.#answer(request, outcome, queue);
    this.#await(request, outcome);
    return true;
  }

  /** A status at once, a promise of OK, or undefined when the guest's data is out of the device's reach. */
  #perform(request: BlockRequest, io: BlockIo): Promise<void> | BlockStatus | undefined {
    const { backend } = io;
    switch (request.type) {
      case VIRTIO_BLK_T.IN: {
        const sizeBytes = request.wantedBytes;
        if (!fits(request.offset, sizeBytes, backend)) return VIRTIO_BLK_S.IOERR;
        this.#counters.reads++;
        this.#counters.readBytes += sizeBytes;
        request.pieces = this.#pool.take(sizeBytes);
        return backend.read(request.offset, request.pieces) ?? VIRTIO_BLK_S.OK;
      }
      case VIRTIO_BLK_T.OUT: {
        const sizeBytes = request.sentBytes;
        if (backend.readOnly || !fits(request.offset, sizeBytes, backend)) return VIRTIO_BLK_S.IOERR;
        this.#counters.writes++;
        this.#counters.writtenBytes += sizeBytes;
        request.pieces = this.#pool.take(sizeBytes);
        if (!request.gather()) return undefined;
        return this.#durable(backend.write(request.offset, request.pieces), backend) ?? VIRTIO_BLK_S.OK;
      }
      case VIRTIO_BLK_T.FLUSH:
        this.#counters.flushes++;
        return backend.flush() ?? VIRTIO_BLK_S.OK;
      case VIRTIO_BLK_T.GET_ID:
        request.pieces = [identity(io.serial ?? '', Math.min(ID_BYTES, request.wantedBytes))];
        return VIRTIO_BLK_S.OK;
      case VIRTIO_BLK_T.DISCARD:
      case VIRTIO_BLK_T.WRITE_ZEROES: {
        const zero = request.type === VIRTIO_BLK_T.WRITE_ZEROES;
        const method = zero ? backend.writeZeroes : backend.discard;
        if (method === undefined) return VIRTIO_BLK_S.UNSUPP;
        if (backend.readOnly) return VIRTIO_BLK_S.IOERR;
        const ranges = request.readRanges(backend.sizeBytes);
        if (ranges === undefined || typeof ranges === 'number') return ranges;
        this.#counters.discards++;
        const done = inTurn(ranges, (range) => method.call(backend, range.offset, range.sizeBytes));
        return (zero ? this.#durable(done, backend) : done) ?? VIRTIO_BLK_S.OK;
      }
      default:
        return VIRTIO_BLK_S.UNSUPP;
    }
  }

  /** Without FLUSH the driver counts on every write to be on the disk when it is done. */
  #durable(written: Promise<void> | void, backend: BlockBackend): Promise<void> | void {
    if (this.accepted(VIRTIO_BLK_F.FLUSH)) return written;
    return written === undefined ? backend.flush() : written.then(() => backend.flush());
  }

  #await(request: BlockRequest, outcome: Promise<void>): void {
    const io = this.#mustIo();
    const { queue, chain } = request;
    const bytes = chain.readableBytes + chain.writableBytes;
    this.#markUnderWay(queue, chain.head, true);
    this.#underWay++;
    this.#underWayBytes += bytes;
    const finish = (status: BlockStatus) => {
      io.schedule(() => {
        this.#underWay--;
        this.#underWayBytes -= bytes;
        this.#finish(request, status);
        if (this.#stalled !== 0) {
          this.serveAgain(this.#stalled);
          this.#stalled = 0;
        }
      });
    };
    outcome.then(
      () => finish(VIRTIO_BLK_S.OK),
      (error: unknown) => {
        this.#report(request, error);
        finish(VIRTIO_BLK_S.IOERR);
      },
    );
  }

  /** A backend's answer has come, perhaps too late: after a reset or a restore nothing may be touched. */
  #finish(request: BlockRequest, status: BlockStatus): void {
    const inTime = request.session === this.#session && request.epoch === this.queue(request.queue).epoch;
    const queue = inTime ? this.openQueue(request.queue) : undefined;
    if (queue === undefined) {
      this.#retire(request);
      return;
    }
    this.#markUnderWay(request.queue, request.chain.head, false);
    if (this.#answer(request, status, queue)) this.publish(queue);
  }

  /** Writes the answer and returns the chain; false after a violation. */
  #answer(request: BlockRequest, status: BlockStatus, queue: Queue): boolean {
    const { type } = request;
    const data = type === VIRTIO_BLK_T.IN || type === VIRTIO_BLK_T.GET_ID ? request.pieces : [];
    const written = request.answer(status, data);
    const { head } = request.chain;
    this.#retire(request);
    if (status === VIRTIO_BLK_S.IOERR) this.#counters.errors++;
    if (written < 0) {
      this.violated('dma');
      return false;
    }
    queue.push(head, written);
    return true;
  }

  #idleRequest(): BlockRequest {
    return this.#idle.pop() ?? new BlockRequest(this.#mustIo().memory);
  }

  #retire(request: BlockRequest): void {
    if (request.type !== VIRTIO_BLK_T.GET_ID) this.#pool.give(request.pieces);
    request.pieces = [];
    this.#idle.push(request);
  }

  #isUnderWay(queue: number, head: number): boolean {
    return (((this.state.underWay[queue * HEAD_WORDS + (head >> 5)] ?? 0) >>> (head & 31)) & 1) !== 0;
  }

  #markUnderWay(queue: number, head: number, on: boolean): void {
    const word = queue * HEAD_WORDS + (head >> 5);
    const bit = 1 << (head & 31);
    const { underWay } = this.state;
    underWay[word] = on ? (underWay[word] ?? 0) | bit : (underWay[word] ?? 0) & ~bit;
  }

  #report(request: BlockRequest, error: unknown): void {
    const names = Object.entries(VIRTIO_BLK_T);
    const name = names.find(([, type]) => type === request.type)?.[0] ?? 'unknown';
    this.#io?.report?.(`${name} at ${request.offset}`, error);
  }

  #mustIo(): BlockIo {
    if (this.#io === undefined) throw new Error(`${this.name}: not the I/O thread's instance`);
    return this.#io;
  }
}

function fits(offset: number, sizeBytes: number, backend: BlockBackend): boolean {
  return sizeBytes % SECTOR_BYTES === 0 && sizeBytes <= REQUEST_BYTES_MAX && offset + sizeBytes <= backend.sizeBytes;
}

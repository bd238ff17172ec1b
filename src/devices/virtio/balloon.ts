/**
 * The memory balloon (virtio 1.2, section 5.5): a guest gives pages back, because it is asked to have less memory (it
 * inflates the balloon with them), or because they are free at the moment (reporting, section 5.5.6.7). What it gave back
 * holds zeros when it uses it again, which it may do without a word.
 *
 *   host: setTarget -> configuration (num_pages) -> driver inflates or deflates -> actual
 *
 * Devices keep no addresses of guest memory from one service to the next, so a page can go at once.
 */
import { array, struct, type View } from '../../base/struct.ts';
import { Chain } from './chain.ts';
import type { Queue } from './queue.ts';
import { virtioFields } from './state.ts';
import { type IoPorts, VirtioDevice, type Wiring } from './virtio-device.ts';

const VIRTIO_ID_BALLOON = 5;
const F = { STATS_VQ: 1, DEFLATE_ON_OOM: 2, REPORTING: 5 } as const;
const QUEUE = { inflate: 0, deflate: 1, stats: 2 } as const;
const QUEUE_SIZE = 128;
/** Of struct virtio_balloon_config: pages that the guest should give back, pages that it has. */
const CONFIG = { target: 0, actual: 4, bytes: 8 } as const;
const PAGE_BYTES = 4096;
/** A driver names so many pages at a time, at most; Linux 256. */
const PAGES_MAX = 4096;
/** Chains of one service; then others have their turn. */
const SERVICE_CHAINS_MAX = 32;
/** Section 5.5.6.4: u16 tag, u64 value, without padding. */
const STATISTIC_BYTES = 10;
const STATISTICS_MAX = 64;

/** Statistics by tag (section 5.5.6.4); sizes are bytes. */
const STATISTICS = 'swapIn swapOut majorFaults minorFaults freeBytes totalBytes availableBytes cacheBytes'.split(' ');
export type BalloonStatistics = Readonly<Record<string, number>>;

const fields = {
  ...virtioFields(4, CONFIG.bytes),
  /** The statistics' buffer that waits to be asked for: its descriptor plus 1. */
  statisticsHead: 'u32',
  statisticsKnown: 'u32',
  statistics: array('u64', STATISTICS.length),
  /** Pages given back so far, by inflation and by reports. */
  inflatedPages: 'u64',
  reportedPages: 'u64',
} as const;
const layout = struct('virtio-balloon', fields);

/** Guest-physical pages of 4 KiB, by number. */
export interface PageRange {
  readonly first: number;
  readonly count: number;
}

export interface BalloonIo extends IoPorts {
  /** The pages' memory is no longer the guest's; what is none is passed over. How many pages that were. */
  giveBack(ranges: readonly PageRange[]): number;
}

export class VirtioBalloon extends VirtioDevice<View<typeof fields>> {
  static readonly layout = layout;
  readonly #io: BalloonIo | undefined;
  readonly #chain: Chain | undefined;
  readonly #scratch = new Uint8Array(PAGES_MAX * 4);

  /** `io` on the I/O thread only. */
  constructor(wiring: Wiring, io?: BalloonIo) {
    super(VIRTIO_ID_BALLOON, layout, layout.view(wiring.block.buffer, wiring.block.at), wiring, io?.memory);
    this.#io = io;
    if (io === undefined) return;
    this.#chain = new Chain(io.memory);
    this.strap();
  }

  protected override strap(): void {
    this.offer(Object.values(F), [QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE]);
  }

  protected override resetState(): void {
    this.setConfig(CONFIG.actual, 4, 0);
    this.state.statisticsHead = 0;
    this.state.statisticsKnown = 0;
  }

  /** The driver says how many pages are in the balloon. */
  override writeConfig(at: number, bytes: number, value: number): boolean {
    if (at !== CONFIG.actual || bytes !== 4) return false;
    this.setConfig(CONFIG.actual, 4, value);
    return true;
  }

  /** Asks the guest to give so many pages back, all told. On the I/O thread, with the lock. */
  setTarget(pages: number): void {
    this.setConfig(CONFIG.target, 4, pages);
    this.configChanged();
  }

  /** Pages that were asked for, and that the balloon has. */
  get target(): number {
    return this.readConfig(CONFIG.target, 4);
  }

  get actual(): number {
    return this.readConfig(CONFIG.actual, 4);
  }

  /** What the guest last said of its memory; it is asked for it anew by `askStatistics`. */
  get statistics(): BalloonStatistics {
    const { statistics, statisticsKnown } = this.state;
    const known = STATISTICS.map((name, tag) => [name, Number(statistics[tag])] as const);
    return Object.fromEntries(known.filter((_, tag) => ((statisticsKnown >>> tag) & 1) !== 0));
  }

  /** On the I/O thread, with the lock. */
  askStatistics(): void {
    const queue = this.state.statisticsHead === 0 ? undefined : this.openQueue(QUEUE.stats);
    if (queue === undefined) return;
    queue.push(this.state.statisticsHead - 1, 0);
    this.state.statisticsHead = 0;
    this.publish(queue);
  }

  protected override queueEnded(index: number): void {
    if (index === QUEUE.stats) this.state.statisticsHead = 0;
  }

  protected override serve(notified: number): void {
    const io = this.#io;
    const chain = this.#chain;
    if (io === undefined || chain === undefined) return;
    const hasStatistics = this.accepted(F.STATS_VQ);
    // Queues of features that were not accepted are left out, and those behind them move up, as drivers number them.
    const reporting = this.accepted(F.REPORTING) ? (hasStatistics ? 3 : 2) : undefined;
    const has = (queue: number): boolean => ((notified >>> queue) & 1) !== 0;
    // What is taken out of the balloon needs nothing: it is there when it is used.
    if (has(QUEUE.deflate)) this.#each(QUEUE.deflate, chain, () => true);
    if (hasStatistics && has(QUEUE.stats)) this.#takeStatistics(chain);
    if (has(QUEUE.inflate)) this.#each(QUEUE.inflate, chain, () => this.#inflated(io, chain));
    if (reporting !== undefined && has(reporting)) this.#each(reporting, chain, () => this.#reported(io, chain));
  }

  /** Serves the queue's chains with `act`, which is false where the driver broke the protocol. */
  #each(index: number, chain: Chain, act: () => boolean): void {
    const queue: Queue | undefined = this.openQueue(index);
    if (queue === undefined) return;
    let chains = 0;
    do {
      for (; chains < SERVICE_CHAINS_MAX && queue.pop(chain); chains++) {
        if (!act()) return;
        queue.push(chain.head, 0);
      }
      this.publish(queue);
      if (chains >= SERVICE_CHAINS_MAX) {
        this.serveAgain(1 << index);
        return;
      }
    } while (queue.arm());
  }

  /** Page numbers, u32 each. */
  #inflated(io: BalloonIo, chain: Chain): boolean {
    const { readableBytes } = chain;
    if (readableBytes % 4 !== 0 || readableBytes > this.#scratch.length) {
      this.violated('chain-format');
      return false;
    }
    const bytes = this.#scratch.subarray(0, readableBytes);
    if (!chain.read(0, bytes)) {
      this.violated('dma');
      return false;
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const ranges: PageRange[] = [];
    for (let at = 0; at < bytes.length; at += 4) ranges.push({ first: view.getUint32(at, true), count: 1 });
    this.state.inflatedPages += BigInt(io.giveBack(ranges));
    return true;
  }

  /** Each buffer is memory that is free. */
  #reported(io: BalloonIo, chain: Chain): boolean {
    const ranges: PageRange[] = [];
    for (const { gpa, sizeBytes } of chain.writableBuffers()) {
      const first = Math.ceil(gpa / PAGE_BYTES);
      const count = Math.floor((gpa + sizeBytes) / PAGE_BYTES) - first;
      if (count > 0) ranges.push({ first, count });
    }
    this.state.reportedPages += BigInt(io.giveBack(ranges));
    return true;
  }

  #takeStatistics(chain: Chain): void {
    const queue = this.openQueue(QUEUE.stats);
    if (queue === undefined) return;
    do {
      while (queue.pop(chain)) {
        // One buffer goes to and fro. A driver that gives more gets the earlier one back.
        if (this.state.statisticsHead !== 0) queue.push(this.state.statisticsHead - 1, 0);
        this.state.statisticsHead = 0;
        const bytes = this.#scratch.subarray(0, Math.min(chain.readableBytes, STATISTICS_MAX * STATISTIC_BYTES));
        if (!chain.read(0, bytes)) {
          this.violated('dma');
          return;
        }
        this.#note(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
        this.state.statisticsHead = chain.head + 1;
      }
      this.publish(queue);
    } while (queue.arm());
  }

  #note(view: DataView): void {
    const { state } = this;
    for (let at = 0; at + STATISTIC_BYTES <= view.byteLength; at += STATISTIC_BYTES) {
      const tag = view.getUint16(at, true);
      if (tag >= STATISTICS.length) continue;
      state.statistics[tag] = view.getBigUint64(at + 2, true);
      state.statisticsKnown |= 1 << tag;
    }
  }
}

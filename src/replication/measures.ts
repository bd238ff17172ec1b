/** What replication costs a guest, as planners and people ask: counts, and distributions of the last checkpoints. */
const KEPT = 1024;

export interface Distribution {
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
}

export interface ReplicationMeasures {
  /** Checkpoints that were acknowledged. */
  readonly checkpoints: number;
  /** Pages and bytes of all of them; bytes as they were sent. */
  readonly pages: number;
  readonly bytes: number;
  /** Pages of 4 KiB that the guest writes a second, lately: written again within an epoch, they count once. */
  readonly dirtyPagesPerSecond: number;
  /** Of one checkpoint, lately: pages, bytes sent. */
  readonly pagesEach: Distribution;
  readonly bytesEach: Distribution;
  /** How long the guest stood still, and from there to the acknowledgement, in milliseconds. */
  readonly pauseMs: Distribution;
  readonly ackMs: Distribution;
  /** The most bytes of output and of disk writes that waited at a time; how often the guest had to wait because of them. */
  readonly heldPeakBytes: number;
  readonly stalls: number;
  /** Checkpoints that began before their time, as output waited for them. */
  readonly early: number;
}

/** The last values of something. */
export class Samples {
  readonly #values: number[] = [];
  #next = 0;

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % KEPT;
  }

  distribution(): Distribution {
    const sorted = [...this.#values].sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    return { p50: at(0.5), p99: at(0.99), most: sorted.at(-1) ?? 0 };
  }
}

export class Meter {
  #checkpoints = 0;
  #pages = 0;
  #bytes = 0;
  readonly #pagesEach = new Samples();
  readonly #bytesEach = new Samples();
  readonly #pauses = new Samples();
  readonly #acks = new Samples();
  /** Of the last checkpoints: when, and how many pages. */
  #rate: { readonly atMs: number; readonly pages: number }[] = [];
  stalls = 0;
  early = 0;
  heldPeakBytes = 0;

  checkpoint({
    pages,
    pauseMs,
    atMs,
  }: {
    readonly pages: number;
    readonly pauseMs: number;
    readonly atMs: number;
  }): void {
    this.#pages += pages;
    this.#pagesEach.add(pages);
    this.#pauses.add(pauseMs);
    this.#rate = [...this.#rate.slice(-31), { atMs, pages }];
  }

  acknowledged({ bytes, ackMs }: { readonly bytes: number; readonly ackMs: number }): void {
    this.#checkpoints++;
    this.#bytes += bytes;
    this.#bytesEach.add(bytes);
    this.#acks.add(ackMs);
  }

  report(): ReplicationMeasures {
    const [first] = this.#rate;
    const last = this.#rate.at(-1);
    const overMs = first === undefined || last === undefined ? 0 : last.atMs - first.atMs;
    const pages = this.#rate.slice(1).reduce((sum, one) => sum + one.pages, 0);
    return {
      checkpoints: this.#checkpoints,
      pages: this.#pages,
      bytes: this.#bytes,
      dirtyPagesPerSecond: overMs > 0 ? Math.round((pages * 1000) / overMs) : 0,
      pagesEach: this.#pagesEach.distribution(),
      bytesEach: this.#bytesEach.distribution(),
      pauseMs: this.#pauses.distribution(),
      ackMs: this.#acks.distribution(),
      heldPeakBytes: this.heldPeakBytes,
      stalls: this.stalls,
      early: this.early,
    };
  }
}

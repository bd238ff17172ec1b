/**
 * How fast a guest writes to its memory, and what its checkpoints cost: of one that is replicated, from what its machine tells anyway;
 * of another, watched for a second each minute, for which it stands still twice for some milliseconds.
 */
import type { ReplicationReport } from '../../host/index.ts';
import type { Figures } from './guest-costs.ts';
import type { GuestProcess } from './guest-process.ts';

const PAGE_BYTES = 4096;
/** A guest that has just started does what it does once. */
const FIRST_MS = 20_000;
const EVERY_MS = 60_000;
const WATCHED_MS = 1000;
const ANSWER_MS = 10_000;

export class Measuring {
  readonly #process: GuestProcess;
  readonly #took: (figures: Figures) => void;
  readonly #isHot: () => boolean;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(
    process: GuestProcess,
    isHot: () => boolean,
    took: (figures: Figures) => void,
    times: { readonly firstMs: number; readonly everyMs: number } = { firstMs: FIRST_MS, everyMs: EVERY_MS },
  ) {
    this.#process = process;
    this.#isHot = isHot;
    this.#took = took;
    this.#later(times.firstMs, times.everyMs);
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #later(delayMs: number, everyMs: number): void {
    if (this.#isOver) return;
    this.#timer = setTimeout(() => {
      // One that cannot be watched now is watched the next time.
      void this.#measure()
        .catch(() => {})
        .finally(() => this.#later(everyMs, everyMs));
    }, delayMs);
  }

  async #measure(): Promise<void> {
    if (this.#isHot()) {
      const { measures } = await this.#process.ask((machine) => machine.replication(), ANSWER_MS);
      if (measures !== undefined && !this.#isOver) this.#took(figuresOf(measures));
      return;
    }
    const { pagesPerSecond } = await this.#process.ask((machine) => machine.writeRate(WATCHED_MS), ANSWER_MS);
    if (!this.#isOver) this.#took({ dirtyBytesPerS: pagesPerSecond * PAGE_BYTES });
  }
}

function figuresOf(measures: NonNullable<ReplicationReport['measures']>): Figures {
  const { dirtyPagesPerSecond, pauseMs, pagesEach } = measures;
  return {
    dirtyBytesPerS: dirtyPagesPerSecond * PAGE_BYTES,
    epochMs: pauseMs.p50,
    epochBytes: pagesEach.p50 * PAGE_BYTES,
  };
}

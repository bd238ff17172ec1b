/**
 * Whether small transfers are worth waiting for. They are as long as they come out of the host's page cache; one that took
 * longer waited for a medium, on a thread that has other things to do. A few of those are forgiven, as a thread may just as
 * well have lost its processor for a moment, on a busy host once in a hundred transfers; beyond that no other is risked
 * for a while.
 */

/** Longer than any copy of a MiB takes, shorter than a turn of anything that rotates. */
const FAST_TRANSFER_MS = 0.5;
/** A medium that always makes wait holds the thread up for one transfer in so long. */
const REST_MS = 250;
/** One slow transfer weighs as much as so many fast ones, and so much is forgiven. */
const SLOW_WEIGHT = 8;
const FORGIVEN = 3 * SLOW_WEIGHT;

export class Patience {
  readonly #nowMs: () => number;
  readonly #fastMs: number;
  #restsUntilMs = 0;
  #spent = 0;

  constructor(nowMs: () => number, fastMs: number = FAST_TRANSFER_MS) {
    this.#nowMs = nowMs;
    this.#fastMs = fastMs;
  }

  get isThere(): boolean {
    return this.#restsUntilMs === 0 || this.#nowMs() >= this.#restsUntilMs;
  }

  timed<T>(transfer: () => T): T {
    const beganMs = this.#nowMs();
    try {
      return transfer();
    } finally {
      const endedMs = this.#nowMs();
      const isSlow = endedMs - beganMs > this.#fastMs;
      this.#restsUntilMs = isSlow && this.#spent >= FORGIVEN ? endedMs + REST_MS : 0;
      this.#spent = isSlow ? Math.min(this.#spent + SLOW_WEIGHT, FORGIVEN) : Math.max(this.#spent - 1, 0);
    }
  }
}

/**
 * Whether small transfers are worth waiting for. They are as long as they come out of the host's page cache; one that took
 * longer waited for a medium, on the thread that serves all devices, and for a while no other is risked.
 */

/** Longer than any copy of QUICK_BYTES takes, shorter than a turn of anything that rotates. */
const FAST_MS = 0.5;
/** A medium that always makes wait holds the thread up for one transfer in so long. */
const REST_MS = 250;

export class Patience {
  readonly #nowMs: () => number;
  #restsUntilMs = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
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
      this.#restsUntilMs = endedMs - beganMs > FAST_MS ? endedMs + REST_MS : 0;
    }
  }
}

/**
 * A bucket of tokens for frames that go to many at once (broadcast, multicast, addresses that nobody knows): a storm
 * from one port costs every other port the same, so each port has a rate beyond which its storm is dropped and counted.
 */
export interface StormRate {
  readonly framesPerSecond: number;
  readonly burstFrames: number;
}

/** More than protocols need, and most streams to groups; a loop at line rate is fifty times as much. */
export const STORM_RATE: StormRate = { framesPerSecond: 20_000, burstFrames: 5000 };

export class StormLimit {
  readonly #rate: StormRate;
  #tokens: number;
  #filledMs = 0;

  constructor(rate: StormRate = STORM_RATE) {
    this.#rate = rate;
    this.#tokens = rate.burstFrames;
  }

  /** Whether one more may pass. */
  take(nowMs: number): boolean {
    const gained = ((nowMs - this.#filledMs) * this.#rate.framesPerSecond) / 1000;
    this.#tokens = Math.min(this.#rate.burstFrames, this.#tokens + Math.max(0, gained));
    this.#filledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

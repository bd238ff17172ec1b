/** A clock that a test moves: alarms ring in order as it passes them, and what they start is let run in between. */
import { setImmediate as settle } from 'node:timers/promises';
import type { HeartClock } from './pausable-clock.ts';

export class VirtualClock implements HeartClock {
  #nowMs = 0;
  #alarms: { readonly atMs: number; readonly callback: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const alarm = { atMs: this.#nowMs + delayMs, callback };
    this.#alarms.push(alarm);
    return () => {
      this.#alarms = this.#alarms.filter((one) => one !== alarm);
    };
  }

  /** How many alarms are set. */
  get alarms(): number {
    return this.#alarms.length;
  }

  async pass(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    await settle();
    for (;;) {
      const next = this.#alarms.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#nowMs = next.atMs;
      this.#alarms = this.#alarms.filter((one) => one !== next);
      next.callback();
      await settle();
    }
    this.#nowMs = endMs;
    await settle();
  }
}

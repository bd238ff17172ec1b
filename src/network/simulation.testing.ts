/**
 * A simulated world for tests of the network: a clock that jumps from event to event, chance with a seed, and a
 * link that loses, doubles, delays and reorders frames. The same seed gives the same run.
 */
import type { Clock, FrameOffload, Timer, Timers } from './ports.ts';

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

export class Simulation implements Clock, Timers {
  readonly seed: number;
  #nowMs = 0;
  #order = 0;
  #state: number;
  readonly #events: Event[] = [];

  constructor(seed = 1) {
    this.seed = seed;
    this.#state = (seed ^ 0x9e3779b9) >>> 0;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  /** An unsigned 32-bit number (mulberry32). */
  readonly random = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };

  /** A number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + (this.random() % (high - low + 1));
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.random() < probability * 2 ** 32;
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.random() & 255);
  }

  after(delayMs: number, run: () => void): Timer {
    const event: Event = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run, cancelled: false };
    let index = this.#events.length;
    for (; index > 0; index -= 1) {
      const before = this.#events[index - 1];
      if (before === undefined || before.atMs <= event.atMs) break;
    }
    this.#events.splice(index, 0, event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  /** Runs events until `done` holds or `limitMs` of simulated time have passed; returns whether it holds. */
  until(done: () => boolean, limitMs = 60_000): boolean {
    const endMs = this.#nowMs + limitMs;
    while (!done()) {
      const event = this.#events[0];
      if (event === undefined || event.atMs > endMs) {
        this.#nowMs = endMs;
        return done();
      }
      this.#events.shift();
      this.#nowMs = Math.max(this.#nowMs, event.atMs);
      if (!event.cancelled) event.run();
    }
    return true;
  }

  /** Lets simulated time pass. */
  run(durationMs: number): void {
    this.until(() => false, durationMs);
  }
}

export interface Weather {
  /** Probabilities that a frame is lost, and that it arrives twice. */
  readonly loss: number;
  readonly duplicate: number;
  /** Each frame takes from `minDelayMs` to `maxDelayMs`; a range reorders frames. */
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
}

export const FAIR: Weather = { loss: 0, duplicate: 0, minDelayMs: 0, maxDelayMs: 0 };

/** One direction of a link: frames are copied, and delivered later. */
export function weatheredLink(
  simulation: Simulation,
  weather: Weather,
  deliver: (frame: Uint8Array, offload?: FrameOffload) => void,
) {
  return (frame: Uint8Array, offload?: FrameOffload): void => {
    const copies = simulation.chance(weather.loss) ? 0 : simulation.chance(weather.duplicate) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const copied = frame.slice();
      simulation.after(simulation.between(weather.minDelayMs, weather.maxDelayMs), () => deliver(copied, offload));
    }
  };
}

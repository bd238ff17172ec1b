/**
 * How often each function interrupts, and how long its interrupts take: counters, and the throttle that they feed. Under the
 * interrupt service's lock.
 */
import { countUp, type Words } from '../base/words.ts';
import { type InterruptTable, LATENCY_BUCKETS } from './interrupt-table.ts';

/** So many interrupts of a function in a window, at most. */
export interface ThrottleOptions {
  readonly most: number;
  /** In 100 ns. */
  readonly windowTicks: number;
}

/** 30,000 a second, as machines have it by default (machine/board-config.ts). */
export const DEFAULT_THROTTLE: ThrottleOptions = { most: 300, windowTicks: 100_000 };

/** In 100 ns: a rate is that of the last whole second or more. */
const SECOND = 10_000_000;

export class InterruptMeter {
  readonly #words: Words;
  readonly #table: InterruptTable;
  readonly #throttle: ThrottleOptions;

  constructor(words: Words, table: InterruptTable, throttle: ThrottleOptions) {
    this.#words = words;
    this.#table = table;
    this.#throttle = throttle;
  }

  /** Whether the function may interrupt once more now. `now`, as all times here: in 100 ns, modulo 2^32. */
  admit(row: number, now: number): boolean {
    const { most, windowTicks } = this.#throttle;
    if (elapsed(this.#table.get(row, 'windowAt'), now) >= windowTicks) {
      this.begin(row, now);
    }
    const count = this.#table.get(row, 'windowCount');
    if (count >= most) return false;
    this.#table.set(row, 'windowCount', count + 1);
    return true;
  }

  /** How long until the function's window ends; 0: it has. */
  left(row: number, now: number): number {
    return Math.max(0, this.#throttle.windowTicks - elapsed(this.#table.get(row, 'windowAt'), now));
  }

  /** Its window begins now. */
  begin(row: number, now: number): void {
    this.#table.set(row, 'windowAt', now);
    this.#table.set(row, 'windowCount', 0);
  }

  /** `count` interrupts reached the guest, the oldest noted at `since`, or nobody knows when (0). */
  delivered(row: number, count: number, since: number, now: number): void {
    countUp(this.#words, this.#table.index(row, 'delivered'), count);
    const began = this.#table.get(row, 'rateAt');
    if (elapsed(began, now) >= SECOND) {
      this.#table.set(row, 'rate', perSecond(this.#table.get(row, 'rateCount'), elapsed(began, now)));
      this.#table.set(row, 'rateAt', now);
      this.#table.set(row, 'rateCount', 0);
    }
    this.#words.add(this.#table.index(row, 'rateCount'), count);
    if (since !== 0) this.#words.add(this.#table.index(row, 'latency') + bucketOf(elapsed(since, now)), 1);
  }

  /** Interrupts a second: of the last second or more. */
  rate(row: number, now: number): number {
    const sinceThen = elapsed(this.#table.get(row, 'rateAt'), now);
    if (sinceThen < SECOND) return this.#table.get(row, 'rate');
    return perSecond(this.#table.get(row, 'rateCount'), sinceThen);
  }

  /** Bounds of what half, 99 % and all of its interrupts took, in microseconds; undefined: there were none. */
  latencyUs(row: number): { readonly half: number; readonly most99: number; readonly most: number } | undefined {
    const at = this.#table.index(row, 'latency');
    const buckets = Array.from({ length: LATENCY_BUCKETS }, (_, bucket) => this.#words.load(at + bucket) >>> 0);
    const all = buckets.reduce((sum, count) => sum + count, 0);
    if (all === 0) return undefined;
    const bound = (part: number): number => {
      let [bucket, sum] = [0, buckets[0] ?? 0];
      while (sum < all * part) sum += buckets[++bucket] ?? 0;
      return 2 ** bucket / 10;
    };
    return { half: bound(0.5), most99: bound(0.99), most: bound(1) };
  }
}

/** Threads' clocks differ a little: what would be in the future is now. */
function elapsed(since: number, now: number): number {
  const ticks = (now - since) >>> 0;
  return ticks > 0xf000_0000 ? 0 : ticks;
}

function perSecond(count: number, ticks: number): number {
  return Math.round((count * SECOND) / ticks);
}

/** Bucket n: below 2^n x 100 ns, not below half of it. */
function bucketOf(ticks: number): number {
  return Math.min(32 - Math.clz32(ticks), LATENCY_BUCKETS - 1);
}

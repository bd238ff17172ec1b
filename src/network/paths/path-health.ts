/**
 * What is known of one path, from its carrier and from probes that were answered or not; and how fast a path that failed is
 * trusted again.
 *
 *     down --carrier--> warming (never proved) --answers--> up
 *        \--carrier--> recovering (proved before) --answers, for as long as it is held--> up
 *     warming --grace is over--> silent        up, recovering --probes missed--> silent --answer--> recovering
 *
 * Hysteresis: a path is held in `recovering` for a time that doubles with each failure that followed soon after another, up
 * to a bound, and comes down to its first length when the path stays well (as with the damping of routes, RFC 2439, section
 * 4.4). So a link that flaps is used only where there is no other.
 */
import type { Condition } from './choose.ts';

export interface HealthSettings {
  /** Probes in a row without an answer that make a path silent. */
  readonly misses: number;
  /** How long a path may take to show itself at first: bridges learn, ports come out of blocking. */
  readonly warmUpMs: number;
  /** How long a path must be well after a failure, for the first one. */
  readonly holdMs: number;
  readonly longestHoldMs: number;
  /** Well for so long, a path's earlier failures are forgotten. */
  readonly forgiveMs: number;
}

export const HEALTH_SETTINGS: HealthSettings = {
  misses: 3,
  warmUpMs: 2000,
  holdMs: 500,
  longestHoldMs: 30_000,
  forgiveMs: 60_000,
};

export class PathHealth {
  readonly #settings: HealthSettings;
  #isProbed: boolean;
  #carrier: boolean;
  #isProved = false;
  #wasProved = false;
  #isSilent = false;
  #missed = 0;
  #failures = 0;
  /** Since when nothing was wrong, or it was first looked at. */
  #wellSinceMs: number;
  #isHeld = false;
  #heldUntilMs = 0;

  constructor(settings: HealthSettings, parts: { isProbed: boolean; carrier: boolean; nowMs: number }) {
    this.#settings = settings;
    this.#isProbed = parts.isProbed;
    this.#carrier = parts.carrier;
    this.#wellSinceMs = parts.nowMs;
  }

  get carrier(): boolean {
    return this.#carrier;
  }

  /** Whether a probe was answered since there is a carrier. Before that, misses do not count: time does. */
  get isProved(): boolean {
    return this.#isProved;
  }

  /** Whether one ever was. */
  get wasProved(): boolean {
    return this.#wasProved;
  }

  get missed(): number {
    return this.#missed;
  }

  /** Failures that are not forgotten yet. */
  get failures(): number {
    return this.#failures;
  }

  get condition(): Condition {
    if (!this.#carrier) return 'down';
    if (this.#isSilent) return 'silent';
    if (this.#isHeld) return 'recovering';
    return this.#isProbed && !this.#isProved ? 'warming' : 'up';
  }

  /** When the condition changes by itself; infinity when it does not. */
  get dueMs(): number {
    if (!this.#carrier || this.#isSilent) return Number.POSITIVE_INFINITY;
    if (this.#isProbed && !this.#isProved) return this.#wellSinceMs + this.#settings.warmUpMs;
    return this.#isHeld && this.#missed === 0 ? this.#heldUntilMs : Number.POSITIVE_INFINITY;
  }

  setCarrier(up: boolean, nowMs: number): void {
    if (up === this.#carrier) return;
    if (!up) this.#failed(nowMs);
    this.#carrier = up;
    this.#isSilent = false;
    this.#isProved = false;
    this.#missed = 0;
    this.#wellSinceMs = nowMs;
    if (up) this.#hold(nowMs);
  }

  /** Whether probes judge it: a network of one uplink without hosts to ask has nobody to tell. */
  setProbed(isProbed: boolean, nowMs: number): void {
    if (isProbed === this.#isProbed) return;
    this.#isProbed = isProbed;
    this.#missed = 0;
    this.#wellSinceMs = nowMs;
    if (!isProbed && this.#isSilent) {
      this.#isSilent = false;
      this.#hold(nowMs);
    }
  }

  answered(nowMs: number): void {
    this.#isProved = true;
    this.#wasProved = true;
    this.#missed = 0;
    if (this.#isSilent) {
      this.#isSilent = false;
      this.#wellSinceMs = nowMs;
      if (this.#failures > 0) this.#hold(nowMs);
    }
    this.elapse(nowMs);
  }

  /** Counts; how many in a row make it silent is for `fail` to be called by who judges. */
  missedOne(): number {
    this.#missed += 1;
    return this.#missed;
  }

  /** The path is judged silent. */
  fail(nowMs: number): void {
    if (this.#isSilent) return;
    this.#failed(nowMs);
    this.#isSilent = true;
  }

  /** What time alone changes. */
  elapse(nowMs: number): void {
    if (nowMs < this.dueMs) {
      if (nowMs - this.#wellSinceMs >= this.#settings.forgiveMs && this.condition === 'up') this.#failures = 0;
      return;
    }
    // Never heard of: no failure, so that it is trusted as soon as it answers.
    if (this.#isProbed && !this.#isProved) this.#isSilent = true;
    else this.#isHeld = false;
  }

  #failed(nowMs: number): void {
    if (this.condition === 'up' && nowMs - this.#wellSinceMs >= this.#settings.forgiveMs) this.#failures = 0;
    this.#failures += 1;
    this.#isHeld = false;
    this.#missed = 0;
  }

  #hold(nowMs: number): void {
    const { holdMs, longestHoldMs } = this.#settings;
    if (this.#failures === 0) return;
    this.#isHeld = true;
    this.#heldUntilMs = nowMs + Math.min(longestHoldMs, holdMs * 2 ** Math.min(this.#failures - 1, 20));
  }
}

/**
 * What the host makes of a guest's beats. It asks nothing of the guest and knows no agent: beats come in, time passes on a
 * clock that stands still with the machine, and a state comes out. The masters of a cluster stand on it.
 *
 *   off --set--> never-seen --beat--> alive --lateMs--> late --silentMs--> silent
 *                                       ^----------beat----+---------beat----'
 */
import { assert } from '../../base/assert.ts';
import type { Beat } from './frames.ts';
import type { HeartClock } from './pausable-clock.ts';

export type HeartbeatState = 'off' | 'never-seen' | 'alive' | 'late' | 'silent';

export interface HeartbeatReport {
  readonly state: HeartbeatState;
  /** From one beat to the next; 0 where there are none. */
  readonly intervalMs: number;
  /** Of the last beat. */
  readonly sequence?: number;
  readonly uptimeSeconds?: number;
  readonly load?: number;
  /** How long ago it was heard, not counting what the machine stood still. */
  readonly agoMs?: number;
  /** Beats that were heard, and those that are missing between them. */
  readonly heard: number;
  readonly missed: number;
}

export interface HeartbeatLimits {
  /** Without a beat for so long it is late, and for so long silent. */
  readonly lateMs: number;
  readonly silentMs: number;
}

/** Timers of a loaded host and guest are half a second late together. */
const LEAST = { lateMs: 750, silentMs: 1500 } as const;
const BEATS = { late: 2, silent: 4 } as const;

/** Of beats at that interval, unless somebody knows better. */
export function defaultLimits(intervalMs: number): HeartbeatLimits {
  return {
    lateMs: Math.max(intervalMs * BEATS.late, LEAST.lateMs),
    silentMs: Math.max(intervalMs * BEATS.silent, LEAST.silentMs),
  };
}

/** The guest says which number a beat has, and is not trusted. */
const MOST_MISSED = 1e12;

export class Heartbeat {
  readonly #clock: HeartClock;
  readonly #changed: (state: HeartbeatState, before: HeartbeatState) => void;
  #state: HeartbeatState = 'off';
  #intervalMs = 0;
  #limits: HeartbeatLimits = defaultLimits(0);
  #last: { readonly beat: Beat; readonly atMs: number } | undefined;
  #heard = 0;
  #missed = 0;
  #cancel: (() => void) | undefined;

  /** `changed` is called after each change of state. */
  constructor(clock: HeartClock, changed: (state: HeartbeatState, before: HeartbeatState) => void) {
    this.#clock = clock;
    this.#changed = changed;
  }

  get state(): HeartbeatState {
    return this.#state;
  }

  get intervalMs(): number {
    return this.#intervalMs;
  }

  /** Beats are to come at this interval from now on; 0: none. */
  set(intervalMs: number, limits: HeartbeatLimits = defaultLimits(intervalMs)): void {
    assert(intervalMs >= 0 && limits.lateMs <= limits.silentMs, 'no interval');
    this.#intervalMs = intervalMs;
    this.#limits = limits;
    this.#cancel?.();
    if (intervalMs === 0) {
      this.#last = undefined;
      this.#become('off');
    } else if (this.#state === 'off') {
      this.#become('never-seen');
    } else if (this.#state === 'alive') {
      this.#arm(limits.lateMs, 'late');
    }
  }

  /** The guest has beaten. */
  heard(beat: Beat): void {
    if (this.#state === 'off') return;
    const before = this.#last?.beat.sequence;
    // One that is no later than the last is of an agent that began anew.
    if (before !== undefined && beat.sequence > before)
      this.#missed = Math.min(this.#missed + beat.sequence - before - 1, MOST_MISSED);
    this.#last = { beat, atMs: this.#clock.nowMs() };
    this.#heard += 1;
    this.#cancel?.();
    this.#become('alive');
    this.#arm(this.#limits.lateMs, 'late');
  }

  report(): HeartbeatReport {
    const { beat, atMs } = this.#last ?? {};
    return {
      state: this.#state,
      intervalMs: this.#intervalMs,
      ...(beat === undefined ? {} : { sequence: beat.sequence }),
      ...(beat?.uptimeSeconds === undefined ? {} : { uptimeSeconds: beat.uptimeSeconds }),
      ...(beat?.load === undefined ? {} : { load: beat.load }),
      ...(atMs === undefined ? {} : { agoMs: Math.max(0, Math.round(this.#clock.nowMs() - atMs)) }),
      heard: this.#heard,
      missed: this.#missed,
    };
  }

  #arm(delayMs: number, next: 'late' | 'silent'): void {
    this.#cancel = this.#clock.after(delayMs, () => {
      this.#become(next);
      if (next === 'late') this.#arm(this.#limits.silentMs - this.#limits.lateMs, 'silent');
    });
  }

  #become(state: HeartbeatState): void {
    const before = this.#state;
    if (before === state) return;
    this.#state = state;
    this.#changed(state, before);
  }
}

/**
 * A clock that stands still while a machine does: what is to happen to a guest within a time is to happen within a time in
 * which the guest could do something about it. Whoever pauses it resumes it; it goes when nobody holds it any more.
 */
import type { AgentClock } from './session.ts';

/** Time since whenever, and alarms. */
export interface HeartClock extends AgentClock {
  nowMs(): number;
}

interface Alarm {
  readonly dueMs: number;
  readonly callback: () => void;
  cancel: (() => void) | undefined;
}

export class PausableClock implements HeartClock {
  readonly #clock: HeartClock;
  readonly #alarms = new Set<Alarm>();
  #pauses = 0;
  #stoodMs = 0;
  #pausedAtMs = 0;

  constructor(clock: HeartClock) {
    this.#clock = clock;
  }

  get isPaused(): boolean {
    return this.#pauses > 0;
  }

  /** Milliseconds in which it was not paused. */
  nowMs(): number {
    return (this.isPaused ? this.#pausedAtMs : this.#clock.nowMs()) - this.#stoodMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const alarm: Alarm = { dueMs: this.nowMs() + delayMs, callback, cancel: undefined };
    this.#alarms.add(alarm);
    if (!this.isPaused) this.#arm(alarm);
    return () => {
      alarm.cancel?.();
      this.#alarms.delete(alarm);
    };
  }

  pause(): void {
    this.#pauses += 1;
    if (this.#pauses > 1) return;
    this.#pausedAtMs = this.#clock.nowMs();
    for (const alarm of this.#alarms) {
      alarm.cancel?.();
      alarm.cancel = undefined;
    }
  }

  resume(): void {
    if (this.#pauses === 0) return;
    this.#pauses -= 1;
    if (this.#pauses > 0) return;
    this.#stoodMs += this.#clock.nowMs() - this.#pausedAtMs;
    for (const alarm of this.#alarms) this.#arm(alarm);
  }

  #arm(alarm: Alarm): void {
    alarm.cancel = this.#clock.after(Math.max(0, alarm.dueMs - this.nowMs()), () => {
      this.#alarms.delete(alarm);
      alarm.callback();
    });
  }
}

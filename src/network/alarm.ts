/**
 * A timer that is moved often and fires seldom: a connection's retransmission time is pushed ahead with every
 * acknowledgement. Setting it later costs nothing; the port's timer is left running and, when it fires early, armed
 * again for the rest. Times are the clock port's milliseconds.
 */
import type { Clock, Timer, Timers } from './ports.ts';

export class Alarm {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #fire: () => void;
  #dueMs = Number.POSITIVE_INFINITY;
  #armedMs = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(ports: { readonly clock: Clock; readonly timers: Timers }, fire: () => void) {
    this.#clock = ports.clock;
    this.#timers = ports.timers;
    this.#fire = fire;
  }

  /** When it will fire; infinity when it is not set. */
  get dueMs(): number {
    return this.#dueMs;
  }

  /** Fires once at `dueMs`, whatever was set before; infinity for never. */
  set(dueMs: number): void {
    this.#dueMs = dueMs;
    if (dueMs < this.#armedMs) this.#arm();
  }

  /** Never fires again unless set; releases the port's timer. */
  stop(): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
    this.#armedMs = Number.POSITIVE_INFINITY;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#armedMs = this.#dueMs;
    this.#timer = this.#timers.after(Math.max(0, this.#dueMs - this.#clock.nowMs()), this.#onTimer);
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    this.#armedMs = Number.POSITIVE_INFINITY;
    if (this.#dueMs === Number.POSITIVE_INFINITY) return;
    if (this.#clock.nowMs() < this.#dueMs) {
      this.#arm();
      return;
    }
    this.#dueMs = Number.POSITIVE_INFINITY;
    this.#fire();
  };
}

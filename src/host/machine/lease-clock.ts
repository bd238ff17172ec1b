/**
 * The host's boot clock (host/cluster/boot-clock.ts) for who asks before each frame: its file is read once a millisecond, and in
 * between it is told by the monotonic clock, which goes on while the process is stopped. So all that is late by more than a
 * millisecond of running time is seen, for 50 to 120 ns a call (measured): only where the host was suspended within the last one is it not.
 */
import { BootClock } from '../cluster/boot-clock.ts';
import type { LeasePorts } from './machine-lease.ts';

const LOOK_AGAIN_MS = 1;

export class LeaseClock {
  readonly #clock: BootClock;
  #lookedMs = Number.NEGATIVE_INFINITY;
  /** Boot time less this thread's own. */
  #aheadMs = 0;

  /** As BootClock has it. */
  constructor(suspendedMs?: number) {
    this.#clock = new BootClock(suspendedMs);
  }

  nowMs(): number {
    const ownMs = performance.now();
    if (ownMs - this.#lookedMs >= LOOK_AGAIN_MS) {
      this.#aheadMs = this.#clock.nowMs() - ownMs;
      this.#lookedMs = ownMs;
    }
    return ownMs + this.#aheadMs;
  }

  get suspendedMs(): number {
    return this.#clock.suspendedMs;
  }
}

let shared: LeaseClock | undefined;

/** This thread's, for all of its machines. Made at the first call, which takes up to 20 ms. */
export function leaseClock(): LeaseClock {
  shared ??= new LeaseClock();
  return shared;
}

/** For a machine's lease. Its timers do not keep the process alive. */
export const leasePorts: LeasePorts = {
  clock: leaseClock,
  after: (delayMs, act) => {
    const timer = setTimeout(act, Math.ceil(delayMs)).unref();
    return () => clearTimeout(timer);
  },
};

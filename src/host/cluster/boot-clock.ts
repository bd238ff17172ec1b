/**
 * Milliseconds since the host's boot, time in which it was suspended included (CLOCK_BOOTTIME): they never go back, no
 * setting of the time of day moves them, and all processes of the host see the same, to a fraction of a millisecond. Node
 * has no door to that clock; /proc/uptime shows it, cut off to hundredths of a second, and takes 4 us to read.
 */
import { openSync, readSync } from 'node:fs';

/** /proc/uptime moves so often. */
const TICK_MS = 10;

export class BootClock {
  readonly #file = openSync('/proc/uptime', 'r');
  readonly #bytes = Buffer.alloc(64);
  #suspendedMs: number;

  /** `suspendedMs`: what another thread of the process knows; without, finding it out takes two ticks. */
  constructor(suspendedMs = Number.NEGATIVE_INFINITY) {
    this.#suspendedMs = suspendedMs;
    if (suspendedMs > Number.NEGATIVE_INFINITY) return;
    // What is cut off is least right behind a tick: one is waited for, awake.
    const end = this.#look() + 2 * TICK_MS;
    while (this.#look() < end);
  }

  nowMs(): number {
    return this.#look() + this.#suspendedMs;
  }

  /** Boot time less Node's monotonic time, which stands still while the host is suspended. */
  get suspendedMs(): number {
    return this.#suspendedMs;
  }

  /** Monotonic milliseconds; the difference becomes the largest that was seen. */
  #look(): number {
    const length = readSync(this.#file, this.#bytes, 0, this.#bytes.length, 0);
    const uptimeMs = Number.parseFloat(this.#bytes.toString('latin1', 0, length)) * 1000;
    const monotonicMs = Number(process.hrtime.bigint()) / 1e6;
    this.#suspendedMs = Math.max(this.#suspendedMs, uptimeMs - monotonicMs);
    return monotonicMs;
  }
}

/**
 * Deadlines on their way to machines. Of one machine the latest counts: while it does not answer, what comes is not queued, or one that
 * was stopped would get hundreds of old ones.
 */
import type { GuestProcess } from './guest-process.ts';

/** Within so long a machine that runs has answered; then the next is sent all the same. */
const ANSWER_MS = 2000;

export class Grants {
  readonly #process: GuestProcess;
  readonly incarnation: number;
  #sentMs = Number.NEGATIVE_INFINITY;
  #wantedMs = Number.NEGATIVE_INFINITY;
  #isSending = false;

  /** `startedMs`: the deadline that the machine has already. */
  constructor(process: GuestProcess, incarnation: number, startedMs: number) {
    this.#process = process;
    this.incarnation = incarnation;
    this.#sentMs = startedMs;
  }

  /** Only later ones count. */
  grant(deadlineMs: number): void {
    this.#wantedMs = Math.max(this.#wantedMs, deadlineMs);
    if (!this.#isSending) void this.#send();
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    while (this.#wantedMs > this.#sentMs) {
      const { incarnation } = this;
      const deadlineMs = this.#wantedMs;
      this.#sentMs = deadlineMs;
      // One that is refused, or that nobody hears, is no matter: the machine stops its guest by itself.
      await this.#process.ask((machine) => machine.lease({ incarnation, deadlineMs }), ANSWER_MS).catch(() => {});
    }
    this.#isSending = false;
  }
}

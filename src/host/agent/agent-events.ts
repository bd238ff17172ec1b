/**
 * What happened to a guest as its agent tells: it answered, its heart changed, its health did. Numbered, so that whoever
 * comes again asks for what is behind the last that it knows; and who finds nothing new may wait for it.
 */
import type { HeartClock } from './pausable-clock.ts';

export interface AgentEvent {
  /** From 1. */
  readonly number: number;
  /** ISO 8601. */
  readonly at: string;
  readonly kind: 'agent' | 'heartbeat' | 'health' | 'freeze';
  readonly from: string;
  readonly to: string;
}

const MOST_EVENTS = 1000;

export class AgentEvents {
  readonly #clock: HeartClock;
  readonly #wallMs: () => number;
  #events: AgentEvent[] = [];
  #next = 1;
  #waiting = new Set<() => void>();

  /** `clock`: for who waits, so it does not stand still with the machine. */
  constructor(clock: HeartClock, wallMs: () => number) {
    this.#clock = clock;
    this.#wallMs = wallMs;
  }

  push(kind: AgentEvent['kind'], from: string, to: string): void {
    const at = new Date(this.#wallMs()).toISOString();
    this.#events = [...this.#events, { number: this.#next, at, kind, from, to }].slice(-MOST_EVENTS);
    this.#next += 1;
    for (const wake of this.#waiting) wake();
  }

  /** Those behind the one of that number; if there are none, as soon as there is one, or after `waitMs`. */
  async since(number: number, waitMs = 0, signal?: AbortSignal): Promise<readonly AgentEvent[]> {
    const newer = (): readonly AgentEvent[] => this.#events.filter((event) => event.number > number);
    if (waitMs > 0 && newer().length === 0) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          cancel();
          this.#waiting.delete(done);
          signal?.removeEventListener('abort', done);
          resolve();
        };
        const cancel = this.#clock.after(waitMs, done);
        this.#waiting.add(done);
        signal?.addEventListener('abort', done, { once: true });
        if (signal?.aborted) done();
      });
    }
    return newer();
  }

  /** Nothing happens any more: whoever waits goes on. */
  close(): void {
    for (const wake of this.#waiting) wake();
  }
}

/** Polls the counters of the partition that somebody looks at, and keeps them while the tab lives. */
import type { Client, Stats } from '../client/index.ts';
import { History, type Sample, sampleOf } from './model/figures.ts';

const POLL_MS = 1000;

export interface Poll {
  readonly stats: Stats;
  readonly samples: readonly Sample[];
}

export class Recorder {
  readonly #client: Client;
  readonly #histories = new Map<string, History>();

  constructor(client: Client) {
    this.#client = client;
  }

  /** Calls `show` after each poll until `signal` aborts. What does not run has no counters: then nothing is called. */
  follow(name: string, signal: AbortSignal, show: (poll: Poll) => void): void {
    const kept = this.#histories.get(name) ?? new History();
    this.#histories.set(name, kept);
    every(POLL_MS, signal, async () => {
      const stats = await this.#client.getStats(name, { signal });
      kept.push(sampleOf(stats, performance.now()));
      if (!signal.aborted) show({ stats, samples: kept.samples });
    });
  }
}

/** One after the other, and not while nobody sees the tab. What fails is tried again. */
export function every(periodMs: number, signal: AbortSignal, work: () => Promise<void>): void {
  const turn = async (): Promise<void> => {
    if (signal.aborted) return;
    if (!document.hidden) await work().catch(() => {});
    if (!signal.aborted) setTimeout(turn, periodMs);
  };
  void turn();
}

/** Polls the cluster while somebody looks at it, and keeps what its heartbeats counted while the tab lives. */
import { ApiError, type Client } from '../client/index.ts';
import { clusterSample } from './model/cluster/figures.ts';
import type { ClusterReport } from './model/cluster/report.ts';
import { History, type Sample } from './model/figures.ts';
import { every } from './recorder.ts';

const POLL_MS = 1000;

export interface ClusterPoll {
  readonly report: ClusterReport;
  readonly samples: readonly Sample[];
}

export class ClusterRecorder {
  readonly #client: Client;
  readonly #history = new History();

  constructor(client: Client) {
    this.#client = client;
  }

  /** Calls `show` after each poll until `signal` aborts; undefined: the daemon is in no cluster. */
  follow(signal: AbortSignal, show: (poll: ClusterPoll | undefined) => void): void {
    every(POLL_MS, signal, async () => {
      const poll = await this.#poll(signal);
      if (!signal.aborted) show(poll);
    });
  }

  async #poll(signal: AbortSignal): Promise<ClusterPoll | undefined> {
    try {
      const report = await this.#client.getCluster({ signal });
      this.#history.push(clusterSample(report, performance.now()));
      return { report, samples: this.#history.samples };
    } catch (error) {
      if (error instanceof ApiError && error.code === 'no-cluster') return undefined;
      throw error;
    }
  }
}

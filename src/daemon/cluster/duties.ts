/** Where the checkpoints of a guest that runs here go: to hosts that keep a hot standby, or a warm one. */
import type { Method } from '../../cluster/index.ts';
import type { ReplicaRecord } from './guest-records.ts';
import { HotReplication, type HotReplicationParts } from './hot-replication.ts';
import { WarmReplication, type WarmReplicationParts } from './warm-replication.ts';

export class Duties {
  readonly hot: HotReplication;
  readonly #warm: WarmReplication;

  /** `replica`: what was written down of a machine that was found. */
  constructor(parts: HotReplicationParts & WarmReplicationParts, replica?: ReplicaRecord) {
    this.hot = new HotReplication(parts, replica);
    this.#warm = new WarmReplication(parts);
  }

  /** Undefined: no more. In a pair nothing goes from one to the other. */
  set(host: string, how: { readonly method: Method; readonly everyMs: number } | undefined): void {
    if (how?.method === 'hot') this.hot.want(host, how.everyMs);
    else this.hot.unwant(host);
    if (how?.method === 'warm') this.#warm.want(host, how.everyMs);
    else this.#warm.unwant(host);
  }

  /** Those of a machine that is gone, for the one that takes its place. */
  moveTo(other: Duties): void {
    for (const [host, everyMs] of this.hot.wanted) other.hot.want(host, everyMs);
    for (const [host, everyMs] of this.#warm.wanted) other.#warm.want(host, everyMs);
  }

  close(): void {
    this.hot.close();
    this.#warm.close();
  }
}

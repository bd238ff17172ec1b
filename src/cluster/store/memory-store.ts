/** A store in memory that always works: for one process, for tests, and the example of what the interface means. */
import type { Timers } from '../ports.ts';
import type {
  ClusterStore,
  CommitOutcome,
  Query,
  ReadOutcome,
  Transaction,
  Watch,
  WatchEvent,
} from './cluster-store.ts';
import { MemoryState } from './memory-state.ts';

export class MemoryStore implements ClusterStore {
  readonly state: MemoryState;
  readonly #timers: Timers;

  /** Several stores over one state are one store, as clients of one server are. */
  constructor(timers: Timers, state = new MemoryState()) {
    this.#timers = timers;
    this.state = state;
  }

  read(query: Query, _deadlineMs: number, done: (outcome: ReadOutcome) => void): void {
    this.#timers.after(0, () => done(this.state.read(query)));
  }

  commit(transaction: Transaction, _deadlineMs: number, done: (outcome: CommitOutcome) => void): void {
    this.#timers.after(0, () => {
      const revision = this.state.commit(transaction);
      done(revision === undefined ? { kind: 'conflict' } : { kind: 'committed', revision });
    });
  }

  watch(prefix: string, revision: number, on: (event: WatchEvent) => void): Watch {
    let isCancelled = false;
    const inner = this.state.watch(prefix, revision, (event) =>
      this.#timers.after(0, () => {
        if (!isCancelled) on(event);
      }),
    );
    return {
      cancel: () => {
        isCancelled = true;
        inner.cancel();
      },
    };
  }
}

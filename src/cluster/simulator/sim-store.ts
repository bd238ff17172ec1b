/**
 * The store as each host meets it: one state behind a network that delays, loses and cuts, with outages (no quorum), in which
 * requests get no answer, and writes that were given up may be committed when it is back, seconds later.
 */
import type {
  ClusterStore,
  CommitOutcome,
  Query,
  ReadOutcome,
  StoreEntry,
  Transaction,
  Watch,
  WatchEvent,
} from '../store/cluster-store.ts';
import { MemoryState } from '../store/memory-state.ts';
import type { EventQueue } from './event-queue.ts';
import type { Process } from './process.ts';
import type { Random } from './random.ts';
import type { Rule } from './rules.ts';

/** How long a replica that is asked instead is behind, with the rule broken. */
const STALE_MS = 3500;
const LATEST_COMMIT_MS = 9000;

export interface StoreWorld {
  readonly queue: EventQueue;
  readonly random: Random;
  readonly broken: Rule | undefined;
}

export class SimStoreServer {
  readonly state = new MemoryState();
  readonly #stale = new MemoryState();
  readonly #world: StoreWorld;
  /** Called for what is committed, with the entries before it. */
  onCommit: (transaction: Transaction, before: MemoryState) => void = () => undefined;
  /** No quorum. */
  isDown = false;
  commits = 0;
  reads = 0;

  constructor(world: StoreWorld) {
    this.#world = world;
  }

  get readState(): MemoryState {
    return this.#world.broken === 'stale-reads' ? this.#stale : this.state;
  }

  /** All that starts with this, as it truly is. */
  read(prefix: string): readonly StoreEntry[] {
    const outcome = this.state.read({ prefixes: [prefix] });
    return outcome.kind === 'read' ? outcome.entries : [];
  }

  commit(transaction: Transaction): CommitOutcome {
    const { broken, queue } = this.#world;
    const compares = broken === 'compares' ? [] : transaction.compares;
    const isRefused = compares.some(({ key, revision }) => (this.state.get(key)?.revision ?? 0) !== revision);
    if (isRefused) return { kind: 'conflict' };
    this.onCommit(transaction, this.state);
    const revision = this.state.commit({ ...transaction, compares }) ?? 0;
    this.commits += 1;
    if (broken === 'stale-reads') queue.after(STALE_MS, () => this.#stale.commit({ ...transaction, compares: [] }));
    return { kind: 'committed', revision };
  }
}

/** The connection of one host's daemon. */
export class SimStore implements ClusterStore {
  readonly #world: StoreWorld;
  readonly #server: SimStoreServer;
  readonly #process: Process;
  /** Timers of the daemon, by its host's clock. */
  readonly #after: (delayMs: number, run: () => void) => unknown;
  readonly #isCut: () => boolean;

  constructor(
    world: StoreWorld,
    server: SimStoreServer,
    process: Process,
    after: (delayMs: number, run: () => void) => unknown,
    isCut: () => boolean,
  ) {
    this.#world = world;
    this.#server = server;
    this.#process = process;
    this.#after = after;
    this.#isCut = isCut;
  }

  read(query: Query, deadlineMs: number, done: (outcome: ReadOutcome) => void): void {
    const answer = this.#once<ReadOutcome>(deadlineMs, done, () => ({ kind: 'failed', reason: 'no answer' }));
    this.#travel(() => {
      if (this.#server.isDown) return;
      this.#server.reads += 1;
      const outcome = this.#server.readState.read(query);
      this.#travel(() => answer(outcome));
    });
  }

  commit(transaction: Transaction, deadlineMs: number, done: (outcome: CommitOutcome) => void): void {
    const answer = this.#once<CommitOutcome>(deadlineMs, done, () => this.#noAnswer());
    this.#travel(() => this.#arrive(transaction, answer));
  }

  watch(prefix: string, revision: number, on: (event: WatchEvent) => void): Watch {
    let isOver = false;
    let inner: Watch | undefined;
    const lose = (): void => {
      if (isOver) return;
      isOver = true;
      inner?.cancel();
      this.#whenBack(() => on({ kind: 'lost', reason: 'disconnected' }));
    };
    inner = this.#server.readState.watch(prefix, revision, (event) => {
      if (isOver) return;
      if (this.#isCut()) {
        lose();
        return;
      }
      this.#world.queue.after(this.#delayMs(), () => {
        if (this.#isCut()) lose();
        else
          this.#process.run(() => {
            if (!isOver) on(event);
          });
      });
    });
    if (isOver) inner.cancel();
    return {
      cancel: () => {
        isOver = true;
        inner?.cancel();
      },
    };
  }

  #whenBack(run: () => void): void {
    this.#world.queue.after(1000, () => {
      if (this.#isCut()) this.#whenBack(run);
      else this.#process.run(run);
    });
  }

  #arrive(transaction: Transaction, answer: (outcome: CommitOutcome) => void): void {
    const { queue, random } = this.#world;
    if (!this.#server.isDown) {
      const outcome = this.#server.commit(transaction);
      this.#travel(() => answer(outcome));
      return;
    }
    // It waits in the old leader's log: committed once there is a quorum again, or never.
    if (random.chance(0.5)) return;
    const late = (): void => {
      if (this.#server.isDown) queue.after(random.between(50, 1000), late);
      else this.#server.commit(transaction);
    };
    queue.after(random.between(0, LATEST_COMMIT_MS), late);
  }

  #noAnswer(): CommitOutcome {
    if (this.#world.broken === 'unknown-outcome') return { kind: 'committed', revision: this.#server.state.revision };
    return { kind: 'unknown', reason: 'no answer' };
  }

  /** One way between host and store; lost where it is cut. */
  #travel(then: () => void): void {
    if (this.#isCut()) return;
    this.#world.queue.after(this.#delayMs(), () => {
      if (!this.#isCut()) then();
    });
  }

  #delayMs(): number {
    const { random } = this.#world;
    return random.chance(0.01) ? random.between(20, 400) : random.between(0.5, 5);
  }

  #once<T>(deadlineMs: number, done: (outcome: T) => void, late: () => T): (outcome: T) => void {
    let isDone = false;
    const answer = (outcome: T): void => {
      if (isDone) return;
      isDone = true;
      done(outcome);
    };
    this.#after(deadlineMs, () => {
      if (!isDone) answer(late());
    });
    return (outcome) => this.#process.run(() => answer(outcome));
  }
}

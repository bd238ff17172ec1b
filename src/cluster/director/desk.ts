/**
 * What all parts of a director work with: identity, settings, time and the store, on behalf of one life of the daemon. When that
 * is over, no answer and no timer reaches anybody.
 */
import type { HostIdentity } from '../membership/membership.ts';
import type { Chance, Clock, Timer, Timers } from '../ports.ts';
import type { Settings } from '../settings.ts';
import type {
  ClusterStore,
  CommitOutcome,
  Query,
  ReadOutcome,
  Transaction,
  Watch,
  WatchEvent,
} from '../store/cluster-store.ts';

export interface DeskPorts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly chance: Chance;
  readonly store: ClusterStore;
}

export type ClusterEvent =
  | { readonly kind: 'joined' | 'adopted'; readonly incarnation: number; readonly quarantined: boolean }
  | { readonly kind: 'fenced-self' | 'left' | 'leading' | 'following' }
  | {
      readonly kind: 'suspected' | 'heard-again' | 'fenced' | 'planned';
      readonly host: string;
      readonly guests?: number;
      /** suspected: how long its heartbeats have been missing; fenced: how long its lease stood unchanged. */
      readonly silentMs?: number;
    }
  | {
      readonly kind: GuestEventKind;
      readonly guest: string;
      readonly generation: number;
      readonly detail?: string;
      /** claimed: the host whose guest it was, by the plan. */
      readonly from?: string;
    };

/** What becomes of a guest on its host, in the order of a takeover: `first-beat` is its slave's, and the end of it. */
type GuestEventKind =
  | 'claimed'
  | 'gate-raised'
  | 'starting'
  | 'started'
  | 'first-beat'
  | 'start-failed'
  | 'stopped'
  | 'released'
  | 'reacted';

export class Desk implements ClusterStore, Timers {
  readonly self: HostIdentity;
  readonly settings: Settings;
  readonly chance: Chance;
  readonly #ports: DeskPorts;
  readonly #tell: (event: ClusterEvent) => void;
  readonly #watches = new Set<Watch>();
  isOver = false;

  constructor(self: HostIdentity, settings: Settings, ports: DeskPorts, tell: (event: ClusterEvent) => void) {
    this.self = self;
    this.settings = settings;
    this.chance = ports.chance;
    this.#ports = ports;
    this.#tell = tell;
  }

  get host(): string {
    return this.self.name;
  }

  nowMs(): number {
    return this.#ports.clock.nowMs();
  }

  tell(event: ClusterEvent): void {
    if (!this.isOver) this.#tell(event);
  }

  after(delayMs: number, run: () => void): Timer {
    return this.#ports.timers.after(delayMs, () => {
      if (!this.isOver) run();
    });
  }

  read(query: Query, deadlineMs: number, done: (outcome: ReadOutcome) => void): void {
    this.#ports.store.read(query, deadlineMs, (outcome) => {
      if (!this.isOver) done(outcome);
    });
  }

  commit(transaction: Transaction, deadlineMs: number, done: (outcome: CommitOutcome) => void): void {
    this.#ports.store.commit(transaction, deadlineMs, (outcome) => {
      if (!this.isOver) done(outcome);
    });
  }

  watch(prefix: string, revision: number, on: (event: WatchEvent) => void): Watch {
    const inner = this.#ports.store.watch(prefix, revision, (event) => {
      if (!this.isOver) on(event);
    });
    const watch = {
      cancel: () => {
        inner.cancel();
        this.#watches.delete(watch);
      },
    };
    this.#watches.add(watch);
    return watch;
  }

  /** The end of this life. */
  close(): void {
    this.isOver = true;
    for (const watch of [...this.#watches]) watch.cancel();
  }
}

/**
 * What one host at a time does for all: plans takeovers, places standbys, tells hosts their duties, lets hosts out of
 * quarantine. It looks at what there is and moves it towards what should be; so a new leader needs to know nothing of
 * the one before. Each transaction compares the leader's key: who has been replaced changes nothing any more.
 */

import { Flapping } from '../membership/flapping.ts';
import { change } from '../membership/membership.ts';
import type { LeaderRecord } from '../model.ts';
import { MOST_OPERATIONS, type Transaction } from '../store/cluster-store.ts';
import { keyOf, LEADER } from '../store/records.ts';
import type { IsFresh } from './accounts.ts';
import type { Desk } from './desk.ts';
import { planDuties } from './plan-duties.ts';
import { type PlacementMemory, planPlacements } from './plan-placements.ts';
import { planTakeovers } from './plan-takeovers.ts';
import { View } from './view.ts';

type Write = {
  readonly compare: { readonly key: string; readonly revision: number };
  readonly value: string | undefined;
};

/** After a change in the view, so long until it is looked at: changes come in flocks. */
const SETTLE_MS = 10;
const LATER_MS = 300;
/** So long without a place, and a guest is given to a host in quarantine; a question that was not asked for so long is a new one. */
const RESORT_MS = 2000;
const FORGOTTEN_MS = 5000;

export class Leader {
  readonly #desk: Desk;
  readonly record: LeaderRecord;
  readonly #revision: number;
  /** A host whose lease has not been renewed lately gets nothing. */
  readonly #isFresh: IsFresh;
  readonly view: View;
  readonly #flapping: Flapping;
  readonly #memory: PlacementMemory = { thoughts: new Map(), cursor: 0 };
  readonly #onDoubt: () => void;
  /** Guests for which there was no place, since when, and when that was last so. */
  readonly #homeless = new Map<string, { readonly firstMs: number; lastMs: number }>();
  #isBusy = false;
  #lookAtMs = Number.POSITIVE_INFINITY;
  #isClosed = false;
  #placedMs = Number.NEGATIVE_INFINITY;
  /** Placements written, and those that changed what is in force. */
  readonly counters = { plans: 0, placements: 0, conflicts: 0 };

  /** `onDoubt`: a write's outcome is unknown, and it may come late: only another term makes sure that it fails then. */
  constructor(
    desk: Desk,
    { record, revision }: { readonly record: LeaderRecord; readonly revision: number },
    isFresh: IsFresh,
    onDoubt: () => void,
  ) {
    this.#desk = desk;
    this.record = record;
    this.#revision = revision;
    this.#isFresh = isFresh;
    this.#onDoubt = onDoubt;
    this.#flapping = new Flapping(desk.settings);
    this.view = new View(desk, (isUrgent) => this.#soon(isUrgent ? SETTLE_MS : LATER_MS));
    this.#tick();
  }

  close(): void {
    this.#isClosed = true;
    this.view.close();
  }

  #tick(): void {
    if (this.#isClosed) return;
    this.#desk.after(this.#desk.settings.planMs, () => this.#tick());
    this.#soon();
  }

  #soon(inMs = SETTLE_MS): void {
    const atMs = this.#desk.nowMs() + inMs;
    if (this.#lookAtMs <= atMs || this.#isClosed) return;
    this.#lookAtMs = atMs;
    this.#desk.after(inMs, () => {
      // Another look that came sooner has done it.
      if (this.#lookAtMs > atMs) return;
      this.#lookAtMs = Number.POSITIVE_INFINITY;
      this.#look();
    });
  }

  /** One step at a time, the most urgent first; the view's change, or the next tick, brings the next. */
  #look(): void {
    if (this.#isBusy || this.#isClosed || !this.view.isComplete) return;
    const nowMs = this.#desk.nowMs();
    const { settings } = this.#desk;
    const takeovers = planTakeovers(this.view, this.record, settings, this.#isFresh, (guest) =>
      this.#mayResort(guest, nowMs),
    );
    if (takeovers !== undefined) {
      this.counters.plans += 1;
      this.#desk.tell({ kind: 'planned', host: takeovers.source, guests: takeovers.guests });
      this.#write([takeovers.write], takeovers.compares);
      return;
    }
    const host = this.#lookAtHosts(nowMs);
    if (host !== undefined) {
      this.#commit(host);
      return;
    }
    if (nowMs - this.#placedMs >= settings.planMs) {
      const placements = planPlacements(this.view, this.#memory, settings, nowMs, this.#isFresh, MOST_OPERATIONS - 1);
      if (placements.length < MOST_OPERATIONS - 1) this.#placedMs = nowMs;
      if (placements.length > 0) {
        this.counters.placements += placements.length;
        this.#write(placements);
        return;
      }
    }
    const duties = planDuties(this.view, MOST_OPERATIONS - 1);
    if (duties.length > 0) this.#write(duties);
  }

  /** A host that has just come back may take it: one in quarantine is asked after a while. */
  #mayResort(guest: string, nowMs: number): boolean {
    const since = this.#homeless.get(guest);
    if (since === undefined || nowMs - since.lastMs > FORGOTTEN_MS) {
      this.#homeless.set(guest, { firstMs: nowMs, lastMs: nowMs });
      return false;
    }
    since.lastMs = nowMs;
    return nowMs - since.firstMs >= RESORT_MS;
  }

  #lookAtHosts(nowMs: number): Transaction | undefined {
    for (const { value, revision } of this.view.hosts.values()) {
      const to = value === undefined ? undefined : this.#flapping.look(value, nowMs);
      if (value !== undefined && to !== undefined) return change({ value, revision }, to);
    }
    return undefined;
  }

  #write(writes: readonly Write[], compares: readonly { key: string; revision: number }[] = []): void {
    this.#commit({
      compares: [...writes.map(({ compare }) => compare), ...compares],
      puts: writes.flatMap(({ compare: { key }, value }) => (value === undefined ? [] : [{ key, value }])),
      deletes: writes.flatMap(({ compare: { key }, value }) => (value === undefined ? [key] : [])),
    });
  }

  #commit(transaction: Transaction): void {
    this.#isBusy = true;
    const compares = [{ key: keyOf(LEADER), revision: this.#revision }, ...transaction.compares];
    this.#desk.commit({ ...transaction, compares }, this.#desk.settings.requestMs, (outcome) => {
      this.#isBusy = false;
      if (this.#isClosed) return;
      if (outcome.kind === 'committed') {
        this.view.wrote(transaction, outcome.revision);
        this.#soon();
      } else if (outcome.kind === 'conflict') {
        this.counters.conflicts += 1;
        this.view.doubt();
      } else this.#onDoubt();
    });
  }
}

export type { Write };

/**
 * Who leads, and who takes an expired lease away. There is a leader as long as its host is in; who fences the leader's host
 * leads from then on, by the same transaction, so that no time is lost between.
 */
import { fence } from '../membership/membership.ts';
import type { LeaderRecord } from '../model.ts';
import { type Found, find, HOST, keyOf, LEADER, LEASE, put } from '../store/records.ts';
import type { IsFresh } from './accounts.ts';
import type { Desk } from './desk.ts';
import { Leader } from './leader.ts';

export interface LeadershipView {
  readonly isIn: boolean;
  readonly incarnation: number;
  /** A host whose lease was renewed lately. */
  readonly isFresh: IsFresh;
  /** For how long the lease of that incarnation has stood unchanged before this host's eyes. */
  unchangedMs(host: string, incarnation: number): number;
  /** It leads from now on, or does not any more. */
  changed(): void;
}

export class Leadership {
  readonly #desk: Desk;
  readonly #view: LeadershipView;
  readonly #fencing = new Set<string>();
  #isTaking = false;
  /** Undefined while another host leads. */
  leader: Leader | undefined;

  constructor(desk: Desk, view: LeadershipView) {
    this.#desk = desk;
    this.#view = view;
  }

  /** By what was read: `isLeaderIn` undefined when that was not among it. */
  consider({ value, revision }: Found<LeaderRecord>, isLeaderIn: boolean | undefined, mayLead: boolean): void {
    const isSelf = value?.host === this.#desk.host && value.incarnation === this.#view.incarnation;
    if (this.leader !== undefined) {
      // An older term was read before this one began.
      if (value !== undefined && value.term > this.leader.record.term) this.follow();
      return;
    }
    if (this.#isTaking || !mayLead) return;
    if (isSelf || isLeaderIn === false) this.#take(value, revision, isSelf ? 0 : 200 * this.#desk.chance());
  }

  follow(): void {
    if (this.leader === undefined) return;
    this.leader.close();
    this.leader = undefined;
    this.#desk.tell({ kind: 'following' });
    this.#view.changed();
  }

  /** Takes that lease away, if it still has the revision that was seen to expire. */
  fence(host: string, revision: number): void {
    if (!this.#view.isIn || this.#fencing.has(host)) return;
    this.#fencing.add(host);
    const end = (): void => void this.#desk.after(this.#desk.settings.readMs, () => this.#fencing.delete(host));
    const keys = [keyOf(LEASE, host), keyOf(HOST, host), keyOf(LEADER)];
    this.#desk.read({ keys }, this.#desk.settings.requestMs, (outcome) => {
      const lease = outcome.kind === 'read' ? find(outcome.entries, LEASE, host) : undefined;
      if (outcome.kind === 'failed' || lease?.value === undefined || lease.revision !== revision || !this.#view.isIn) {
        end();
        return;
      }
      const leader = find(outcome.entries, LEADER);
      const seenMs = this.#desk.nowMs() - this.#view.unchangedMs(host, lease.value.incarnation);
      const transaction = fence(host, { value: lease.value, revision }, find(outcome.entries, HOST, host));
      const succession = leader.value?.host === host ? this.#record(leader.value) : undefined;
      const puts = [...(transaction.puts ?? [])];
      const compares = [...transaction.compares];
      if (succession !== undefined) {
        puts.push(put(LEADER, '', succession));
        compares.push({ key: keyOf(LEADER), revision: leader.revision });
      }
      this.#desk.commit({ compares, puts }, this.#desk.settings.requestMs, (committed) => {
        end();
        if (committed.kind !== 'committed') return;
        this.#desk.tell({ kind: 'fenced', host, silentMs: Math.round(this.#desk.nowMs() - seenMs) });
        if (succession !== undefined) this.#lead(succession, committed.revision);
      });
    });
  }

  #take(value: LeaderRecord | undefined, revision: number, delayMs: number): void {
    this.#isTaking = true;
    this.#desk.after(delayMs, () => {
      const record = this.#record(value);
      const transaction = { compares: [{ key: keyOf(LEADER), revision }], puts: [put(LEADER, '', record)] };
      this.#desk.commit(transaction, this.#desk.settings.requestMs, (outcome) => {
        this.#isTaking = false;
        if (outcome.kind === 'committed') this.#lead(record, outcome.revision);
      });
    });
  }

  #record(before: LeaderRecord | undefined): LeaderRecord {
    return { host: this.#desk.host, incarnation: this.#view.incarnation, term: (before?.term ?? 0) + 1 };
  }

  #lead(record: LeaderRecord, revision: number): void {
    this.leader?.close();
    this.leader = undefined;
    if (!this.#view.isIn || record.incarnation !== this.#view.incarnation) return;
    this.#desk.tell({ kind: 'leading' });
    this.leader = new Leader(this.#desk, { record, revision }, this.#view.isFresh, () => this.follow());
    this.#view.changed();
  }
}

/**
 * The holder's side of a host's lease. It is a key that the host rewrites by compare-and-swap; the deadline until which the
 * host may act counts from the moment before the last confirmed renewal was sent, on the host's own clock:
 *
 *     send renewal n ........ confirmed        send n+1 .... no answer
 *     |<------------- leaseMs ------------->| here the host's machines have paused themselves
 *
 * A renewal whose outcome is unknown proves nothing until the key is read and shows it.
 */

import type { LeaseRecord } from '../model.ts';
import type { Clock, Timer, Timers } from '../ports.ts';
import type { Settings } from '../settings.ts';
import type { ClusterStore } from '../store/cluster-store.ts';
import { find, keyOf, LEASE, put } from '../store/records.ts';
import { DEADLINE, type LeaseEnd } from './lease-end.ts';

export interface LeaseEvents {
  /** A renewal was confirmed: the host may act until then. */
  renewed(deadlineMs: number): void;
  /** It is another's to decide now: fenced, or superseded by another boot or process. No more is done with it. */
  lost(end: LeaseEnd): void;
}

export class HostLease {
  readonly #host: string;
  readonly #settings: Settings;
  readonly #ports: { readonly clock: Clock; readonly timers: Timers; readonly store: ClusterStore };
  readonly #events: LeaseEvents;
  #record: LeaseRecord;
  #revision: number;
  #deadlineMs = DEADLINE.none;
  /**
   * When renewals were sent whose outcome is not known. No two have one number, so that a late one is told from the next: it is the host's
   * time, so that those of the daemon before this one are others, too.
   */
  readonly #sentMs = new Map<number, number>();
  #lastRenewal = 0;
  #timer: Timer | undefined;
  #isOver = false;
  #isBusy = false;
  renewals = 0;
  unknowns = 0;

  /** From the record that the host has just put, or found as its own: `sentMs` when that was sent. */
  constructor(
    host: string,
    from: { readonly record: LeaseRecord; readonly revision: number; readonly sentMs: number | undefined },
    settings: Settings,
    ports: { readonly clock: Clock; readonly timers: Timers; readonly store: ClusterStore },
    events: LeaseEvents,
  ) {
    this.#host = host;
    this.#settings = settings;
    this.#ports = ports;
    this.#events = events;
    this.#record = from.record;
    this.#revision = from.revision;
    if (from.sentMs !== undefined) this.#deadlineMs = from.sentMs + from.record.durationMs;
  }

  /** Until when the host may act; minus infinity: not yet. */
  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  get revision(): number {
    return this.#revision;
  }

  get record(): LeaseRecord {
    return this.#record;
  }

  isHeld(): boolean {
    return !this.#isOver && this.#ports.clock.nowMs() < this.#deadlineMs;
  }

  start(): void {
    this.#renew();
  }

  stop(): void {
    this.#isOver = true;
    this.#timer?.cancel();
  }

  #renew(): void {
    if (this.#isOver) return;
    this.#timer?.cancel();
    this.#timer = this.#ports.timers.after(this.#settings.renewMs, () => this.#renew());
    if (this.#isBusy) return;
    this.#isBusy = true;
    const sentMs = this.#ports.clock.nowMs();
    this.#lastRenewal = Math.max(this.#lastRenewal + 1, this.#record.renewal + 1, Math.floor(sentMs));
    const record = { ...this.#record, renewal: this.#lastRenewal };
    this.#sentMs.set(record.renewal, sentMs);
    const transaction = {
      compares: [{ key: keyOf(LEASE, this.#host), revision: this.#revision }],
      puts: [put(LEASE, this.#host, record)],
    };
    this.#ports.store.commit(transaction, this.#settings.requestMs, (outcome) => {
      this.#isBusy = false;
      if (this.#isOver) return;
      if (outcome.kind === 'committed') {
        this.#confirm(record, outcome.revision, sentMs);
        return;
      }
      if (outcome.kind === 'unknown') this.unknowns += 1;
      this.#look();
    });
  }

  /** Somebody else wrote the key, or a renewal of ours whose answer was lost did. */
  #look(): void {
    this.#isBusy = true;
    this.#ports.store.read({ keys: [keyOf(LEASE, this.#host)] }, this.#settings.requestMs, (outcome) => {
      this.#isBusy = false;
      if (this.#isOver || outcome.kind === 'failed') return;
      const { value, revision } = find(outcome.entries, LEASE, this.#host);
      if (revision === this.#revision) this.#renew();
      else if (value === undefined) this.#end('removed');
      else if (value.boot !== this.#record.boot || value.incarnation !== this.#record.incarnation)
        this.#end('superseded');
      else if (value.state !== 'held') this.#end('fenced');
      else this.#adopt(value, revision);
    });
  }

  /** Ours, committed after its deadline: it counts from when it was sent. */
  #adopt(record: LeaseRecord, revision: number): void {
    const sentMs = this.#sentMs.get(record.renewal);
    if (sentMs !== undefined) this.#confirm(record, revision, sentMs);
    else {
      this.#record = record;
      this.#revision = revision;
    }
    this.#renew();
  }

  #confirm(record: LeaseRecord, revision: number, sentMs: number): void {
    this.#record = record;
    this.#revision = revision;
    for (const renewal of this.#sentMs.keys()) if (renewal <= record.renewal) this.#sentMs.delete(renewal);
    this.renewals += 1;
    this.#deadlineMs = Math.max(this.#deadlineMs, sentMs + record.durationMs);
    this.#events.renewed(this.#deadlineMs);
  }

  #end(end: LeaseEnd): void {
    this.stop();
    this.#events.lost(end);
  }
}

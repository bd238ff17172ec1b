/**
 * What a host looks at all the time: the leases of its peers and the leader, its own record and duties, the plans; in one read,
 * each half second. Now and then all hosts and leases, so that nobody depends on peers that failed with it. A lease that is
 * about to expire is read again at that moment.
 */

import { LeaseObserver } from '../lease/lease-observer.ts';
import type { GuestSpec, HostRecord, LeaderRecord } from '../model.ts';
import type { Timer } from '../ports.ts';
import type { StoreEntry } from '../store/cluster-store.ts';
import { DUTIES, decode, type Found, find, HOST, keyOf, LEADER, LEASE, PLAN, SPEC } from '../store/records.ts';
import type { Desk } from './desk.ts';

/** Every so many reads all of it is read. */
const WHOLE_EVERY = 8;
const SOONEST_MS = 40;

export interface Observed {
  readonly leader: Found<LeaderRecord>;
  /** Whether the leader's host is in, as it was when it became leader; undefined: that was not read. */
  readonly isLeaderIn: boolean | undefined;
  readonly self: HostRecord | undefined;
  readonly duties: StoreEntry | undefined;
  readonly plans: readonly StoreEntry[];
  /** When it was the whole: all hosts. */
  readonly hosts: readonly HostRecord[] | undefined;
  /** Then also what is wanted of the guests that this host owned when it asked. */
  readonly specs: readonly { readonly guest: string; readonly spec: GuestSpec | undefined }[];
}

export class Observation {
  readonly #desk: Desk;
  readonly #on: (observed: Observed) => void;
  readonly #onExpired: (host: string, revision: number) => void;
  /** How long this host waits beyond the expiry of that host's lease, so that not all act at once. */
  readonly #waitMs: (host: string) => number;
  /** Guests that this host owns. */
  readonly #guests: () => readonly string[];
  /** Leases that are read each time, and those that are read with the whole. */
  readonly #near: LeaseObserver;
  readonly #far: LeaseObserver;
  #peers: readonly string[] = [];
  #leader: string | undefined;
  #timer: Timer | undefined;
  #reads = 0;
  isOver = false;

  constructor(
    desk: Desk,
    on: (observed: Observed) => void,
    onExpired: (host: string, revision: number) => void,
    waitMs: (host: string) => number,
    guests: () => readonly string[],
  ) {
    this.#desk = desk;
    this.#on = on;
    this.#onExpired = onExpired;
    this.#waitMs = waitMs;
    this.#guests = guests;
    const { settings } = desk;
    this.#near = new LeaseObserver(settings);
    this.#far = new LeaseObserver({ ...settings, longestGapMs: settings.readMs * (WHOLE_EVERY + 4) });
  }

  start(): void {
    this.#read();
  }

  stop(): void {
    this.isOver = true;
    this.#timer?.cancel();
  }

  watchPeers(peers: readonly string[]): void {
    this.#peers = peers;
  }

  /** For how long the lease of that incarnation has stood unchanged before this host's eyes. */
  unchangedMs(host: string, incarnation: number): number {
    const observer = this.#near.isSeen(host) ? this.#near : this.#far;
    return observer.lease(host)?.incarnation === incarnation ? observer.unchangedMs(host) : 0;
  }

  /** A change was heard of: read now instead of later. */
  soon(): void {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = this.#desk.after(0, () => this.#read());
  }

  #read(): void {
    this.#timer = undefined;
    if (this.isOver) return;
    const isWhole = this.#reads % WHOLE_EVERY === 0;
    const sentMs = this.#desk.nowMs();
    const self = this.#desk.host;
    const near = this.#nearHosts();
    const keys = [keyOf(LEADER), keyOf(HOST, self), keyOf(DUTIES, self), ...near.map((host) => keyOf(LEASE, host))];
    const guests = isWhole ? this.#guests() : [];
    keys.push(...guests.map((guest) => keyOf(SPEC, guest)));
    const prefixes = isWhole ? [PLAN.prefix, HOST.prefix, LEASE.prefix] : [PLAN.prefix];
    this.#desk.read({ keys, prefixes }, this.#desk.settings.requestMs, (outcome) => {
      if (this.isOver) return;
      if (outcome.kind === 'read') {
        this.#reads += 1;
        this.#take(outcome.entries, near, isWhole, sentMs, guests);
      } else {
        this.#near.interrupt();
        this.#far.interrupt();
      }
      this.#timer = this.#desk.after(this.#nextMs(sentMs), () => this.#read());
    });
  }

  #nearHosts(): string[] {
    const near = new Set(this.#peers);
    if (this.#leader !== undefined) near.add(this.#leader);
    near.delete(this.#desk.host);
    return [...near];
  }

  #take(
    entries: readonly StoreEntry[],
    near: readonly string[],
    isWhole: boolean,
    sentMs: number,
    guests: readonly string[],
  ): void {
    const nowMs = this.#desk.nowMs();
    const leader = find(entries, LEADER);
    this.#leader = leader.value?.host;
    this.#near.keepOnly(new Set(near));
    for (const host of near) {
      const { value, revision } = find(entries, LEASE, host);
      this.#near.saw(host, value, revision, sentMs, nowMs);
    }
    const hosts = isWhole ? this.#takeWhole(entries, sentMs, nowMs) : undefined;
    const self = this.#desk.host;
    this.#on({
      leader,
      isLeaderIn: this.#isLeaderIn(leader.value, entries, near, isWhole),
      self: find(entries, HOST, self).value,
      duties: entries.find(({ key }) => key === keyOf(DUTIES, self)),
      plans: entries.filter(({ key }) => key.startsWith(PLAN.prefix)),
      hosts,
      specs: guests.map((guest) => ({ guest, spec: find(entries, SPEC, guest).value })),
    });
    if (this.isOver) return;
    for (const host of near) this.#look(host, this.#near);
    if (hosts !== undefined) for (const { name } of hosts) if (name !== self) this.#look(name, this.#far);
  }

  #isLeaderIn(
    leader: LeaderRecord | undefined,
    entries: readonly StoreEntry[],
    near: readonly string[],
    isWhole: boolean,
  ): boolean | undefined {
    if (leader === undefined) return false;
    if (!isWhole && !near.includes(leader.host)) return undefined;
    const lease = find(entries, LEASE, leader.host).value;
    return lease?.state === 'held' && lease.incarnation === leader.incarnation;
  }

  #takeWhole(entries: readonly StoreEntry[], sentMs: number, nowMs: number): HostRecord[] {
    const hosts: HostRecord[] = [];
    for (const { key, value, revision } of entries) {
      const host = key.startsWith(HOST.prefix) ? decode(HOST, value) : undefined;
      if (host !== undefined) hosts.push(host);
      if (key.startsWith(LEASE.prefix))
        this.#far.saw(key.slice(LEASE.prefix.length), decode(LEASE, value), revision, sentMs, nowMs);
    }
    return hosts;
  }

  #look(host: string, observer: LeaseObserver): void {
    const revision = observer.expired(host, this.#waitMs(host));
    if (revision !== undefined) this.#onExpired(host, revision);
  }

  /** At the latest after the interval; sooner where a lease would expire before. */
  #nextMs(sentMs: number): number {
    const nowMs = this.#desk.nowMs();
    let nextMs = this.#desk.settings.readMs - (nowMs - sentMs);
    for (const host of this.#nearHosts()) {
      const leftMs = this.#near.leftMs(host, nowMs);
      if (leftMs !== undefined) nextMs = Math.min(nextMs, leftMs + this.#waitMs(host) + 1);
    }
    return Math.max(SOONEST_MS, nextMs);
  }
}

/** This host's stay in the cluster: it joins, holds its lease, is told that it lost it and joins again, or leaves. */
import { HostLease } from '../lease/host-lease.ts';
import { DEADLINE, type LeaseEnd } from '../lease/lease-end.ts';
import { join, leave } from '../membership/membership.ts';
import type { GuestSpec, HostRecord, LeaseRecord, Owner } from '../model.ts';
import type { Clock, Machines } from '../ports.ts';
import type { StoreEntry } from '../store/cluster-store.ts';
import { decode, find, HOST, keyOf, LEASE, nameIn, OWNER, SPEC } from '../store/records.ts';
import type { Desk } from './desk.ts';
import type { Guests } from './guests.ts';

const RETRY_MS = 300;

export interface StayEvents {
  /** From now on this host is that incarnation. */
  began(incarnation: number): void;
  ended(): void;
  /** It is not of the cluster any more, and does not come back. */
  left(): void;
}

export class HostMembership {
  readonly #desk: Desk;
  readonly #clock: Clock;
  readonly #machines: Machines;
  readonly #guests: Guests;
  readonly #events: StayEvents;
  #lease: HostLease | undefined;
  isLeaving = false;

  constructor(
    desk: Desk,
    ports: { readonly clock: Clock; readonly machines: Machines },
    guests: Guests,
    events: StayEvents,
  ) {
    this.#desk = desk;
    this.#clock = ports.clock;
    this.#machines = ports.machines;
    this.#guests = guests;
    this.#events = events;
  }

  /** Its lease is held: it may act. */
  get isIn(): boolean {
    return this.#lease?.isHeld() === true;
  }

  get incarnation(): number {
    return this.#lease?.record.incarnation ?? 0;
  }

  get deadlineMs(): number {
    return this.#lease?.deadlineMs ?? DEADLINE.none;
  }

  join(): void {
    const { host, settings, self } = this.#desk;
    const again = (): void => void this.#desk.after(RETRY_MS * (1 + this.#desk.chance()), () => this.join());
    this.#desk.read({ keys: [keyOf(LEASE, host), keyOf(HOST, host)] }, settings.requestMs, (outcome) => {
      if (outcome.kind === 'failed') {
        again();
        return;
      }
      const found = find(outcome.entries, LEASE, host);
      const joined = join(self, found, find(outcome.entries, HOST, host), settings);
      if (joined.kind === 'adopt') {
        this.#adopt(joined.lease, found.revision, joined.host);
        return;
      }
      const sentMs = this.#desk.nowMs();
      this.#desk.commit(joined.transaction, settings.requestMs, (committed) => {
        if (committed.kind === 'committed') this.#enter(joined.lease, committed.revision, sentMs, joined.host);
        else again();
      });
    });
  }

  /** Without a word to anybody. */
  halt(): void {
    this.#lease?.stop();
  }

  /** The last step of leaving, once no guest is left. */
  leaveNow(): void {
    this.#lease?.stop();
    const { host, settings } = this.#desk;
    const again = (): void => void this.#desk.after(RETRY_MS, () => this.leaveNow());
    this.#desk.read({ keys: [keyOf(LEASE, host), keyOf(HOST, host)] }, settings.requestMs, (outcome) => {
      if (outcome.kind === 'failed') {
        again();
        return;
      }
      const found = find(outcome.entries, LEASE, host);
      if (found.value === undefined) {
        this.#events.left();
        return;
      }
      const lease = { value: found.value, revision: found.revision };
      const transaction = leave(host, lease, find(outcome.entries, HOST, host));
      this.#desk.commit(transaction, settings.requestMs, (committed) => {
        if (committed.kind === 'committed') this.#events.left();
        else again();
      });
    });
  }

  /** As another incarnation than before: machines of that one end before anything is claimed. */
  #enter(record: LeaseRecord, revision: number, sentMs: number, { state }: HostRecord): void {
    this.#hold(record, revision, sentMs);
    this.#guests.endAll(() => {
      this.#guests.isReady = true;
      this.#desk.tell({ kind: 'joined', incarnation: record.incarnation, quarantined: state === 'quarantined' });
    });
  }

  /** What the owners say is this host's and runs, goes on; what does not run is started again. */
  #adopt(record: LeaseRecord, revision: number, { state }: HostRecord): void {
    const { incarnation } = record;
    this.#hold(record, revision, undefined);
    const read = (): void =>
      this.#desk.read({ prefixes: [OWNER.prefix, SPEC.prefix] }, 2 * this.#desk.settings.requestMs, (outcome) => {
        if (this.incarnation !== incarnation) return;
        if (outcome.kind === 'failed') {
          this.#desk.after(RETRY_MS, read);
          return;
        }
        const specs = specsIn(outcome.entries);
        this.#guests.adopt(ownersIn(outcome.entries, specs), specs, incarnation);
        this.#desk.tell({ kind: 'adopted', incarnation, quarantined: state === 'quarantined' });
      });
    read();
  }

  #hold(record: LeaseRecord, revision: number, sentMs: number | undefined): void {
    const { incarnation } = record;
    this.#events.began(incarnation);
    const ports = { clock: this.#clock, timers: this.#desk, store: this.#desk };
    this.#lease = new HostLease(this.#desk.host, { record, revision, sentMs }, this.#desk.settings, ports, {
      renewed: (deadlineMs) => this.#machines.grant(incarnation, deadlineMs),
      lost: (end) => this.#lost(end),
    });
    this.#lease.start();
  }

  /** Somebody decided that this host is gone: its machines end, and it comes back as another. */
  #lost(end: LeaseEnd): void {
    this.#desk.tell({ kind: 'fenced-self' });
    this.#events.ended();
    this.#guests.endAll(() => {
      if (end === 'removed' || this.isLeaving) this.#events.left();
      else this.#desk.after(RETRY_MS, () => this.join());
    });
  }
}

function specsIn(entries: readonly StoreEntry[]): Map<string, GuestSpec> {
  const specs = new Map<string, GuestSpec>();
  for (const { key, value } of entries) {
    const spec = nameIn(SPEC, key) === undefined ? undefined : decode(SPEC, value);
    if (spec !== undefined) specs.set(spec.name, spec);
  }
  return specs;
}

function ownersIn(
  entries: readonly StoreEntry[],
  specs: ReadonlyMap<string, GuestSpec>,
): { spec: GuestSpec; owner: Owner; revision: number }[] {
  return entries.flatMap(({ key, value, revision }) => {
    const spec = specs.get(nameIn(OWNER, key) ?? '');
    const owner = spec === undefined ? undefined : decode(OWNER, value);
    return spec === undefined || owner === undefined ? [] : [{ spec, owner, revision }];
  });
}

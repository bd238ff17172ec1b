/**
 * This host's part in takeover plans: claims its assignments one after the other in the plan's order, as many at once as it
 * may start, while there is memory. A claim compares everything that it was decided on: the guest's owner, the plan, and this host's own
 * record; so that a host that was fenced meanwhile, a plan that was changed, or a second claim fails.
 */
import { isIn } from '../membership/membership.ts';
import type { Assignment, GuestSpec, Method, Owner, TakeoverPlan } from '../model.ts';
import type { StoreEntry, Transaction } from '../store/cluster-store.ts';
import { decode, find, HOST, keyOf, OWNER, PLAN, put, SPEC } from '../store/records.ts';
import type { Desk } from './desk.ts';
import type { LocalGuests } from './local-guests.ts';

interface Wanted extends Assignment {
  readonly source: string;
}

export interface ClaimLimits {
  /** Guests that are being started here now, in that way. */
  starting(method: Method): number;
  /** Whether there is room on this host for its memory and what it was promised; what its standby has already counts for it. */
  hasRoom(spec: GuestSpec): boolean;
  mayClaim(): boolean;
  /** Of the standby that is kept here, if it could take over now. */
  standbyHere(guest: string): Method | undefined;
}

export class Claims {
  readonly #desk: Desk;
  readonly #guests: LocalGuests;
  readonly #limits: ClaimLimits;
  readonly #plans = new Map<string, { readonly plan: TakeoverPlan; readonly revision: number }>();
  /** Being claimed, with the memory that is set aside for them. */
  readonly #busy = new Map<string, { readonly method: Method; readonly spec: GuestSpec | undefined }>();
  readonly #waitUntilMs = new Map<string, number>();
  incarnation = 0;
  readonly counters = { claims: 0, conflicts: 0 };

  constructor(desk: Desk, guests: LocalGuests, limits: ClaimLimits) {
    this.#desk = desk;
    this.#guests = guests;
    this.#limits = limits;
  }

  /** All plans that there are. */
  replace(entries: readonly StoreEntry[]): void {
    const there = new Set(entries.map(({ key }) => key));
    for (const key of this.#plans.keys()) if (!there.has(key)) this.#plans.delete(key);
    for (const { key, value, revision } of entries) this.change(key, value, revision);
  }

  change(key: string, value: string | undefined, revision: number): void {
    if ((this.#plans.get(key)?.revision ?? 0) >= revision) return;
    const plan = decode(PLAN, value);
    if (plan === undefined) this.#plans.delete(key);
    else this.#plans.set(key, { plan, revision });
  }

  /** It may be this host's already, and the answer is on its way: what is here for it stays. */
  isClaiming(guest: string): boolean {
    return this.#busy.has(guest);
  }

  /** Guests for which room is set aside. */
  claiming(): GuestSpec[] {
    return [...this.#busy.values()].flatMap(({ spec }) => (spec === undefined ? [] : [spec]));
  }

  /** Claims what may be claimed now. */
  look(): void {
    if (!this.#limits.mayClaim()) return;
    const free = new Map<Method, number>();
    for (const one of this.#wanted()) {
      const { guest, method } = one;
      if (this.#busy.has(guest) || this.#guests.get(guest) !== undefined || this.#isWaiting(guest)) continue;
      const left = free.get(method) ?? this.#turns(method);
      free.set(method, left - 1);
      if (left > 0) this.#claim(one);
    }
  }

  /** A boot takes a processor for long, a checkpoint a disk, a promotion neither: each way has its own turns. */
  #turns(method: Method): number {
    let claiming = 0;
    for (const one of this.#busy.values()) if (one.method === method) claiming += 1;
    return this.#desk.settings.startsAtOnce - this.#limits.starting(method) - claiming;
  }

  #wanted(): Wanted[] {
    const wanted: Wanted[] = [];
    for (const { plan } of this.#plans.values())
      for (const one of plan.assignments)
        if (one.target === this.#desk.host && one.incarnation === this.incarnation)
          wanted.push({ ...one, source: plan.source });
    return wanted.sort((a, b) => b.priority - a.priority);
  }

  #isWaiting(guest: string): boolean {
    return (this.#waitUntilMs.get(guest) ?? 0) > this.#desk.nowMs();
  }

  #claim(wanted: Wanted): void {
    const { guest, source, method } = wanted;
    this.#busy.set(guest, { method, spec: undefined });
    const keys = [
      keyOf(OWNER, guest),
      keyOf(SPEC, guest),
      keyOf(PLAN, source),
      keyOf(HOST, source),
      keyOf(HOST, this.#desk.host),
    ];
    this.#desk.read({ keys }, this.#desk.settings.requestMs, (outcome) => {
      if (outcome.kind === 'failed' || !this.#decide(wanted, outcome.entries)) this.#release(guest, 100);
    });
  }

  /** False: nothing to be claimed, now. */
  #decide(wanted: Wanted, entries: readonly StoreEntry[]): boolean {
    const { guest, source, generation, method } = wanted;
    const owner = find(entries, OWNER, guest);
    const spec = find(entries, SPEC, guest).value;
    const plan = find(entries, PLAN, source);
    const self = find(entries, HOST, this.#desk.host);
    const holder = find(entries, HOST, source).value;
    const still = plan.value?.assignments.find(
      (one) => one.guest === guest && one.target === this.#desk.host && one.incarnation === this.incarnation,
    );
    if (spec === undefined || still === undefined || (owner.value?.generation ?? 0) !== generation) {
      this.change(
        keyOf(PLAN, source),
        plan.value === undefined ? undefined : JSON.stringify(plan.value),
        plan.revision,
      );
      return false;
    }
    const isFree =
      owner.value === undefined || owner.value.phase === 'released' || !isIn(holder, owner.value.incarnation);
    const isMine = isIn(self.value, this.incarnation) && self.value?.state !== 'draining';
    if (!isFree || !isMine || !this.#limits.hasRoom(spec)) return false;
    // What the leader has heard of the standby here may be old: what is here counts, a hot one if it is on record.
    const here = this.#limits.standbyHere(guest);
    const how = here === undefined || (here === 'hot' && owner.value?.sync !== this.#desk.host) ? 'cold' : here;
    // It was its turn as what the leader thought.
    if (how !== method && this.#turns(how) <= 0) return false;
    this.#busy.set(guest, { method: how, spec });
    const mine = { host: this.#desk.host, incarnation: this.incarnation, generation: generation + 1 };
    const next: Owner = { ...mine, phase: 'held', ...(how === 'cold' ? {} : { by: how }) };
    const transaction = {
      compares: [
        { key: keyOf(OWNER, guest), revision: owner.revision },
        { key: keyOf(PLAN, source), revision: plan.revision },
        { key: keyOf(HOST, this.#desk.host), revision: self.revision },
      ],
      puts: [put(OWNER, guest, next)],
    };
    const own = (revision: number): void => {
      this.counters.claims += 1;
      this.#desk.tell({ kind: 'claimed', guest, generation: next.generation, from: source });
      this.#guests.own(spec, next.generation, revision, how);
      this.#release(guest, 0);
    };
    this.#commit(transaction, guest, next, own);
    return true;
  }

  /** Until it is committed or refused: one whose outcome is unknown may be committed as long as nothing it compares changes. */
  #commit(transaction: Transaction, guest: string, next: Owner, own: (revision: number) => void): void {
    const { requestMs } = this.#desk.settings;
    this.#desk.commit(transaction, requestMs, (outcome) => {
      if (outcome.kind === 'committed') own(outcome.revision);
      else if (outcome.kind === 'unknown') this.#desk.after(50, () => this.#commit(transaction, guest, next, own));
      else this.#settle(guest, next, own);
    });
  }

  /** Refused: by somebody else's write, or by its own, whose answer was lost. */
  #settle(guest: string, next: Owner, own: (revision: number) => void): void {
    this.counters.conflicts += 1;
    this.#desk.read({ keys: [keyOf(OWNER, guest)] }, this.#desk.settings.requestMs, (outcome) => {
      if (outcome.kind === 'failed') {
        this.#desk.after(100, () => this.#settle(guest, next, own));
        return;
      }
      const { value, revision } = find(outcome.entries, OWNER, guest);
      if (JSON.stringify(value) === JSON.stringify(next)) own(revision);
      else this.#release(guest, 100);
    });
  }

  #release(guest: string, waitMs: number): void {
    this.#busy.delete(guest);
    if (waitMs > 0) this.#waitUntilMs.set(guest, this.#desk.nowMs() + waitMs);
    else this.#waitUntilMs.delete(guest);
  }
}

/**
 * All that this host does for guests, joined: those that it owns, standbys that it keeps, what it does when one fails, how its
 * cores are divided, and how it empties itself when it drains.
 */
import type { Condition } from '../heartbeat/digest.ts';
import type { Master } from '../heartbeat/master.ts';
import type { GuestSpec, Method, Owner } from '../model.ts';
import type { Load, Machines } from '../ports.ts';
import { type Reaction, Reactions } from '../reaction/reactions.ts';
import { activeNeeds } from '../takeover/ledger.ts';
import { shares } from '../takeover/shares.ts';
import type { ClaimLimits } from './claims.ts';
import type { Desk } from './desk.ts';
import { LocalGuests } from './local-guests.ts';
import { Standbys } from './standbys.ts';

/** What a takeover takes when no lease has to expire before it. */
const ELSEWHERE_MS = 1000;
/** A guest that starts has so many times its boot, and this, before it counts as silent. */
const BOOTS = 2;
const BOOT_GRACE_MS = 5000;
const MOST_DOUBLINGS = 6;

export class Guests implements ClaimLimits {
  readonly #desk: Desk;
  readonly #machines: Machines;
  readonly #load: Load;
  readonly #master: Master;
  readonly local: LocalGuests;
  readonly standbys: Standbys;
  readonly reactions = new Reactions();
  /** Booting: their slaves have not been heard yet. */
  readonly #booting = new Set<string>();
  /** Starts of a guest since it last beat. */
  readonly #starts = new Map<string, number>();
  #shares: ReadonlyMap<string, number> = new Map();
  /** Guests that this host is about to own. */
  claiming: () => readonly GuestSpec[] = () => [];
  isDraining = false;
  isReady = false;

  constructor(
    desk: Desk,
    ports: { readonly machines: Machines; readonly load: Load },
    master: Master,
    deadlineMs: () => number,
  ) {
    this.#desk = desk;
    this.#machines = ports.machines;
    this.#load = ports.load;
    this.#master = master;
    this.local = new LocalGuests(desk, ports.machines, {
      deadlineMs,
      coresOf: (guest) => this.#shares.get(guest) ?? 0,
      starting: (guest, generation, method) => this.#starting(guest, generation, method),
      started: (guest, generation, method) => this.#started(guest, generation, method),
      gone: (guest) => this.#gone(guest),
      failed: (guest) => master.slaves.gone(guest),
    });
    this.standbys = new Standbys(desk, ports.machines, this.local, (bytes) => this.#hasMemory('', bytes));
  }

  // ClaimLimits

  starting(method: Method): number {
    let count = 0;
    for (const local of this.local.values()) {
      const isUnderWay = local.state !== 'running' && local.state !== 'stopping';
      const isStarting = isUnderWay || this.#booting.has(local.spec.name);
      if (isStarting && local.method === method) count += 1;
    }
    return count;
  }

  hasRoom(spec: GuestSpec): boolean {
    let cores = activeNeeds(spec).cores;
    for (const other of [...this.#specs(), ...this.claiming()])
      if (other.name !== spec.name) cores += activeNeeds(other).cores;
    return cores <= this.#desk.self.capacity.cores * (1 + 1e-9) && this.#hasMemory(spec.name, spec.memoryBytes);
  }

  mayClaim(): boolean {
    return this.isReady && !this.isDraining;
  }

  standbyHere(guest: string): Method | undefined {
    return this.#load.readyStandbys().includes(guest) ? this.standbys.methodOf(guest) : undefined;
  }

  /** From the owners' records: a daemon that is back goes on with the machines that they name. */
  adopt(
    owners: readonly { spec: GuestSpec; owner: Owner; revision: number }[],
    specs: ReadonlyMap<string, GuestSpec>,
    incarnation: number,
  ): void {
    const ready = new Set(this.#load.readyStandbys());
    const held = new Map(this.#machines.list().map((one) => [one.guest, one]));
    for (const { spec, owner, revision } of owners) {
      if (owner.host !== this.#desk.host || owner.incarnation !== incarnation || owner.phase !== 'held') continue;
      const machine = held.get(spec.name);
      const isThere = machine?.generation === owner.generation && machine.incarnation === incarnation;
      if (isThere) held.delete(spec.name);
      // Claimed, and not started: its standby still waits for that.
      if (!isThere && owner.by !== undefined && ready.has(spec.name)) {
        this.local.own(spec, owner.generation, revision, owner.by);
        continue;
      }
      this.local.adopt(spec, owner, revision);
      if (!isThere) this.#master.slaves.gone(spec.name);
    }
    for (const { guest, generation } of held.values()) this.#machines.stop(guest, generation, () => undefined);
    this.standbys.adopt(specs);
    this.isReady = true;
  }

  /** Nothing runs here, for certain: a daemon that has just come back does not know that yet. */
  get isEmpty(): boolean {
    return this.isReady && this.local.size === 0 && this.#machines.list().length === 0;
  }

  /** Nothing of an earlier incarnation goes on; `done` when its machines are gone. */
  endAll(done: () => void): void {
    this.isReady = false;
    this.standbys.clear();
    this.local.endAll(done);
  }

  machineEnded(guest: string, generation: number): void {
    if (this.local.get(guest)?.generation === generation) this.#master.slaves.gone(guest);
  }

  /** Once each interval, while the lease is held. */
  look(): void {
    if (!this.isReady) return;
    this.standbys.look();
    this.#pairs();
    const nowMs = this.#desk.nowMs();
    for (const local of [...this.local.values()]) {
      const guest = local.spec.name;
      const condition = this.#master.slaves.conditionOf(guest);
      if (condition === undefined) continue;
      // Whatever else it is, it does not start any more; one that is gone must not keep others, or itself, from starting.
      if (condition !== 'starting') this.#booting.delete(guest);
      if (condition === 'well' || condition === 'application-failed') this.#starts.delete(guest);
      if (local.state === 'running') this.#react(guest, condition, nowMs);
    }
    if (this.isDraining) this.#drainOne();
  }

  #react(guest: string, condition: Condition, nowMs: number): void {
    const spec = this.local.get(guest)?.spec;
    if (spec === undefined) return;
    // Starts take turns, whatever they are for.
    const mayStart = condition === 'well' || condition === 'application-failed';
    if (!mayStart && this.starting('cold') >= this.#desk.settings.startsAtOnce) return;
    const reaction = this.reactions.look(guest, condition, nowMs, () => ({
      costs: this.#load.costs(guest),
      recoveryTimeMs: spec.requirements.recoveryTimeMs,
      elsewhereMs: this.#elsewhereMs(guest),
    }));
    if (reaction !== undefined) this.#do(reaction);
  }

  /** To start it on another host, which needs no lease to expire: this host gives it up. */
  #elsewhereMs(guest: string): number {
    const standby = this.standbys.duties.find((duty) => duty.guest === guest && duty.role === 'active');
    const costs = this.#load.costs(guest);
    if (standby === undefined) return ELSEWHERE_MS + costs.bootMs;
    return ELSEWHERE_MS + (standby.method === 'warm' ? costs.restoreMs : 0);
  }

  #do({ guest, failure, step }: Reaction): void {
    const local = this.local.get(guest);
    if (local === undefined) return;
    const { generation } = local;
    this.#desk.tell({ kind: 'reacted', guest, generation, detail: `${failure}: ${step}` });
    switch (step) {
      case 'restart-application':
        this.#master.counters.ordersToActive += 1;
        this.#machines.order(guest, 'restart-application', generation);
        return;
      case 'restart-guest':
        local.method = 'cold';
        this.#machines.restartGuest(guest, generation);
        this.#starting(guest, generation, 'cold');
        return;
      case 'restart-machine':
        this.local.restart(guest);
        return;
      case 'elsewhere':
        this.local.release(guest);
    }
  }

  #starting(guest: string, generation: number, method: Method): void {
    this.#starts.set(guest, (this.#starts.get(guest) ?? 0) + 1);
    this.#expect(guest, generation, method);
    this.#booting.add(guest);
    this.#share();
  }

  /** Its first beat is not late before this: what its start is known to take, and twice as long after each that was in vain. */
  #expect(guest: string, generation: number, method: Method): void {
    const { bootMs, restoreMs } = this.#load.costs(guest);
    const knownMs = BOOTS * (method === 'cold' ? bootMs : restoreMs) + BOOT_GRACE_MS;
    const vain = Math.min(MOST_DOUBLINGS, (this.#starts.get(guest) ?? 1) - 1);
    this.#master.slaves.expect(guest, generation, 'active', this.#desk.nowMs(), knownMs * 2 ** vain);
  }

  #started(guest: string, generation: number, method: Method): void {
    // What its process took to start is not the guest's.
    if (this.#master.slaves.conditionOf(guest) !== 'well') this.#expect(guest, generation, method);
    // A standby's slave hears for the first time, and this once.
    if (method === 'pair') {
      this.#master.counters.ordersToStandby += 1;
      this.#machines.order(guest, 'take-over', generation);
    }
  }

  #gone(guest: string): void {
    this.#master.slaves.forget(guest);
    this.reactions.forget(guest);
    this.#booting.delete(guest);
    this.#starts.delete(guest);
    this.#share();
  }

  /** Everybody's floor for certain, the rest by priority. */
  #share(): void {
    const wishes = [...this.local.values()].map(({ spec: { name, cores, requirements } }) => ({
      ...{ guest: name, cores, floor: requirements.performanceFloor, weight: 1 + requirements.priority },
    }));
    this.#shares = shares(wishes, this.#desk.self.capacity.cores);
    for (const [guest, cores] of this.#shares) this.#machines.share(guest, cores);
  }

  #hasMemory(guest: string, bytes: number): boolean {
    let used = this.standbys.memoryBytes(guest);
    for (const spec of [...this.#specs(), ...this.claiming()]) if (spec.name !== guest) used += spec.memoryBytes;
    return used + bytes <= this.#desk.self.capacity.memoryBytes;
  }

  #specs(): GuestSpec[] {
    return [...this.local.values()].map(({ spec }) => spec);
  }

  /** With `direct`, each guest's slave tells its standby's. */
  #pairs(): void {
    if (this.#master.heartbeats !== 'direct') return;
    const duties = this.standbys.duties.filter(({ role }) => role === 'active');
    this.#master.setPairs(duties.map(({ guest, peer }) => ({ guest, host: peer })));
  }

  /** A few at a time, those that matter least first: they wait where the others go. */
  #drainOne(): void {
    const leaving = [...this.local.values()].filter(({ state }) => state === 'stopping').length;
    if (leaving >= this.#desk.settings.startsAtOnce) return;
    let next: GuestSpec | undefined;
    for (const { spec, state } of this.local.values())
      if (state === 'running' && (next === undefined || spec.requirements.priority < next.requirements.priority))
        next = spec;
    if (next !== undefined) this.local.release(next.name);
  }
}

/**
 * What must hold in the simulated world at every instant of true time, checked where it could break: when the store changes, when a
 * machine starts, when a guest acts. The first violation ends the run; it says what happened and when.
 */
import { isIn } from '../membership/membership.ts';
import type { LeaseRecord, Method, Owner, TakeoverPlan } from '../model.ts';
import type { Transaction } from '../store/cluster-store.ts';
import type { MemoryState } from '../store/memory-state.ts';
import { decode, HOST, keyOf, LEASE, nameIn, OWNER, PLACEMENT, PLAN } from '../store/records.ts';
import type { SimHost } from './sim-host.ts';
import type { SimMachine } from './sim-machine.ts';
import type { World } from './world.ts';

export class Violation extends Error {
  override name = 'Violation';
}

/** Failures of a host within this time that make it one that flaps. */
const FLAP_WINDOW_MS = 60_000;

export class Invariants {
  readonly #world: World;
  readonly #failedMs = new Map<string, number[]>();
  /** Guests that have to be promoted, not booted. */
  readonly #due = new Map<string, { readonly generation: number; readonly crashes: number }>();
  takeovers = 0;
  pairTakeovers = 0;
  /** Batches that were checked before a stop and left after it: at most one for each stop of a process. */
  lateBatches = 0;
  lastFaultMs = 0;

  constructor(world: World) {
    this.#world = world;
  }

  fail(what: string): never {
    throw new Violation(`at ${this.#world.queue.nowMs.toFixed(1)} ms: ${what}`);
  }

  /** Before a transaction changes the store. */
  committing({ puts = [] }: Transaction, state: MemoryState): void {
    if (this.#world.store.isDown) this.fail('the store changed without a quorum');
    for (const { key, value } of puts) {
      const guest = nameIn(OWNER, key);
      if (guest !== undefined)
        this.#owning(guest, decode(OWNER, state.get(key)?.value), decode(OWNER, value), state, puts);
      if (nameIn(PLAN, key) !== undefined) this.#planning(decode(PLAN, state.get(key)?.value), decode(PLAN, value));
      const host = nameIn(LEASE, key);
      if (host !== undefined) this.#leasing(host, decode(LEASE, state.get(key)?.value), decode(LEASE, value));
      if (nameIn(PLACEMENT, key) !== undefined)
        this.#placing(nameIn(PLACEMENT, key) ?? '', state.get(key)?.value, value);
    }
  }

  #leasing(name: string, before: LeaseRecord | undefined, after: LeaseRecord | undefined): void {
    const isFenced = after?.state === 'fenced';
    // It came back before anybody saw that it had been away.
    const isSecond = before?.state === 'held' && before.incarnation !== after?.incarnation;
    if (!isFenced && !isSecond) return;
    const list = this.#failedMs.get(name) ?? [];
    list.push(this.#world.queue.nowMs);
    this.#failedMs.set(name, list);
    if (isFenced) this.#fencing(name);
  }

  /** A lease is taken away: its holder must have come to its deadline, by its own clock. */
  #fencing(name: string): void {
    const host = this.#world.hosts.get(name);
    if (host?.director?.isIn === true) this.fail(`${name} was fenced before its lease had expired`);
    for (const machine of host?.machines.values() ?? [])
      if (machine.mayAct()) this.fail(`${name} was fenced while its machine of ${machine.guest.spec.name} may act`);
  }

  #owning(
    guest: string,
    before: Owner | undefined,
    owner: Owner | undefined,
    state: MemoryState,
    puts: readonly unknown[],
  ): void {
    if (owner === undefined) this.fail(`the owner of ${guest} cannot be read`);
    if (before !== undefined && owner.generation < before.generation) this.fail(`${guest} went back a generation`);
    const isSame = before?.host === owner.host && before.incarnation === owner.incarnation;
    if (isSame) return;
    this.takeovers += 1;
    if (before !== undefined && owner.generation === before.generation)
      this.fail(`${guest} has another owner under the same generation`);
    for (const machine of this.#machinesOf(guest))
      if (machine.mayAct()) this.fail(`${guest} was taken over while its machine on ${machine.host.name} may act`);
    const host = decode(HOST, state.get(keyOf(HOST, owner.host))?.value);
    if (!isIn(host, owner.incarnation)) this.fail(`${owner.host} claimed ${guest}, and is not in (${puts.length})`);
    this.#apart(guest, owner, state);
    this.#expect(guest, before, owner);
  }

  #planning(before: TakeoverPlan | undefined, plan: TakeoverPlan | undefined): void {
    const known = new Set(before?.assignments.map(({ guest, target }) => `${guest} ${target}`));
    for (const { guest, target } of plan?.assignments ?? [])
      if (!known.has(`${guest} ${target}`)) this.#notFlapping(target, guest);
  }

  /** Who was fenced again and again is in quarantine, or was well for a long time since. */
  #notFlapping(host: string, guest: string): void {
    const { nowMs } = this.#world.queue;
    const lately = (this.#failedMs.get(host) ?? []).filter((ms) => nowMs - ms < FLAP_WINDOW_MS);
    const isShort = this.#world.settings.quarantineMs < FLAP_WINDOW_MS;
    const isApart = this.#world.guest(guest).spec.group !== undefined;
    if (!isShort && !isApart && lately.length >= 3 && this.hasRoom(guest, host))
      this.fail(`${host} flaps (failed ${lately.length} times in a minute), and got ${guest}`);
  }

  /** Its hot standby is there, complete, and on record: that has to be used, or what left would be lost. */
  #expect(guest: string, before: Owner | undefined, owner: Owner): void {
    const host = this.#world.hosts.get(owner.host);
    const standby = host?.kept.get(guest);
    const isDue = before?.sync === owner.host && standby?.method === 'hot' && standby.epoch !== undefined;
    if (isDue && host !== undefined) this.#due.set(guest, { generation: owner.generation, crashes: host.crashes });
    else this.#due.delete(guest);
  }

  #apart(guest: string, owner: Owner, state: MemoryState): void {
    const { group } = this.#world.guest(guest).spec;
    if (group === undefined) return;
    for (const other of this.#world.guests.values()) {
      if (other.spec.group !== group || other.spec.name === guest) continue;
      const held = decode(OWNER, state.get(keyOf(OWNER, other.spec.name))?.value);
      const isThere = held?.phase === 'held' && held.host === owner.host && held.incarnation === owner.incarnation;
      if (isThere) this.fail(`${guest} and ${other.spec.name} are of one group, and both on ${owner.host}`);
    }
  }

  #placing(guest: string, before: string | undefined, after: string): void {
    const [old, placement] = [decode(PLACEMENT, before)?.associations[0], decode(PLACEMENT, after)?.associations[0]];
    if (old !== undefined && JSON.stringify(old) !== JSON.stringify(placement))
      this.#world.guest(guest).changesInForce.push(this.#world.queue.nowMs);
  }

  started(machine: SimMachine, method: Method, epoch: number | undefined): void {
    const { guest, host, generation } = machine;
    const { name } = guest.spec;
    if (method === 'pair') this.pairTakeovers += 1;
    const due = this.#due.get(name);
    if (due?.generation === generation && due.crashes === host.crashes && method !== 'hot')
      this.fail(`${name} boots on ${host.name}, where its hot standby was`);
    const owner = decode(OWNER, this.#world.store.state.get(keyOf(OWNER, name))?.value);
    if (owner === undefined || owner.generation < generation)
      this.fail(`${name} starts under a generation that nobody recorded`);
    if (owner.generation === generation && owner.host !== host.name)
      this.fail(`${name} starts on ${host.name}, which does not own it`);
    // (One that was stopped for so long that others have had the guest since comes to nothing: it may not act.)
    const isLate = owner.generation !== generation && !machine.mayAct();
    if (method === 'hot' && !isLate && (epoch ?? 0) < guest.lastOutput)
      this.fail(`${name}: the hot standby on ${host.name} lacks output that has left (${epoch} < ${guest.lastOutput})`);
    if (machine.mayAct())
      for (const other of this.#machinesOf(name))
        if (other !== machine && other.mayAct()) this.fail(`${name} may act on ${other.host.name} and on ${host.name}`);
    this.memory(host);
    const booting = [...host.machines.values()].filter((one) => one.isCold && one.isBooting && one.mayAct()).length;
    if (booting > this.#world.settings.startsAtOnce + 1) this.fail(`${host.name} starts ${booting} machines at once`);
  }

  /** Memory and promised cores of a host. */
  memory(host: SimHost): void {
    const { real: capacity } = host;
    let [memoryBytes, cores] = [0, 0];
    for (const { guest } of host.machines.values()) {
      memoryBytes += guest.spec.memoryBytes;
      cores += guest.spec.cores * guest.spec.requirements.performanceFloor;
    }
    for (const [name, { method }] of host.kept)
      if (method === 'hot' || method === 'pair') memoryBytes += this.#world.guest(name).spec.memoryBytes;
    if (memoryBytes > capacity.memoryBytes * (1 + 1e-9))
      this.fail(
        `${host.name} has no memory for what is on it: ${[...host.machines.keys()]}, standbys ${JSON.stringify([...host.kept])}`,
      );
    if (cores > capacity.cores * (1 + 1e-9)) this.fail(`${host.name} has no cores for what was promised on it`);
  }

  /** A guest writes and sends: accepted writes, and what is sent, never go back to an older generation. */
  acted({ guest, generation, host, cores }: SimMachine, wasStopped: boolean): void {
    const { name } = guest.spec;
    const isOpen = this.#world.broken === 'gate';
    if (isOpen || generation >= guest.least) {
      if (generation < guest.wrote)
        this.fail(`${name}: a write of generation ${generation} from ${host.name} after ${guest.wrote}`);
      guest.wrote = generation;
      guest.writes += 1;
    } else guest.refused += 1;
    if (generation < guest.sent) {
      if (!wasStopped) this.fail(`${name}: ${host.name} sends as generation ${generation} after ${guest.sent}`);
      this.lateBatches += 1;
      return;
    }
    guest.sent = generation;
    const promised = guest.spec.cores * guest.spec.requirements.performanceFloor;
    if (cores < promised * (1 - 1e-9))
      this.fail(`${name} has ${cores} cores on ${host.name}, ${promised} were promised`);
    guest.acted(this.#world.queue.nowMs);
  }

  /** Whether a host that takes guests has room for it, with as much again to spare, beside what it runs and was assigned: standbys make way. */
  hasRoom(name: string, butOn?: string): boolean {
    const { spec, actedMs } = this.#world.guest(name);
    const assigned = this.#assigned();
    const homeless = this.#homeless(name);
    const fitting = [...this.#world.hosts.values()].filter((host) => {
      const record = decode(HOST, this.#world.store.state.get(keyOf(HOST, host.name))?.value);
      const isThere = host.isUp && !host.isCutFromStore && !host.daemon.isStopped && host.director?.isIn === true;
      if (record?.state !== 'active' || !isThere || host.name === butOn) return false;
      let [memoryBytes, cores] = [spec.memoryBytes + homeless.memoryBytes, spec.cores + homeless.cores];
      const guests = new Set([...host.machines.keys(), ...(assigned.get(host.name) ?? [])]);
      for (const guest of guests) {
        const other = this.#world.guest(guest).spec;
        memoryBytes += other.memoryBytes;
        cores += other.cores * other.requirements.performanceFloor;
        if (other.group !== undefined && other.group === spec.group) return false;
      }
      return memoryBytes <= host.real.memoryBytes * 0.95 && cores <= host.real.cores * 0.95;
    });
    // A guest that has run needs one host; one that is new is admitted only where a second could take it over, unless there is but one.
    return fitting.length > (actedMs > 0 || this.#world.hosts.size === 1 ? 0 : 1);
  }

  /** What it and all others need that have no host now: any of them may be on its way to any host. */
  #homeless(name: string): { memoryBytes: number; cores: number } {
    const { state } = this.#world.store;
    const sum = { memoryBytes: 0, cores: 0 };
    for (const { spec } of this.#world.guests.values()) {
      const owner = decode(OWNER, state.get(keyOf(OWNER, spec.name))?.value);
      const host = owner === undefined ? undefined : decode(HOST, state.get(keyOf(HOST, owner.host))?.value);
      if (spec.name !== name && owner?.phase === 'held' && isIn(host, owner.incarnation)) continue;
      sum.memoryBytes += spec.memoryBytes;
      sum.cores += spec.cores * spec.requirements.performanceFloor;
    }
    return sum;
  }

  /** By target. */
  #assigned(): Map<string, string[]> {
    const assigned = new Map<string, string[]>();
    for (const { value } of this.#world.store.read(PLAN.prefix))
      for (const { guest, target } of decode(PLAN, value)?.assignments ?? [])
        assigned.set(target, [...(assigned.get(target) ?? []), guest]);
    return assigned;
  }

  #machinesOf(guest: string): SimMachine[] {
    const machines: SimMachine[] = [];
    for (const host of this.#world.hosts.values()) {
      const machine = host.machines.get(guest);
      if (machine !== undefined) machines.push(machine);
    }
    return machines;
  }
}

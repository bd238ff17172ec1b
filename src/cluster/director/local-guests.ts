/**
 * The guests that this host owns, each in one state, and what each change of state asks of the store and of the machines, in this
 * order: the owner's record is this host's, with a new generation; the storage refuses older generations; the machine
 * starts, with the host's lease for its deadline. To give one up is the reverse: its machine is gone, then the record says so.
 *
 *     claimed -> fencing -> starting -> running -> stopping -> (released)
 */
import type { GuestSpec, Method, Owner } from '../model.ts';
import type { Machines, Timer } from '../ports.ts';
import { find, keyOf, OWNER, put } from '../store/records.ts';
import type { Desk } from './desk.ts';

export interface LocalGuest {
  spec: GuestSpec;
  generation: number;
  /** Of its owner's record. */
  revision: number;
  method: Method;
  state: 'fencing' | 'starting' | 'running' | 'stopping' | 'restarting';
  /** On record: the host whose standby may be promoted. */
  sync: string | undefined;
  /** Those that have everything, by what their machine says. */
  readonly synced: Set<string>;
  /** A change of the record is under way. */
  isWriting: boolean;
  retry: Timer | undefined;
}

export interface LocalEvents {
  /** Beats are expected from now on. */
  starting(guest: string, generation: number, method: Method): void;
  /** Its machine is there. */
  started(guest: string, generation: number, method: Method): void;
  /** Not here any more. */
  gone(guest: string): void;
  failed(guest: string): void;
  deadlineMs(): number;
  /** Its share of the host's cores now. */
  coresOf(guest: string): number;
}

const RETRY_MS = 200;

export class LocalGuests {
  readonly #desk: Desk;
  readonly #machines: Machines;
  readonly #events: LocalEvents;
  readonly #guests = new Map<string, LocalGuest>();
  incarnation = 0;

  constructor(desk: Desk, machines: Machines, events: LocalEvents) {
    this.#desk = desk;
    this.#machines = machines;
    this.#events = events;
  }

  get(guest: string): LocalGuest | undefined {
    return this.#guests.get(guest);
  }

  values(): IterableIterator<LocalGuest> {
    return this.#guests.values();
  }

  get size(): number {
    return this.#guests.size;
  }

  /** The record says so, at this revision. */
  own(spec: GuestSpec, generation: number, revision: number, method: Method): void {
    const local: LocalGuest = {
      ...{ spec, generation, revision, method, state: 'fencing' as const, sync: undefined, isWriting: false },
      ...{ synced: new Set<string>(), retry: undefined },
    };
    this.#guests.set(spec.name, local);
    this.#fence(local);
  }

  /** A daemon that is back finds it running. */
  adopt(spec: GuestSpec, owner: Owner, revision: number): void {
    const { generation, sync } = owner;
    this.#guests.set(spec.name, {
      ...{ spec, generation, revision, method: 'cold' as const, state: 'running' as const, sync, isWriting: false },
      ...{ synced: new Set<string>(), retry: undefined },
    });
    this.#events.starting(spec.name, generation, 'cold');
  }

  /** What is wanted of it has changed: other requirements, or that it does not run. Undefined: it is no more. */
  respec(guest: string, spec: GuestSpec | undefined): void {
    const local = this.#guests.get(guest);
    if (local === undefined) return;
    if (spec?.wanted === 'running') local.spec = spec;
    else if (local.state !== 'stopping' && local.state !== 'fencing') this.release(guest);
  }

  /** Its machine is gone or of no use: another one here, under a new generation. */
  restart(guest: string): void {
    const local = this.#guests.get(guest);
    if (local === undefined || local.state === 'stopping' || local.state === 'restarting') return;
    local.state = 'restarting';
    local.method = 'cold';
    this.#machines.stop(guest, local.generation, () => {
      this.#write(local, { generation: local.generation + 1, sync: undefined }, () => {
        local.state = 'fencing';
        this.#fence(local);
      });
    });
  }

  /** Ends it here, and lets the leader find a place for it. */
  release(guest: string): void {
    const local = this.#guests.get(guest);
    if (local === undefined || local.state === 'stopping' || local.state === 'restarting') return;
    local.state = 'stopping';
    this.#machines.stop(guest, local.generation, () => {
      this.#write(local, { phase: 'released' }, () => {
        this.#forget(local);
        this.#desk.tell({ kind: 'released', guest, generation: local.generation });
      });
    });
  }

  /**
   * A hot standby of it has everything, or has not any more. One of them is on record as the one that may be promoted, and output waits for
   * that one: output waits first, then the record names it; and it is taken off the record before output is let go.
   */
  sync(guest: string, generation: number, host: string, isSynced: boolean): void {
    const local = this.#guests.get(guest);
    if (local === undefined || local.generation !== generation || local.state !== 'running') return;
    if (isSynced) local.synced.add(host);
    else local.synced.delete(host);
    if (isSynced && local.sync === undefined) this.#hold(local, host);
    if (!isSynced && local.sync === host) this.#letGo(local);
  }

  #hold(local: LocalGuest, host: string): void {
    const { name } = local.spec;
    const { generation } = local;
    const isStill = (): boolean =>
      this.#guests.get(name) === local &&
      local.generation === generation &&
      local.state === 'running' &&
      local.sync === undefined;
    this.#machines.holdOutput(name, host, (isSafe) => {
      if (!isStill()) return;
      if (isSafe && local.synced.has(host)) this.#write(local, { sync: host }, () => this.#reconsider(local));
      else this.#machines.holdOutput(name, undefined, () => undefined);
    });
  }

  #letGo(local: LocalGuest): void {
    this.#write(local, { sync: undefined }, () => {
      const [other] = local.synced;
      if (other === undefined) this.#machines.holdOutput(local.spec.name, undefined, () => undefined);
      else this.#hold(local, other);
    });
  }

  /** It was lost while the record was written. */
  #reconsider(local: LocalGuest): void {
    if (local.sync !== undefined && !local.synced.has(local.sync)) this.#letGo(local);
  }

  /** The lease is lost: all machines end, and nothing is written any more. `done`: they are gone. */
  endAll(done: () => void): void {
    const ends = new Map(this.#machines.list().map(({ guest, generation }) => [guest, generation]));
    // Those that are being started are not in the list yet.
    for (const { spec, generation } of this.#guests.values()) ends.set(spec.name, generation);
    let left = ends.size;
    for (const local of this.#guests.values()) {
      local.retry?.cancel();
      this.#events.gone(local.spec.name);
    }
    this.#guests.clear();
    if (left === 0) this.#desk.after(0, done);
    for (const [guest, generation] of ends)
      this.#machines.stop(guest, generation, () => {
        left -= 1;
        if (left === 0) done();
      });
  }

  #fence(local: LocalGuest): void {
    const { name } = local.spec;
    const { generation } = local;
    this.#machines.fence(name, generation, (isFenced) => {
      if (this.#guests.get(name) !== local || local.generation !== generation || local.state !== 'fencing') return;
      if (isFenced) {
        this.#desk.tell({ kind: 'gate-raised', guest: name, generation });
        this.#start(local);
      } else local.retry = this.#desk.after(RETRY_MS, () => this.#fence(local));
    });
  }

  #start(local: LocalGuest): void {
    const { name } = local.spec;
    const { generation, method } = local;
    local.state = 'starting';
    const deadlineMs = this.#events.deadlineMs();
    this.#desk.tell({ kind: 'starting', guest: name, generation, detail: method });
    this.#events.starting(name, generation, method);
    const order = {
      guest: name,
      generation,
      incarnation: this.incarnation,
      method,
      deadlineMs,
      cores: this.#events.coresOf(name),
    };
    this.#machines.start(order, (isStarted) => {
      if (this.#guests.get(name) !== local || local.generation !== generation || local.state !== 'starting') return;
      local.state = 'running';
      this.#desk.tell({ kind: isStarted ? 'started' : 'start-failed', guest: name, generation, detail: method });
      if (isStarted) this.#events.started(name, generation, method);
      else this.#events.failed(name);
    });
  }

  #forget(local: LocalGuest): void {
    if (this.#guests.get(local.spec.name) !== local) return;
    this.#guests.delete(local.spec.name);
    this.#events.gone(local.spec.name);
  }

  /** Changes the owner's record, until it is changed or not this host's. */
  #write(local: LocalGuest, to: Partial<Omit<Owner, 'sync'>> & { sync?: string | undefined }, done: () => void): void {
    const { name } = local.spec;
    const again = (): void => {
      local.retry = this.#desk.after(RETRY_MS, () => this.#write(local, to, done));
    };
    if (this.#guests.get(name) !== local) return;
    if (local.isWriting) {
      again();
      return;
    }
    local.isWriting = true;
    const { sync = undefined, ...rest } = { sync: local.sync, ...to };
    const before: Owner = {
      host: this.#desk.host,
      incarnation: this.incarnation,
      generation: local.generation,
      phase: 'held',
    };
    const owner: Owner = { ...before, ...rest, ...(sync === undefined ? {} : { sync }) };
    const transaction = {
      compares: [{ key: keyOf(OWNER, name), revision: local.revision }],
      puts: [put(OWNER, name, owner)],
    };
    this.#desk.commit(transaction, this.#desk.settings.requestMs, (outcome) => {
      local.isWriting = false;
      if (this.#guests.get(name) !== local) return;
      if (outcome.kind === 'committed') this.#wrote(local, owner, outcome.revision, done);
      else this.#settle(local, owner, done, again);
    });
  }

  #wrote(local: LocalGuest, owner: Owner, revision: number, done: () => void): void {
    local.revision = revision;
    local.generation = owner.generation;
    local.sync = owner.sync;
    done();
  }

  /** The outcome is unknown, or somebody wrote: read what stands there. */
  #settle(local: LocalGuest, owner: Owner, done: () => void, again: () => void): void {
    const { name } = local.spec;
    this.#desk.read({ keys: [keyOf(OWNER, name)] }, this.#desk.settings.requestMs, (outcome) => {
      if (this.#guests.get(name) !== local) return;
      if (outcome.kind === 'failed') {
        again();
        return;
      }
      const { value, revision } = find(outcome.entries, OWNER, name);
      if (JSON.stringify(value) === JSON.stringify(owner)) this.#wrote(local, owner, revision, done);
      else if (value?.host === owner.host && value.incarnation === owner.incarnation) {
        local.revision = revision;
        again();
      } else {
        // Taken over: whoever did is sure that this host is not in.
        this.#machines.stop(name, local.generation, () => this.#forget(local));
      }
    });
  }
}

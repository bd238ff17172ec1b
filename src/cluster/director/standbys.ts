/** The duties of this host: standbys that it keeps for others, and where the checkpoints of its own guests go. */
import type { Duty, GuestSpec } from '../model.ts';
import type { Machines } from '../ports.ts';
import { DUTIES, decode, find, type HostDuties, keyOf, SPEC } from '../store/records.ts';
import { standbyNeeds } from '../takeover/ledger.ts';
import type { Desk } from './desk.ts';
import type { LocalGuests } from './local-guests.ts';

interface Kept {
  readonly duty: Duty;
  readonly memoryBytes: number;
}

export class Standbys {
  readonly #desk: Desk;
  readonly #machines: Machines;
  readonly #guests: LocalGuests;
  readonly #hasMemory: (bytes: number) => boolean;
  readonly #kept = new Map<string, Kept>();
  readonly #sent = new Map<string, Duty>();
  readonly #asking = new Set<string>();
  #duties: readonly Duty[] = [];
  #revision = 0;
  /** What the duties are is known, since this host is in. */
  #isTold = false;

  constructor(desk: Desk, machines: Machines, guests: LocalGuests, hasMemory: (bytes: number) => boolean) {
    this.#desk = desk;
    this.#machines = machines;
    this.#guests = guests;
    this.#hasMemory = hasMemory;
  }

  get duties(): readonly Duty[] {
    return this.#duties;
  }

  /** Memory of the standbys that are kept here, that of `but` left out. */
  memoryBytes(but = ''): number {
    let sum = 0;
    for (const [guest, { memoryBytes }] of this.#kept) if (guest !== but) sum += memoryBytes;
    return sum;
  }

  methodOf(guest: string): Duty['method'] | undefined {
    return this.#kept.get(guest)?.duty.method;
  }

  /** A daemon that is back goes on with those that it finds, until it knows its duties. */
  adopt(specs: ReadonlyMap<string, GuestSpec>): void {
    for (const { guest, method, activeHost } of this.#machines.standbys()) {
      const spec = specs.get(guest);
      if (spec === undefined || this.#guests.get(guest) !== undefined) continue;
      const duty: Duty = { guest, role: 'standby', method, peer: activeHost, everyMs: 0 };
      this.#kept.set(guest, { duty, memoryBytes: standbyNeeds(spec, method).memoryBytes });
    }
  }

  take(value: string | undefined, revision: number): void {
    this.#isTold = true;
    if (revision === this.#revision) return;
    this.#revision = revision;
    this.#duties = decode<HostDuties>(DUTIES, value)?.duties ?? [];
  }

  /** Brings what is kept and sent in line with the duties. */
  look(): void {
    if (!this.#isTold) return;
    const standby = new Map(this.#duties.filter(({ role }) => role === 'standby').map((one) => [one.guest, one]));
    for (const [guest, { duty }] of this.#kept) {
      const wanted = standby.get(guest);
      // It runs here now: what was its standby is the guest.
      if (this.#guests.get(guest) !== undefined) this.#kept.delete(guest);
      else if (wanted === undefined || wanted.method !== duty.method) this.#drop(guest);
      else if (wanted.peer !== duty.peer) this.#keep(guest, wanted, this.#kept.get(guest)?.memoryBytes ?? 0);
    }
    for (const [guest, duty] of standby)
      if (!this.#kept.has(guest) && !this.#asking.has(guest) && this.#guests.get(guest) === undefined)
        this.#ask(guest, duty);
    this.#send();
  }

  /** All of it, when the host is not in any more. */
  clear(): void {
    for (const { guest } of this.#machines.standbys()) this.#drop(guest);
    this.#kept.clear();
    this.#sent.clear();
    this.#isTold = false;
    this.#duties = [];
    this.#revision = 0;
  }

  #ask(guest: string, duty: Duty): void {
    this.#asking.add(guest);
    this.#desk.read({ keys: [keyOf(SPEC, guest)] }, this.#desk.settings.requestMs, (outcome) => {
      this.#asking.delete(guest);
      const spec = outcome.kind === 'read' ? find(outcome.entries, SPEC, guest).value : undefined;
      if (spec === undefined || !this.#duties.includes(duty) || this.#guests.get(guest) !== undefined) return;
      const { memoryBytes } = standbyNeeds(spec, duty.method);
      if (this.#hasMemory(memoryBytes)) this.#keep(guest, duty, memoryBytes);
    });
  }

  #keep(guest: string, duty: Duty, memoryBytes: number): void {
    this.#kept.set(guest, { duty, memoryBytes });
    this.#machines.keepStandby(guest, { method: duty.method, activeHost: duty.peer });
  }

  #drop(guest: string): void {
    this.#kept.delete(guest);
    this.#machines.keepStandby(guest, undefined);
  }

  /** Of two standbys of one guest, while one is being made, the one in force comes first: both get what they need. */
  #send(): void {
    const active = new Map<string, Duty>();
    for (const duty of this.#duties) if (duty.role === 'active') active.set(`${duty.guest}/${duty.peer}`, duty);
    for (const [name, duty] of this.#sent) {
      const isWanted = active.has(name) && this.#guests.get(duty.guest)?.state === 'running';
      if (!isWanted) {
        this.#sent.delete(name);
        this.#machines.replicate(duty.guest, duty.peer, undefined);
      }
    }
    for (const [name, duty] of active) {
      const before = this.#sent.get(name);
      if (this.#guests.get(duty.guest)?.state !== 'running') continue;
      if (before !== undefined && before.method === duty.method && before.everyMs === duty.everyMs) continue;
      this.#sent.set(name, duty);
      this.#machines.replicate(duty.guest, duty.peer, { method: duty.method, everyMs: duty.everyMs });
    }
  }
}

/** The simulated world: true time, hosts, guests, the store, the network between hosts, and the invariants over all. */
import type { ClusterEvent } from '../director/desk.ts';
import type { HostIdentity } from '../membership/membership.ts';
import type { GuestSpec, Method } from '../model.ts';
import type { Costs } from '../ports.ts';
import type { Settings } from '../settings.ts';
import { decode, keyOf, put, SPEC } from '../store/records.ts';
import { EventQueue } from './event-queue.ts';
import { Invariants } from './invariants.ts';
import { Random } from './random.ts';
import type { Rule } from './rules.ts';
import { SimGuest } from './sim-guest.ts';
import { SimHost } from './sim-host.ts';
import type { SimMachine } from './sim-machine.ts';
import { SimStoreServer } from './sim-store.ts';

export interface WorldOptions {
  readonly seed: number;
  readonly settings: Settings;
  readonly broken?: Rule | undefined;
  /** Between acts of a guest. */
  readonly actMs?: number;
  readonly trace?: (line: string) => void;
}

export class World {
  readonly queue = new EventQueue();
  readonly random: Random;
  readonly settings: Settings;
  readonly broken: Rule | undefined;
  readonly actMs: number;
  readonly hosts = new Map<string, SimHost>();
  readonly guests = new Map<string, SimGuest>();
  readonly store: SimStoreServer;
  readonly invariants: Invariants;
  readonly #trace: ((line: string) => void) | undefined;
  /** Hosts of different sides do not reach each other; all on side 0 at first. */
  readonly sides = new Map<string, number>();
  loss = 0;
  /** Nothing goes wrong any more. */
  isCalm = false;
  duplicates = 0;
  datagrams = 0;
  datagramBytes = 0;
  readonly events = new Map<string, number>();

  constructor({ seed, settings, broken, actMs = 200, trace }: WorldOptions) {
    this.random = new Random(seed);
    this.settings = settings;
    this.broken = broken;
    this.actMs = actMs;
    this.#trace = trace;
    this.store = new SimStoreServer(this);
    this.invariants = new Invariants(this);
    this.store.onCommit = (transaction, before) => this.invariants.committing(transaction, before);
  }

  addHost(identity: Omit<HostIdentity, 'boot'>): SimHost {
    const capacity =
      this.broken === 'limits'
        ? {
            cores: identity.capacity.cores * 1000,
            memoryBytes: identity.capacity.memoryBytes * 1000,
            diskBytes: identity.capacity.diskBytes * 1000,
          }
        : identity.capacity;
    const host = new SimHost(this, { ...identity, capacity }, identity.capacity);
    this.hosts.set(host.name, host);
    host.boot();
    return host;
  }

  /** As an operator's command does it. */
  addGuest(spec: GuestSpec, costs: Costs): SimGuest {
    const guest = new SimGuest(spec, costs, this.random.between(0, 7));
    this.guests.set(spec.name, guest);
    this.writeSpec(spec);
    return guest;
  }

  writeSpec(spec: GuestSpec): void {
    if (this.store.isDown) return;
    const key = keyOf(SPEC, spec.name);
    this.store.commit({
      compares: [{ key, revision: this.store.state.get(key)?.revision ?? 0 }],
      puts: [put(SPEC, spec.name, spec)],
    });
  }

  guest(name: string): SimGuest {
    const guest = this.guests.get(name);
    if (guest === undefined) return this.invariants.fail(`nobody made a guest ${name}`);
    return guest;
  }

  run(durationMs: number): void {
    this.queue.runUntil(this.queue.nowMs + durationMs);
  }

  /** Runs until `done` holds, looked at each 50 ms; returns whether it does. */
  until(done: () => boolean, limitMs: number): boolean {
    const endMs = this.queue.nowMs + limitMs;
    while (!done()) {
      if (this.queue.nowMs >= endMs) return false;
      this.run(50);
    }
    return true;
  }

  say(line: string): void {
    this.#trace?.(`${(this.queue.nowMs / 1000).toFixed(3)} ${line}`);
  }

  told(host: SimHost, event: ClusterEvent): void {
    this.events.set(event.kind, (this.events.get(event.kind) ?? 0) + 1);
    if (this.#trace !== undefined) {
      const { kind, ...rest } = event;
      this.say(`${host.name} ${kind} ${Object.values(rest).join(' ')}`);
    }
  }

  /** The host of that name, if what this one sends comes there. */
  reach(from: SimHost, to: string): SimHost | undefined {
    const host = this.hosts.get(to);
    const isReached = host?.isUp === true && from.isUp && this.sides.get(from.name) === this.sides.get(to);
    return isReached ? host : undefined;
  }

  datagram(from: SimHost, to: string, bytes: Uint8Array): void {
    this.datagrams += 1;
    this.datagramBytes += bytes.byteLength;
    if (this.random.chance(this.loss)) return;
    const copies = this.duplicates > 0 && this.random.chance(this.duplicates) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const delayMs = this.random.chance(0.02) ? this.random.between(5, 300) : this.random.between(0.1, 2);
      this.queue.after(delayMs, () => {
        const host = this.reach(from, to);
        host?.daemon.run(() => host.director?.receive(from.name, bytes));
      });
    }
  }

  started(machine: SimMachine, method: Method, epoch: number | undefined): void {
    this.invariants.started(machine, method, epoch);
  }

  checkMemory(host: SimHost): void {
    this.invariants.memory(host);
  }

  /** A guest's work: with a hot standby in step, it leaves once that has it. */
  acted(machine: SimMachine, wasStopped: boolean): void {
    const { guest } = machine;
    machine.epoch += 1;
    if (!machine.replicateNow() && machine.syncHost !== undefined) return;
    if (machine.generation >= guest.least) guest.lastOutput = Math.max(guest.lastOutput, machine.epoch);
    this.invariants.acted(machine, wasStopped);
  }

  specOf(name: string): GuestSpec | undefined {
    return decode(SPEC, this.store.state.get(keyOf(SPEC, name))?.value);
  }
}

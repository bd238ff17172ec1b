/** Machines of hosts in one test, without processes: a guest is a name on a host, and stops at its deadline by itself. */
import type { Costs, Done, HeldMachine, HeldStandby, Load, Machines, Method, StartOrder } from '../../cluster/index.ts';
import { UNKNOWN_COSTS } from '../../cluster/index.ts';
import type { ClusterMachinesParts } from './cluster-machines.ts';
import type { Hands, OpenHands } from './member.ts';

interface Running extends HeldMachine {
  deadlineMs: number;
}

/** What runs where, over lives of daemons. */
export class FakeWorld {
  readonly #hosts = new Map<string, Map<string, Running>>();
  /** The least generation that each guest's storage takes. */
  readonly gates = new Map<string, number>();
  /** Two that could act at one instant: must stay empty. */
  readonly clashes: string[] = [];

  readonly open: OpenHands = async (parts) => new FakeHands(this, parts);

  machinesOf(host: string): Map<string, Running> {
    const known = this.#hosts.get(host) ?? new Map<string, Running>();
    this.#hosts.set(host, known);
    return known;
  }

  /** Hosts on which it may act now. */
  holders(guest: string, nowMs: number): string[] {
    return [...this.#hosts].flatMap(([host, machines]) => {
      const machine = machines.get(guest);
      return machine !== undefined && machine.deadlineMs > nowMs ? [host] : [];
    });
  }
}

class FakeHands implements Machines, Load, Hands {
  readonly machines = this;
  readonly load = this;
  readonly #world: FakeWorld;
  readonly #parts: ClusterMachinesParts;
  readonly #here: Map<string, Running>;
  readonly #beats: NodeJS.Timeout;

  constructor(world: FakeWorld, parts: ClusterMachinesParts) {
    this.#world = world;
    this.#parts = parts;
    this.#here = world.machinesOf(parts.host);
    this.#beats = setInterval(() => this.#beat(), 500);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#beats);
  }

  list(): readonly HeldMachine[] {
    return [...this.#here.values()];
  }

  standbys(): readonly HeldStandby[] {
    return [];
  }

  grant(incarnation: number, deadlineMs: number): void {
    for (const machine of this.#here.values())
      if (machine.incarnation === incarnation) machine.deadlineMs = Math.max(machine.deadlineMs, deadlineMs);
  }

  fence(guest: string, generation: number, done: Done): void {
    this.#world.gates.set(guest, Math.max(this.#world.gates.get(guest) ?? 0, generation));
    setImmediate(done, true);
  }

  start({ guest, generation, incarnation, deadlineMs }: StartOrder, done: Done): void {
    const others = this.#world.holders(guest, this.#parts.clock.nowMs()).filter((host) => host !== this.#parts.host);
    for (const other of others) this.#world.clashes.push(`${guest}: ${other} and ${this.#parts.host}`);
    this.#here.set(guest, { guest, generation, incarnation, deadlineMs });
    setImmediate(done, true);
  }

  stop(guest: string, generation: number, done: Done): void {
    if (this.#here.get(guest)?.generation === generation) this.#here.delete(guest);
    setImmediate(done, true);
  }

  restartGuest(): void {}

  order(): void {}

  keepStandby(): void {}

  replicate(): void {}

  holdOutput(_guest: string, _forHost: string | undefined, done: Done): void {
    setImmediate(done, true);
  }

  share(): void {}

  usedCores(): number {
    return this.#here.size;
  }

  costs(): Costs {
    return UNKNOWN_COSTS;
  }

  readyStandbys(): readonly string[] {
    return [];
  }

  #beat(): void {
    const nowMs = this.#parts.clock.nowMs();
    for (const { guest, generation, deadlineMs } of this.#here.values())
      if (deadlineMs > nowMs) this.#parts.events.beat({ guest, generation, isApplicationWell: true, role: 'active' });
  }
}

export type { Method };

/**
 * A host of the simulated world: a clock of its own rate, a daemon, machines, standbys. It can be stopped, crash and boot
 * again; so can its daemon alone, while the machines go on.
 */
import { HostDirector } from '../director/host-director.ts';
import type { HostIdentity } from '../membership/membership.ts';
import type { Capacity, Method, Order } from '../model.ts';
import type { Costs, Done, HeldMachine, HeldStandby, Load, Machines, StartOrder, Timer } from '../ports.ts';
import type { Scheduled } from './event-queue.ts';
import { Process } from './process.ts';
import { SimMachine } from './sim-machine.ts';
import { SimStore } from './sim-store.ts';
import type { World } from './world.ts';

interface Standby {
  readonly method: Method;
  readonly activeHost: string;
  readonly sinceMs: number;
  /** Of the last checkpoint of a hot one; undefined: it has none. */
  epoch: number | undefined;
}

export class SimHost implements Machines, Load {
  readonly world: World;
  readonly identity: HostIdentity;
  readonly real: Capacity;
  readonly #rate: number;
  readonly #offsetMs: number;
  /** Of the time of day. */
  jumpMs = 0;
  /** Timers come late by up to so much. */
  latenessMs = 2;
  isUp = false;
  isCutFromStore = false;
  /** It stands still for so long as soon as one of its machines has looked at its deadline, and before that acts. */
  freezeAtActMs = 0;
  daemon = new Process();
  director: HostDirector | undefined;
  readonly machines = new Map<string, SimMachine>();
  readonly kept = new Map<string, Standby>();
  /** That standbys' slaves got. */
  takeOverOrders = 0;
  crashes = 0;
  /** Machines that are being started, by their generation. */
  readonly #starting = new Map<string, number>();
  #boots = 0;
  #seenByUs = new Set<string>();

  /** `real`: what it truly has. */
  constructor(world: World, identity: Omit<HostIdentity, 'boot'>, real: Capacity) {
    this.world = world;
    this.real = real;
    this.identity = { ...identity, boot: '' };
    const { random } = world;
    this.#rate = 1 + random.between(-0.003, 0.003);
    this.#offsetMs = random.between(0, 1e7);
    this.daemon.kill();
  }

  get name(): string {
    return this.identity.name;
  }

  nowMs(): number {
    const { broken, queue } = this.world;
    return this.#offsetMs + queue.nowMs * this.#rate + (broken === 'wall-clock' ? this.jumpMs : 0);
  }

  after(process: Process, delayMs: number, run: () => void): Scheduled {
    const { queue, random } = this.world;
    return queue.after(delayMs / this.#rate + random.next() * this.latenessMs, () => process.run(run));
  }

  // Life

  boot(): void {
    this.#boots += 1;
    this.isUp = true;
    this.startDaemon();
  }

  crash(): void {
    this.isUp = false;
    this.crashes += 1;
    this.crashDaemon();
    for (const machine of this.machines.values()) machine.process.kill();
    this.machines.clear();
    this.#starting.clear();
    this.kept.clear();
  }

  startDaemon(): void {
    if (!this.isUp || !this.daemon.isDead) return;
    const daemon = new Process();
    this.daemon = daemon;
    const { world } = this;
    const after = (delayMs: number, run: () => void): Timer => {
      const event = this.after(daemon, delayMs, run);
      return {
        cancel: () => {
          event.run = undefined;
        },
      };
    };
    const store = new SimStore(world, world.store, daemon, after, () => this.isCutFromStore || !this.isUp);
    const identity = { ...this.identity, boot: `${this.name}-${this.#boots}` };
    this.director = new HostDirector(
      identity,
      world.settings,
      {
        ...{ clock: this, timers: { after }, chance: world.random.next, store, machines: this, load: this },
        datagrams: { send: (to, bytes) => world.datagram(this, to, bytes) },
      },
      (event) => world.told(this, event),
    );
    this.director.start();
  }

  crashDaemon(): void {
    this.director?.halt();
    this.director = undefined;
    this.daemon.kill();
  }

  /** All processes stand still at once, for so long; those that come later, too. */
  freeze(ms: number): void {
    const processes = [this.daemon, ...[...this.machines.values()].map(({ process }) => process)];
    for (const process of processes) process.stop();
    this.world.queue.after(ms, () => {
      for (const process of processes) process.resume();
    });
  }

  stop(guest: string, generation: number, done: Done): void {
    if (this.#starting.get(guest) === generation) this.#starting.delete(guest);
    const machine = this.machines.get(guest);
    if (machine !== undefined && machine.generation === generation) {
      machine.process.kill();
      this.machines.delete(guest);
    }
    const { daemon } = this;
    this.after(daemon, 3, () => done(true));
  }

  // Machines

  list(): readonly HeldMachine[] {
    return [...this.machines.values()].map(({ guest, generation, incarnation }) => ({
      ...{ guest: guest.spec.name, generation, incarnation },
    }));
  }

  standbys(): readonly HeldStandby[] {
    return [...this.kept].map(([guest, { method, activeHost }]) => ({ guest, method, activeHost }));
  }

  grant(incarnation: number, deadlineMs: number): void {
    for (const machine of this.machines.values())
      if (machine.incarnation === incarnation)
        this.after(machine.process, 0.5, () => {
          machine.deadlineMs =
            this.world.broken === 'wall-clock' ? deadlineMs : Math.max(machine.deadlineMs, deadlineMs);
        });
  }

  fence(name: string, generation: number, done: Done): void {
    const { world, daemon } = this;
    const guest = world.guest(name);
    this.after(daemon, world.random.between(1, 8), () => {
      guest.least = Math.max(guest.least, generation);
      this.after(daemon, 1, () => done(true));
    });
  }

  start({ guest: name, generation, incarnation, method, deadlineMs, cores }: StartOrder, done: Done): void {
    const { world, daemon } = this;
    const guest = world.guest(name);
    this.#starting.set(name, generation);
    this.after(daemon, world.random.between(5, 40), () => {
      if (this.#starting.get(name) !== generation) return;
      this.#starting.delete(name);
      const standby = this.kept.get(name);
      this.kept.delete(name);
      const machine = new SimMachine(this, guest, { generation, incarnation, deadlineMs });
      machine.cores = cores;
      this.machines.get(name)?.process.kill();
      this.machines.set(name, machine);
      world.started(machine, method, standby?.epoch);
      const { bootMs, restoreMs } = guest.costs;
      machine.isCold = method === 'cold';
      machine.boot(method === 'cold' ? bootMs : method === 'warm' ? restoreMs : world.random.between(20, 150));
      // The grant that came while it started did not reach it.
      this.after(daemon, 1, () => {
        machine.deadlineMs = Math.max(machine.deadlineMs, deadlineMs);
        done(true);
      });
    });
  }

  restartGuest(name: string, generation: number): void {
    const machine = this.machines.get(name);
    if (machine?.generation === generation) machine.boot(machine.guest.costs.bootMs);
  }

  order(name: string, order: Order, generation: number): void {
    const machine = this.machines.get(name);
    if (order === 'take-over') this.takeOverOrders += 1;
    if (machine?.generation !== generation || order !== 'restart-application') return;
    this.after(machine.process, machine.guest.costs.applicationRestartMs, () => {
      machine.isApplicationWell = true;
    });
  }

  keepStandby(name: string, standby: { readonly method: Method; readonly activeHost: string } | undefined): void {
    const before = this.kept.get(name);
    if (standby === undefined) this.kept.delete(name);
    else if (before?.method === standby.method) this.kept.set(name, { ...before, ...standby });
    else this.kept.set(name, { ...standby, sinceMs: this.world.queue.nowMs, epoch: undefined });
    this.world.checkMemory(this);
  }

  replicate(
    name: string,
    toHost: string,
    how: { readonly method: Method; readonly everyMs: number } | undefined,
  ): void {
    const machine = this.machines.get(name);
    if (machine === undefined) return;
    if (how === undefined) machine.replicas.delete(toHost);
    else machine.replicas.set(toHost, how.method);
    if (how?.method === 'hot' || how === undefined) this.#follow(machine, toHost);
  }

  holdOutput(name: string, forHost: string | undefined, done: Done): void {
    const machine = this.machines.get(name);
    if (machine === undefined) return;
    this.after(machine.process, 5, () => {
      machine.syncHost = forHost;
      const isSafe = machine.replicateNow();
      this.after(this.daemon, 1, () => done(isSafe));
    });
  }

  /** What that host keeps for guests of this one: one that was fenced and does not know it is not heard there. */
  standbyAt(toHost: string, name: string): Standby | undefined {
    const standby = this.world.reach(this, toHost)?.kept.get(name);
    return standby?.activeHost === this.name ? standby : undefined;
  }

  share(name: string, cores: number): void {
    const machine = this.machines.get(name);
    if (machine !== undefined) machine.cores = cores;
  }

  /** The machine of an active guest looks after its hot standby: told when that is there, and when it is not. */
  #follow(machine: SimMachine, toHost: string): void {
    const name = machine.guest.spec.name;
    const key = `${name}/${machine.generation}/${toHost}`;
    if (this.#seenByUs.has(key)) return;
    this.#seenByUs.add(key);
    let [since, told]: [number, boolean] = [0, false];
    const look = (): void => {
      if (this.machines.get(name) !== machine || machine.replicas.get(toHost) !== 'hot') {
        this.#seenByUs.delete(key);
        if (told) this.#tellSync(machine, toHost, false);
        return;
      }
      const standby = this.standbyAt(toHost, name);
      const isThere = standby?.method === 'hot';
      if (!isThere) since = 0;
      else since += 1;
      // A standby that was made anew has nothing, and is another one.
      const isLost = told && (!isThere || standby.epoch === undefined);
      if (since === 3 || isLost) {
        told = !isLost;
        if (isLost) since = 0;
        else if (isThere) standby.epoch = machine.epoch;
        this.#tellSync(machine, toHost, told);
      }
      this.after(machine.process, 400, look);
    };
    look();
  }

  #tellSync({ guest, generation }: SimMachine, host: string, isSynced: boolean): void {
    this.after(this.daemon, 1, () => this.director?.synced(guest.spec.name, generation, host, isSynced));
  }

  slaveBeat({ guest, generation, isApplicationWell }: SimMachine): void {
    const { daemon } = this;
    this.after(daemon, 0.5, () =>
      this.director?.slaveBeat({ guest: guest.spec.name, generation, isApplicationWell, role: 'active' }),
    );
  }

  // Load

  usedCores(): number {
    let sum = 0;
    for (const { cores } of this.machines.values()) sum += cores;
    return sum;
  }

  costs(name: string): Costs {
    return this.world.guest(name).costsAt(this.world.queue.nowMs);
  }

  readyStandbys(): readonly string[] {
    const ready: string[] = [];
    for (const [guest, { method, sinceMs, epoch }] of this.kept)
      if (method === 'hot' ? epoch !== undefined : this.world.queue.nowMs - sinceMs > 2000) ready.push(guest);
    return ready;
  }
}

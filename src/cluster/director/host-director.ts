/**
 * One host's part of the cluster: what a daemon runs, and a simulated host. It joins, holds the host's lease, exchanges heartbeats,
 * watches its peers' leases and fences those that expire, claims what the plans give it, keeps standbys, reacts to its
 * guests' failures, and leads when it is its turn. It knows the world by its ports alone.
 *
 *     slaves' beats, machines' ends, datagrams  -->  HostDirector  -->  machines, datagrams, store
 */
import { Master } from '../heartbeat/master.ts';
import { Ring } from '../heartbeat/ring.ts';
import { type HostIdentity, isIn } from '../membership/membership.ts';
import type { HostRecord } from '../model.ts';
import type { Datagrams, Load, Machines, SlaveBeat } from '../ports.ts';
import type { Settings } from '../settings.ts';
import type { StoreEntry } from '../store/cluster-store.ts';
import { decode, PLAN, SPEC } from '../store/records.ts';
import { Claims } from './claims.ts';
import { type ClusterEvent, Desk, type DeskPorts } from './desk.ts';
import { Guests } from './guests.ts';
import { HostMembership } from './host-membership.ts';
import type { Leader } from './leader.ts';
import { Leadership } from './leadership.ts';
import { Observation, type Observed } from './observation.ts';
import { StatusWriter } from './status-writer.ts';

export interface DirectorPorts extends DeskPorts {
  readonly datagrams: Datagrams;
  readonly machines: Machines;
  readonly load: Load;
}

/** Between those who would fence the same host. */
const RANK_MS = 100;
/** Hosts that are no peers of it come so many ranks later. */
const STRANGER_RANK = 20;

export class HostDirector {
  readonly #desk: Desk;
  readonly master: Master;
  readonly guests: Guests;
  readonly claims: Claims;
  readonly #membership: HostMembership;
  readonly #leadership: Leadership;
  readonly #observation: Observation;
  readonly #status: StatusWriter;
  #nextBeatMs = Number.NEGATIVE_INFINITY;
  #hosts: readonly string[] = [];
  #ring = new Ring([]);

  /** `tell`: what happens, for logs and for who watches. */
  constructor(
    self: HostIdentity,
    settings: Settings,
    ports: DirectorPorts,
    tell: (event: ClusterEvent) => void = () => {},
  ) {
    const desk = new Desk(self, settings, ports, tell);
    this.#desk = desk;
    this.master = new Master(settings, ports.clock, ports.datagrams, {
      suspected: (host, silentMs) =>
        desk.tell(silentMs === undefined ? { kind: 'heard-again', host } : { kind: 'suspected', host, silentMs }),
    });
    this.guests = new Guests(desk, ports, this.master, () => this.#membership.deadlineMs);
    this.claims = new Claims(desk, this.guests.local, this.guests);
    this.guests.claiming = () => this.claims.claiming();
    this.guests.standbys.isClaiming = (guest) => this.claims.isClaiming(guest);
    this.#status = new StatusWriter(desk, ports.load, this.guests.local);
    this.#membership = new HostMembership(desk, ports, this.guests, {
      began: (incarnation) => this.#begin(incarnation),
      ended: () => this.#leadership.follow(),
      left: () => {
        desk.tell({ kind: 'left' });
        this.halt();
      },
    });
    this.#observation = new Observation(
      desk,
      (observed) => this.#observe(observed),
      (host, revision) => this.#leadership.fence(host, revision),
      (host) => this.#waitMs(host),
      () => [...this.guests.local.values()].map(({ spec }) => spec.name),
    );
    this.#leadership = this.#makeLeadership();
  }

  get host(): string {
    return this.#desk.host;
  }

  /** Undefined while another host leads. */
  get leader(): Leader | undefined {
    return this.#leadership.leader;
  }

  /** Its lease is held. */
  get isIn(): boolean {
    return this.#membership.isIn;
  }

  get incarnation(): number {
    return this.#membership.incarnation;
  }

  /** Until its lease's deadline; 0: it is over, or there is none. */
  get leaseLeftMs(): number {
    return Math.max(0, this.#membership.deadlineMs - this.#desk.nowMs());
  }

  start(): void {
    this.#membership.join();
    this.#beat();
    this.#observation.start();
    this.#follow(
      PLAN.prefix,
      (entries) => this.claims.replace(entries),
      (key, value, revision) => {
        this.claims.change(key, value, revision);
        if (this.isIn) this.claims.look();
      },
    );
    this.#follow(
      SPEC.prefix,
      () => undefined,
      (key, value) => this.guests.local.respec(key.slice(SPEC.prefix.length), decode(SPEC, value)),
    );
  }

  /** The daemon ends, and its machines go on until their deadlines: what a crash does. */
  halt(): void {
    this.#desk.close();
    this.leader?.close();
    this.#membership.halt();
    this.#observation.stop();
  }

  /** Gives up all guests, then the lease; `left` is told at the end. */
  leave(): void {
    this.#membership.isLeaving = true;
    this.guests.isDraining = true;
  }

  receive(from: string, bytes: Uint8Array): void {
    if (!this.#desk.isOver) this.master.receive(from, bytes);
  }

  slaveBeat(beat: SlaveBeat): void {
    if (this.#desk.isOver) return;
    const { guest, generation } = beat;
    const { slaves } = this.master;
    const before = slaves.conditionOf(guest);
    this.master.beat(beat);
    if (before === 'starting' && slaves.conditionOf(guest) !== 'starting')
      this.#desk.tell({ kind: 'first-beat', guest, generation });
  }

  /** A machine's process is gone, without having been told to. */
  machineEnded(guest: string, generation: number): void {
    if (!this.#desk.isOver) this.guests.machineEnded(guest, generation);
  }

  /** The hot standby on that host of an active guest here has everything from now on, or has not any more. */
  synced(guest: string, generation: number, host: string, isSynced: boolean): void {
    if (!this.#desk.isOver) this.guests.local.sync(guest, generation, host, isSynced);
  }

  #makeLeadership(): Leadership {
    const director = this;
    return new Leadership(this.#desk, {
      get isIn() {
        return director.isIn;
      },
      get incarnation() {
        return director.incarnation;
      },
      isFresh: (host, incarnation) =>
        host === this.host || this.#observation.unchangedMs(host, incarnation) < this.#desk.settings.leaseMs,
      unchangedMs: (host, incarnation) => this.#observation.unchangedMs(host, incarnation),
      changed: () => this.#watch(),
    });
  }

  #begin(incarnation: number): void {
    this.guests.local.incarnation = incarnation;
    this.claims.incarnation = incarnation;
    this.master.incarnation = incarnation;
  }

  /** At a fixed rate: what one interval comes late by, the next is shorter. */
  #beat(): void {
    const { beatMs } = this.#desk.settings;
    const nowMs = this.#desk.nowMs();
    this.#nextBeatMs = Math.max(this.#nextBeatMs, nowMs - beatMs / 2) + beatMs;
    this.#desk.after(this.#nextBeatMs - nowMs, () => this.#beat());
    this.master.leaseLeftMs = this.leaseLeftMs;
    this.master.tick();
    if (!this.isIn) return;
    this.guests.look();
    this.claims.look();
    this.#status.look();
  }

  /** Changes there are heard of at once; the regular read is for when a watch fails. */
  #follow(
    prefix: string,
    all: (entries: readonly StoreEntry[]) => void,
    change: (key: string, value: string | undefined, revision: number) => void,
  ): void {
    const { requestMs, readMs } = this.#desk.settings;
    const again = (): void => void this.#desk.after(readMs, () => this.#follow(prefix, all, change));
    this.#desk.read({ prefixes: [prefix] }, requestMs, (outcome) => {
      if (outcome.kind === 'failed') {
        again();
        return;
      }
      all(outcome.entries);
      const watch = this.#desk.watch(prefix, outcome.revision, (event) => {
        if (event.kind === 'change') {
          change(event.key, event.value, event.revision);
          return;
        }
        watch.cancel();
        again();
      });
    });
  }

  #observe({ leader, isLeaderIn, self, duties, plans, hosts, specs }: Observed): void {
    if (hosts !== undefined) this.#meet(hosts);
    if (!this.isIn) {
      this.#leadership.follow();
      return;
    }
    const { isLeaving } = this.#membership;
    this.guests.isDraining = self?.state === 'draining' || isLeaving;
    this.guests.standbys.take(duties?.value, duties?.revision ?? 0);
    for (const { guest, spec } of specs) this.guests.local.respec(guest, spec);
    this.claims.replace(plans);
    this.claims.look();
    this.#leadership.consider(leader, isLeaderIn, !this.guests.isDraining);
    if (isLeaving && this.guests.isEmpty) this.#leaveNow();
  }

  #meet(hosts: readonly HostRecord[]): void {
    this.#hosts = hosts.filter((host) => isIn(host, host.incarnation)).map(({ name }) => name);
    this.#ring = new Ring(this.#hosts);
    this.#watch();
  }

  /** The leader looks at every lease each time, the others at their peers'. */
  #watch(): void {
    const peers = this.#ring.peersOf(this.host, this.#desk.settings.peersEachSide);
    this.master.setPeers(peers);
    this.#observation.watchPeers(this.leader === undefined ? peers : this.#hosts);
  }

  /** The leader acts first, then the nearest on the ring, then the others. */
  #waitMs(host: string): number {
    if (this.leader !== undefined) return 0;
    const rank = this.#ring.peersOf(host, this.#desk.settings.peersEachSide).indexOf(this.host);
    return RANK_MS * (rank < 0 ? STRANGER_RANK : rank + 1);
  }

  #leaveNow(): void {
    this.#leadership.follow();
    this.#observation.stop();
    this.#membership.leaveNow();
  }
}

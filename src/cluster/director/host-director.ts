/**
 * One host's part of the cluster: what a daemon runs, and a simulated host. It joins, holds the host's lease, exchanges heartbeats,
 * watches its peers' leases and fences those that expire, claims what the plans give it, keeps standbys, reacts to its
 * guests' failures, and leads when it is its turn. It knows the world by its ports alone.
 *
 *     slaves' beats, machines' ends, datagrams  -->  HostDirector  -->  machines, datagrams, store
 */
import { Master } from '../heartbeat/master.ts';
import { Ring } from '../heartbeat/ring.ts';
import { HostLease } from '../lease/host-lease.ts';
import type { LeaseEnd } from '../lease/lease-end.ts';
import { fence, type HostIdentity, isIn, join, leave } from '../membership/membership.ts';
import type { GuestSpec, HostRecord, LeaderRecord, LeaseRecord, Owner } from '../model.ts';
import type { Datagrams, Load, Machines, SlaveBeat } from '../ports.ts';
import type { Settings } from '../settings.ts';
import type { StoreEntry } from '../store/cluster-store.ts';
import { find, HOST, keyOf, LEADER, LEASE, OWNER, PLAN, put, SPEC, nameIn, decode } from '../store/records.ts';
import { Claims } from './claims.ts';
import { type ClusterEvent, Desk, type DeskPorts } from './desk.ts';
import { Guests } from './guests.ts';
import { Leader } from './leader.ts';
import { Observation, type Observed } from './observation.ts';
import { StatusWriter } from './status-writer.ts';

export interface DirectorPorts extends DeskPorts {
  readonly datagrams: Datagrams;
  readonly machines: Machines;
  readonly load: Load;
}

const RETRY_MS = 300;

export class HostDirector {
  readonly #desk: Desk;
  readonly #ports: DirectorPorts;
  readonly #machines: Machines;
  readonly master: Master;
  readonly #guests: Guests;
  readonly #claims: Claims;
  readonly #observation: Observation;
  readonly #status: StatusWriter;
  #lease: HostLease | undefined;
  #leader: Leader | undefined;
  #isTaking = false;
  #nextBeatMs = Number.NEGATIVE_INFINITY;
  #isLeaving = false;
  #hosts: readonly HostRecord[] = [];
  #ring = new Ring([]);
  readonly #fencing = new Set<string>();

  constructor(self: HostIdentity, settings: Settings, ports: DirectorPorts, tell: (event: ClusterEvent) => void = () => {}) {
    this.#desk = new Desk(self, settings, ports, tell);
    this.#ports = ports;
    this.#machines = ports.machines;
    this.master = new Master(settings, ports.clock, ports.datagrams, {
      suspected: (host, isSuspected) => this.#desk.tell({ kind: isSuspected ? 'suspected' : 'heard-again', host }),
    });
    this.#guests = new Guests(this.#desk, ports, this.master, () => this.#lease?.deadlineMs ?? Number.NEGATIVE_INFINITY);
    this.#claims = new Claims(this.#desk, this.#guests.local, this.#guests);
    this.#status = new StatusWriter(this.#desk, ports.load, this.#guests.local);
    this.#observation = new Observation(
      this.#desk,
      (observed) => this.#observe(observed),
      (host, revision) => this.#fence(host, revision),
      (host) => this.#waitMs(host),
    );
  }

  get host(): string {
    return this.#desk.host;
  }

  /** Undefined while another host leads. */
  get leader(): Leader | undefined {
    return this.#leader;
  }

  get isIn(): boolean {
    return this.#lease?.isHeld() === true;
  }

  get incarnation(): number {
    return this.#lease?.record.incarnation ?? 0;
  }

  get guests(): Guests {
    return this.#guests;
  }

  get claims(): Claims {
    return this.#claims;
  }

  start(): void {
    this.#join();
    this.#beat();
    this.#observation.start();
    this.#watchPlans();
  }

  /** The daemon ends, and its machines go on until their deadlines: what a crash does. */
  halt(): void {
    this.#desk.close();
    this.#leader?.close();
    this.#lease?.stop();
    this.#observation.stop();
  }

  /** Gives up all guests, then the lease. */
  leave(): void {
    this.#isLeaving = true;
    this.#guests.isDraining = true;
  }

  receive(from: string, bytes: Uint8Array): void {
    if (!this.#desk.isOver) this.master.receive(from, bytes);
  }

  slaveBeat(beat: SlaveBeat): void {
    if (!this.#desk.isOver) this.master.beat(beat);
  }

  /** A machine's process is gone, without having been told to. */
  machineEnded(guest: string, generation: number): void {
    if (!this.#desk.isOver) this.#guests.machineEnded(guest, generation);
  }

  /** The hot standby on that host of an active guest here has everything from now on, or has not any more. */
  synced(guest: string, generation: number, host: string, isSynced: boolean): void {
    if (!this.#desk.isOver) this.#guests.local.sync(guest, generation, host, isSynced);
  }

  // Membership

  #join(): void {
    const { host, settings, self } = this.#desk;
    const again = (): void => void this.#desk.after(RETRY_MS * (1 + this.#desk.chance()), () => this.#join());
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
    this.#guests.local.incarnation = incarnation;
    this.#claims.incarnation = incarnation;
    this.master.incarnation = incarnation;
    const ports = { clock: this.#ports.clock, timers: this.#desk, store: this.#desk };
    this.#lease = new HostLease(this.host, { record, revision, sentMs }, this.#desk.settings, ports, {
      renewed: (deadlineMs) => this.#machines.grant(incarnation, deadlineMs),
      lost: (end) => this.#lost(end),
    });
    this.#lease.start();
  }

  /** Somebody decided that this host is gone: its machines end, and it comes back as another. */
  #lost(end: LeaseEnd): void {
    this.#desk.tell({ kind: 'fenced-self' });
    this.#follow();
    this.#guests.endAll(() => {
      if (end !== 'removed' && !this.#isLeaving) this.#desk.after(RETRY_MS, () => this.#join());
    });
  }

  // Heartbeats and observation

  /** At a fixed rate: what one interval comes late by, the next is shorter. */
  #beat(): void {
    const { beatMs } = this.#desk.settings;
    const nowMs = this.#desk.nowMs();
    this.#nextBeatMs = Math.max(this.#nextBeatMs, nowMs - beatMs / 2) + beatMs;
    this.#desk.after(this.#nextBeatMs - nowMs, () => this.#beat());
    this.master.leaseLeftMs = Math.max(0, (this.#lease?.deadlineMs ?? 0) - this.#desk.nowMs());
    this.master.tick();
    if (!this.isIn) return;
    this.#guests.look();
    this.#claims.look();
    this.#status.look();
  }

  /** Plans are heard of at once; the regular read is for when a watch fails. */
  #watchPlans(): void {
    const { requestMs, readMs } = this.#desk.settings;
    this.#desk.read({ prefixes: [PLAN.prefix] }, requestMs, (outcome) => {
      if (outcome.kind === 'failed') {
        this.#desk.after(readMs, () => this.#watchPlans());
        return;
      }
      this.#claims.replace(outcome.entries);
      const watch = this.#desk.watch(PLAN.prefix, outcome.revision, (event) => {
        if (event.kind === 'lost') {
          watch.cancel();
          this.#desk.after(readMs, () => this.#watchPlans());
          return;
        }
        this.#claims.change(event.key, event.value, event.revision);
        if (this.isIn) this.#claims.look();
      });
    });
  }

  #observe({ leader, isLeaderIn, self, duties, plans, hosts }: Observed): void {
    if (hosts !== undefined) this.#meet(hosts);
    if (!this.isIn) {
      this.#follow();
      return;
    }
    this.#guests.isDraining = self?.state === 'draining' || this.#isLeaving;
    this.#guests.standbys.take(duties?.value, duties?.revision ?? 0);
    this.#claims.replace(plans);
    this.#claims.look();
    this.#lead(leader, isLeaderIn);
    if (this.#isLeaving && this.#guests.local.size === 0) this.#leaveNow();
  }

  #meet(hosts: readonly HostRecord[]): void {
    this.#hosts = hosts.filter((host) => isIn(host, host.incarnation));
    this.#ring = new Ring(this.#hosts.map(({ name }) => name));
    const peers = this.#ring.peersOf(this.host, this.#desk.settings.peersEachSide);
    this.master.setPeers(peers);
    this.#observation.watchPeers(this.#leader === undefined ? peers : this.#hosts.map(({ name }) => name));
  }

  /** The leader acts first, then the nearest on the ring, then the others. */
  #waitMs(host: string): number {
    if (this.#leader !== undefined) return 0;
    const rank = this.#ring.peersOf(host, this.#desk.settings.peersEachSide).indexOf(this.host);
    return 100 * (rank < 0 ? 20 : rank + 1);
  }

  #fence(host: string, revision: number): void {
    if (!this.isIn || this.#fencing.has(host)) return;
    this.#fencing.add(host);
    const end = (): void => void this.#desk.after(this.#desk.settings.readMs, () => this.#fencing.delete(host));
    const keys = [keyOf(LEASE, host), keyOf(HOST, host), keyOf(LEADER)];
    this.#desk.read({ keys }, this.#desk.settings.requestMs, (outcome) => {
      const lease = outcome.kind === 'read' ? find(outcome.entries, LEASE, host) : undefined;
      if (outcome.kind === 'failed' || lease?.value === undefined || lease.revision !== revision || !this.isIn) {
        end();
        return;
      }
      const leader = find(outcome.entries, LEADER);
      const transaction = fence(host, { value: lease.value, revision }, find(outcome.entries, HOST, host));
      const isLeader = leader.value?.host === host;
      const record = this.#leaderRecord(leader.value);
      const puts = [...(transaction.puts ?? []), ...(isLeader ? [put(LEADER, '', record)] : [])];
      const compares = [...transaction.compares, ...(isLeader ? [{ key: keyOf(LEADER), revision: leader.revision }] : [])];
      this.#desk.commit({ compares, puts }, this.#desk.settings.requestMs, (committed) => {
        end();
        if (committed.kind !== 'committed') return;
        this.#desk.tell({ kind: 'fenced', host });
        if (isLeader) this.#becomeLeader(record, committed.revision);
      });
    });
  }

  // Leading

  #lead(leader: { value: LeaderRecord | undefined; revision: number }, isLeaderIn: boolean | undefined): void {
    const { value, revision } = leader;
    const isSelf = value?.host === this.host && value.incarnation === this.incarnation;
    if (this.#leader !== undefined && (!isSelf || value.term !== this.#leader.record.term)) {
      // Read before this host's last term began, perhaps.
      if (value !== undefined && value.term > this.#leader.record.term) this.#follow();
    }
    if (this.#leader !== undefined || this.#isTaking || this.#guests.isDraining) return;
    if (isSelf || isLeaderIn === false) this.#takeLead(value, revision, isSelf ? 0 : 200 * this.#desk.chance());
  }

  #takeLead(value: LeaderRecord | undefined, revision: number, delayMs: number): void {
    this.#isTaking = true;
    this.#desk.after(delayMs, () => {
      const record = this.#leaderRecord(value);
      const transaction = { compares: [{ key: keyOf(LEADER), revision }], puts: [put(LEADER, '', record)] };
      this.#desk.commit(transaction, this.#desk.settings.requestMs, (outcome) => {
        this.#isTaking = false;
        if (outcome.kind === 'committed' && this.isIn) this.#becomeLeader(record, outcome.revision);
      });
    });
  }

  #leaderRecord(before: LeaderRecord | undefined): LeaderRecord {
    return { host: this.host, incarnation: this.incarnation, term: (before?.term ?? 0) + 1 };
  }

  #becomeLeader(record: LeaderRecord, revision: number): void {
    this.#leader?.close();
    if (record.incarnation !== this.incarnation) return;
    this.#desk.tell({ kind: 'leading' });
    const { leaseMs } = this.#desk.settings;
    this.#observation.watchPeers(this.#hosts.map(({ name }) => name));
    this.#leader = new Leader(
      this.#desk,
      { record, revision },
      (host) => host === this.host || this.#observation.unchangedMs(host) < leaseMs,
      () => this.#follow(),
    );
  }

  #follow(): void {
    if (this.#leader === undefined) return;
    this.#leader.close();
    this.#leader = undefined;
    this.#desk.tell({ kind: 'following' });
  }

  #leaveNow(): void {
    const lease = this.#lease;
    if (lease === undefined) return;
    lease.stop();
    this.#follow();
    this.#desk.read({ keys: [keyOf(LEASE, this.host), keyOf(HOST, this.host)] }, this.#desk.settings.requestMs, (outcome) => {
      const found = outcome.kind === 'read' ? find(outcome.entries, LEASE, this.host) : undefined;
      if (outcome.kind === 'failed' || found?.value === undefined) {
        this.#desk.after(RETRY_MS, () => this.#leaveNow());
        return;
      }
      const transaction = leave(this.host, { value: found.value, revision: found.revision }, find(outcome.entries, HOST, this.host));
      this.#desk.commit(transaction, this.#desk.settings.requestMs, (committed) => {
        if (committed.kind === 'committed') {
          this.#desk.tell({ kind: 'left' });
          this.halt();
        } else this.#desk.after(RETRY_MS, () => this.#leaveNow());
      });
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

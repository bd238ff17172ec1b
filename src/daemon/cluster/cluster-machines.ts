/**
 * The machines of this host as the cluster's director has them (cluster/ports.ts): starts and ends guests' processes, keeps standbys,
 * sees to it that checkpoints go where they should, passes deadlines on, tells beats and ends.
 *
 *     director --start, stop, keepStandby, replicate, grant--> ClusterMachines --control sockets--> processes
 *              <--ended, beat, synced, note--
 *
 * What is done to one guest is done in turn; a stop breaks off the start that is under way. Each process is called as its guest, and a
 * host has one of that name at most: the guest's machine, or its standby. All of it is written down (guest-records.ts), so that a
 * daemon that comes back has found what runs before anybody asks.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { HostError, OperatorError } from '../../base/errors.ts';
import type {
  Clock,
  Done,
  HeldMachine,
  HeldStandby,
  Machines,
  Method,
  Order,
  SlaveBeat,
  StartOrder,
} from '../../cluster/index.ts';
import { NameLocks, type Partitions } from '../partitions/index.ts';
import type { PartitionSpec } from '../schemas/spec.ts';
import { findGuests } from './adoption.ts';
import type { BeatSeen } from './beats.ts';
import { Duties } from './duties.ts';
import { fenceDrives } from './fencing.ts';
import { GuestCosts } from './guest-costs.ts';
import { GuestProcess } from './guest-process.ts';
import { GuestRecords, type ReplicaRecord } from './guest-records.ts';
import { Held, type HeldOptions } from './held.ts';
import { KeptStandbys } from './kept-standbys.ts';
import { MachineStarts } from './machine-starts.ts';
import { Notes } from './notes.ts';
import type { PeerChannel } from './peer-channel.ts';
import { processId } from './process-id.ts';

export interface ClusterMachinesEvents {
  /** Its process is gone, without having been told to. */
  ended(guest: string, generation: number): void;
  beat(beat: SlaveBeat): void;
  /** The hot standby on that host has everything, or has not any more. */
  synced(guest: string, generation: number, host: string, isSynced: boolean): void;
  /** For logs: `start-failed`, `fence-failed`, `standby-failed` ... */
  note(kind: string, guest: string, detail: string): void;
}

export interface ClusterMachinesParts {
  /** Our name. */
  readonly host: string;
  /** IP address where standbys listen. */
  readonly listenHost: string;
  /** ca.pem, cert.pem, key.pem. */
  readonly tlsFolder: string;
  readonly clock: Clock;
  readonly partitions: Partitions;
  readonly stateFolder: string;
  readonly channel: PeerChannel;
  /** From the store. Undefined: there is none of that name. */
  guest(name: string): Promise<PartitionSpec | undefined>;
  /** What its operator wants, where that is known: one that is to be stopped is asked to shut down before it is ended. */
  wanted?(name: string): 'running' | 'stopped' | undefined;
  readonly events: ClusterMachinesEvents;
}

type Standby = { readonly method: Method; readonly activeHost: string } | undefined;

/** A start that is under way. */
interface Starting {
  readonly generation: number;
  readonly method: Method;
  readonly abort: AbortController;
}

/** What a guest has to shut down. */
const GRACE_MS = 10_000;
const ORDER_MS = 60_000;
const AGAIN_MS = 1000;

export class ClusterMachines implements Machines, AsyncDisposable {
  readonly costs: GuestCosts;
  readonly #parts: ClusterMachinesParts;
  readonly #folder: string;
  /** That machines here write. */
  readonly #checkpoints: string;
  readonly #records: GuestRecords;
  readonly #machineStarts: MachineStarts;
  readonly #standbys: KeptStandbys;
  readonly #notes: Notes;
  readonly #locks = new NameLocks();
  readonly #held = new Map<string, Held>();
  readonly #starts = new Map<string, Starting>();
  readonly #cores = new Map<string, number>();
  /** What was last said of standbys here. */
  readonly #keeping = new Map<string, Standby>();
  #granted = { incarnation: -1, deadlineMs: 0 };
  #isClosed = false;

  /** Resolves when it has found what runs: `list` and `standbys` answer at once. */
  static async open(parts: ClusterMachinesParts): Promise<ClusterMachines> {
    const machines = new ClusterMachines(parts, await parts.partitions.machines.folder());
    await machines.#adopt();
    return machines;
  }

  private constructor(parts: ClusterMachinesParts, folder: string) {
    this.#parts = parts;
    this.#notes = new Notes((...note) => parts.events.note(...note));
    this.#folder = folder;
    this.#records = new GuestRecords(parts.stateFolder);
    this.#checkpoints = join(parts.stateFolder, 'cluster', 'checkpoints');
    mkdirSync(this.#checkpoints, { recursive: true, mode: 0o700 });
    this.costs = new GuestCosts(parts.stateFolder);
    const { partitions, stateFolder, listenHost, tlsFolder, channel } = parts;
    const common = { partitions, records: this.#records, folder };
    this.#standbys = new KeptStandbys({
      ...{ ...common, stateFolder, listenHost, tlsFolder, note: this.#notes.add },
      guest: (name) => this.#specOf(name),
    });
    channel.serve('standby', (ask) => this.#standbys.answer(ask));
    channel.serve('checkpoint', (sent) => this.#standbys.take(sent));
    this.#machineStarts = new MachineStarts({
      ...{ ...common, costs: this.costs, standbys: this.#standbys },
      latest: (incarnation, deadlineMs) => this.#latest(incarnation, deadlineMs),
    });
  }

  /** The daemon ends; machines go on until their deadlines, and standbys stand by. What is being started is broken off. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const { abort } of this.#starts.values()) abort.abort(new Error('the daemon ends'));
    for (const held of this.#held.values()) held.close();
    this.#standbys.close();
  }

  // Machines

  list(): readonly HeldMachine[] {
    return [...this.#held.values()].map(({ guest, generation, incarnation }) => ({ guest, generation, incarnation }));
  }

  standbys(): readonly HeldStandby[] {
    return this.#standbys.list();
  }

  readyStandbys(): readonly string[] {
    return this.#standbys.ready();
  }

  grant(incarnation: number, deadlineMs: number): void {
    this.#granted = { incarnation, deadlineMs };
    this.#standbys.grant(incarnation, deadlineMs);
    for (const held of this.#held.values()) if (held.incarnation === incarnation) held.grants.grant(deadlineMs);
  }

  fence(guest: string, generation: number, done: Done): void {
    void this.#answer(guest, 'fence-failed', done, async () => {
      const { drives = [], failover } = await this.#specOf(guest);
      await fenceDrives(drives, { gate: failover?.gate, generation, tls: this.#parts.tlsFolder });
    });
  }

  start(order: StartOrder, done: Done): void {
    void this.#answer(order.guest, 'start-failed', done, () => this.#start(order));
  }

  stop(guest: string, generation: number, done: Done): void {
    void this.#answer(guest, 'stop-failed', done, () => this.#stop(guest, generation));
  }

  restartGuest(guest: string, generation: number): void {
    void this.#answer(
      guest,
      'restart-failed',
      (isDone) => {
        // What is not there any more has ended.
        if (!isDone && !this.#held.has(guest)) this.#parts.events.ended(guest, generation);
      },
      () => this.#restart(guest, generation),
    );
  }

  order(guest: string, order: Order, generation: number): void {
    const ignored = (): void => {};
    void this.#answer(guest, 'order-failed', ignored, () => this.#tellGuest(guest, order, generation));
  }

  keepStandby(guest: string, standby: Standby): void {
    this.#keeping.set(guest, standby);
    const again = (): void => {
      if (!this.#isClosed && this.#keeping.has(guest) && this.#keeping.get(guest) === standby)
        this.keepStandby(guest, standby);
    };
    // The director says it once.
    const done = (isDone: boolean): void => void (isDone || setTimeout(again, AGAIN_MS).unref());
    const keep = () => this.#locks.withName(guest, () => this.#keep(guest, standby));
    void this.#answer(guest, 'standby-failed', done, keep);
  }

  replicate(
    guest: string,
    toHost: string,
    how: { readonly method: Method; readonly everyMs: number } | undefined,
  ): void {
    this.#held.get(guest)?.duties?.set(toHost, how);
  }

  holdOutput(guest: string, forHost: string | undefined, done: Done): void {
    const hot = this.#held.get(guest)?.duties?.hot;
    void this.#answer(guest, 'hold-failed', done, async () => {
      if (forHost === undefined) await hot?.letGo();
      else if ((await hot?.hold(forHost)) !== true)
        throw new HostError('not-protected', `its standby on ${forHost} has not everything`);
    });
  }

  share(guest: string, cores: number): void {
    const before = this.#cores.get(guest);
    this.#cores.set(guest, cores);
    const held = this.#held.get(guest);
    if (held !== undefined && before !== cores) this.#tellShare(held, cores);
  }

  // What they do

  /** Answers later, whatever comes of it; not any more once the daemon ends. */
  async #answer(guest: string, failed: string, done: Done, body: () => Promise<void>): Promise<void> {
    try {
      await null;
      await body();
      if (!this.#isClosed) done(true);
    } catch (error) {
      if (this.#isClosed) return;
      this.#notes.add(failed, guest, error instanceof Error ? error.message : String(error));
      done(false);
    }
  }

  async #specOf(guest: string): Promise<PartitionSpec> {
    const spec = await this.#parts.guest(guest);
    if (spec !== undefined) return spec;
    throw new OperatorError('no-such-partition', `the cluster has no partition ${guest}`, 'Declare it first');
  }

  async #start(order: StartOrder): Promise<void> {
    const { guest, generation } = order;
    const starting: Starting = { generation, method: order.method, abort: new AbortController() };
    this.#starts.get(guest)?.abort.abort(new HostError('replaced', `${guest} is started under another generation`));
    this.#starts.set(guest, starting);
    try {
      await this.#locks.withName(guest, () => this.#begin(order, starting.abort.signal));
    } finally {
      if (this.#starts.get(guest) === starting) this.#starts.delete(guest);
    }
  }

  async #stop(guest: string, generation: number): Promise<void> {
    const starting = this.#starts.get(guest);
    if (starting?.generation === generation)
      starting.abort.abort(new HostError('stopped', `${guest} was stopped before it had started`));
    await this.#locks.withName(guest, async () => {
      const held = this.#held.get(guest);
      if (held?.generation === generation) await this.#end(held);
      // One that had ended by itself is no partition of this host any more, either.
      else if (held === undefined) await this.#vacate(guest);
      // What was to become the guest is not needed any more.
      if (held === undefined && starting?.generation === generation && starting.method !== 'cold')
        await this.#standbys.drop(guest);
    });
  }

  /** The name is this start's. */
  async #begin(order: StartOrder, signal: AbortSignal): Promise<void> {
    const { guest, generation, incarnation, method } = order;
    signal.throwIfAborted();
    const spec = await this.#specOf(guest);
    // A standby of no use, or not on record: the name is the machine's.
    if (method === 'cold') await this.#standbys.drop(guest);
    if (method === 'cold' || method === 'warm') await this.#clear(guest);
    this.#cores.set(guest, order.cores);
    const { bootingSinceMs, ...machine } = await this.#machineStarts.start(order, spec, signal);
    const of = { guest, generation, incarnation, method, cap: spec.cap };
    const held = this.#hold({ ...of, ...machine }, ({ isFirst }) => {
      if (isFirst && bootingSinceMs !== undefined)
        this.costs.took(guest, { bootMs: performance.now() - bootingSinceMs });
    });
    // A standby's process has no share of its own; and what was said while it started has not reached it.
    const cores = this.#cores.get(guest) ?? order.cores;
    if (method === 'hot' || method === 'pair' || cores !== order.cores) this.#tellShare(held, cores);
  }

  #hold(options: HeldOptions, beaten: (beat: BeatSeen) => void = () => {}, replica?: ReplicaRecord): Held {
    const { guest, generation, incarnation, method, process } = options;
    const { events, channel, tlsFolder, clock } = this.#parts;
    const held = new Held(options, {
      beat: (beat) => {
        beaten(beat);
        events.beat({ guest, generation, isApplicationWell: beat.isApplicationWell, role: 'active' });
      },
      measured: (figures) => this.costs.took(guest, figures),
      ended: () => {
        if (this.#held.get(guest) !== held) return;
        this.#forget(held);
        events.ended(guest, generation);
      },
    });
    const record = { kind: 'machine' as const, generation, incarnation, method, process: process.id };
    held.duties = new Duties(
      {
        ...{ guest, generation, process, channel, tlsFolder, folder: this.#checkpoints, nowMs: () => clock.nowMs() },
        measured: (checkpointMs, checkpointBytes) => this.costs.took(guest, { checkpointMs, checkpointBytes }),
        record: (to) => this.#records.put(guest, { ...record, ...(to === undefined ? {} : { replica: to }) }),
        synced: (host, isSynced) => events.synced(guest, generation, host, isSynced),
        note: (kind, detail) => this.#notes.add(kind, guest, detail),
      },
      replica,
    );
    this.#held.set(guest, held);
    // What was granted while it started has not reached it.
    if (held.incarnation === this.#granted.incarnation) held.grants.grant(this.#granted.deadlineMs);
    return held;
  }

  #tellShare(held: Held, cores: number): void {
    void this.#answer(
      held.guest,
      'share-failed',
      () => {},
      () => held.share(cores),
    );
  }

  #latest(incarnation: number, deadlineMs: number): number {
    const granted = this.#granted;
    return granted.incarnation === incarnation ? Math.max(granted.deadlineMs, deadlineMs) : deadlineMs;
  }

  /** The guest's name is free: what was there of an earlier life is ended. */
  async #clear(guest: string): Promise<void> {
    const held = this.#held.get(guest);
    if (held !== undefined) await this.#end(held);
    const info = await this.#parts.partitions.machines.info(guest);
    if (info === undefined || (info.lease === undefined && info.state !== 'standby')) return;
    const id = processId(info.pid);
    if (id !== undefined) await new GuestProcess(guest, id, this.#folder).end({ kind: 'killed' });
  }

  async #keep(guest: string, standby: Standby): Promise<void> {
    if (this.#keeping.get(guest) !== standby) return;
    if (standby === undefined) {
      await this.#standbys.drop(guest);
      this.#keeping.delete(guest);
      return;
    }
    // The guest itself runs here: who asks has not heard of that yet.
    if (this.#held.has(guest)) return;
    if (this.#standbys.get(guest) === undefined) await this.#clear(guest);
    await this.#standbys.keep(guest, standby.method, standby.activeHost);
  }

  async #end(held: Held): Promise<void> {
    const { guest, generation } = held;
    const isWanted = this.#parts.wanted?.(guest) !== 'stopped';
    const isLate = this.#latest(held.incarnation, 0) <= this.#parts.clock.nowMs();
    if (!isWanted && !isLate) await held.end({ kind: 'asked', graceMs: GRACE_MS });
    // Its standby would give the guest up if it were told: it may have to go on with it.
    else await held.end({ kind: held.duties?.hot.isProtected === true ? 'killed' : 'told' });
    this.#forget(held);
    await this.#vacate(guest);
    this.#notes.add('ended', guest, `generation ${generation}`);
  }

  /** Who waits for a machine's end waits for its process alone: what cannot be written down is told. */
  async #vacate(guest: string): Promise<void> {
    try {
      await this.#parts.partitions.vacate(guest);
    } catch (error) {
      this.#notes.add('vacate-failed', guest, error instanceof Error ? error.message : String(error));
    }
  }

  /** Its process is gone. */
  #forget(held: Held): void {
    const { guest } = held;
    if (this.#held.get(guest) === held) this.#held.delete(guest);
    this.#cores.delete(guest);
    this.#notes.forget(guest);
    try {
      this.#records.remove(guest);
      rmSync(join(this.#checkpoints, guest), { recursive: true, force: true });
    } catch (error) {
      // A record of what is gone says nothing: its process is looked for.
      this.#notes.add('files-left', guest, error instanceof Error ? error.message : String(error));
    }
  }

  /** A machine's guest cannot be reset, so its process is another one: under the same generation, for the old one is gone. */
  async #restart(guest: string, generation: number): Promise<void> {
    const held = this.#held.get(guest);
    if (held?.generation !== generation) return;
    const { incarnation } = held;
    const starting: Starting = { generation, method: 'cold', abort: new AbortController() };
    this.#starts.set(guest, starting);
    try {
      await this.#locks.withName(guest, async () => {
        if (this.#held.get(guest) !== held) return;
        held.expectEnd();
        await held.process.end({ kind: 'told' });
        // Its standby has what was before: nobody may promote that once the guest has begun anew.
        await held.duties?.hot.abandon(starting.abort.signal);
        held.leave();
        this.#held.delete(guest);
        const deadlineMs = this.#latest(incarnation, 0);
        const cores = this.#cores.get(guest) ?? 1;
        const order = { guest, generation, incarnation, method: 'cold' as const, deadlineMs, cores };
        await this.#begin(order, starting.abort.signal);
        const { duties } = this.#held.get(guest) ?? {};
        if (duties !== undefined) held.duties?.moveTo(duties);
      });
    } finally {
      if (this.#starts.get(guest) === starting) this.#starts.delete(guest);
    }
  }

  async #tellGuest(guest: string, order: Order, generation: number): Promise<void> {
    const held = this.#held.get(guest);
    const { failover } = await this.#specOf(guest);
    const command = order === 'take-over' ? failover?.takeOverCommand : failover?.restartCommand;
    if (held?.generation !== generation || command === undefined) return;
    if (order === 'restart-application') held.restartingApplication();
    const { code, stderr } = await held.process.ask((machine) => machine.exec(command), ORDER_MS);
    if (code !== 0)
      throw new HostError(
        'order-failed',
        `${order}: exit code ${code}: ${Buffer.from(stderr).toString().slice(0, 500)}`,
      );
  }

  async #adopt(): Promise<void> {
    const { machines, standbys } = await findGuests(this.#parts.partitions, this.#records);
    for (const { replica, ...machine } of machines) this.#hold(machine, undefined, replica);
    for (const guest of readdirSync(this.#checkpoints))
      if (!this.#held.has(guest)) rmSync(join(this.#checkpoints, guest), { recursive: true, force: true });
    await this.#standbys.adopt(standbys);
  }
}

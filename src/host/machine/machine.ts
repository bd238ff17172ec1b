/**
 * A running machine in this process: its board, worker threads that are its processors (or, with the instruction clock, all of
 * it on this thread in a fixed order), its I/O, its guest's agent. Implements the library's MachineHandle, and leaves the work
 * to its parts: body (what it is made of), arrivals, life, end, standbys, snapshots, monitor.
 */
import { getHeapStatistics } from 'node:v8';
import { OperatorError } from '../../base/errors.ts';
import type { Processor } from '../../engine/index.ts';
import { RUN, type Runner } from '../../hypervisor/index.ts';
import type { Board } from '../../machine/index.ts';
import type { MigrationResult } from '../../replication/index.ts';
import type {
  GuestState,
  MigrateOptions,
  ReplicateOptions,
  ReplicationReport,
  Succession,
  WarmOptions,
  WriteRate,
} from '../replication/index.ts';
import type { OpenShare } from '../shares/index.ts';
import type { SavedConversation } from './agent-link.ts';
import { arriveAsTwin, arriveFromElsewhere, arriveFromSnapshot } from './arrivals.ts';
import type { OpenedDrive } from './drives.ts';
import { instructionRunner } from './instruction-clock.ts';
import { leaseClock } from './lease-clock.ts';
import type {
  ExecOptions,
  ExecResult,
  ExitStatus,
  ForkOptions,
  LeaseAnswer,
  LeaseGrant,
  MachineHandle,
  MachineInfo,
  MachineOptions,
  PartitionOptions,
  SnapshotOptions,
  SnapshotResult,
} from './machine-api.ts';
import { MachineBody, type MachineBodyParts } from './machine-body.ts';
import { MachineGdb } from './machine-gdb.ts';
import type { MachineHome, Member } from './machine-home.ts';
import { beginLife } from './machine-life.ts';
import { MachineMonitor } from './machine-monitor.ts';
import { MachineSnapshots } from './machine-snapshots.ts';
import type { MachineParts } from './machine-start.ts';
import type { ThreadHeap } from './machine-threads.ts';
import { OneByOne } from './one-by-one.ts';
import type { Origin } from './origin.ts';
import { Standbys } from './standbys.ts';

const STOP_GRACE_MS = 30_000;
/** Numbers of commands between those of a guest and of its twin, which is being made while the guest's go on. */
const COMMANDS_APART = 10_000;

export class LocalMachine extends MachineMonitor implements MachineHandle, Member {
  readonly #another: MachineParts['another'];
  readonly #makeTwin: MachineParts['twin'];
  readonly #startedAt = new Date().toISOString();
  readonly #snapshots: MachineSnapshots;
  readonly #standbys: Standbys;
  readonly #forks = new OneByOne();
  #forked: MachineInfo['fork'];
  #gdb: MachineGdb | undefined;
  #runner: Runner | undefined;
  #isTouched = false;

  /** Of what `startMachine` (machine-start.ts) has prepared, which calls `begin`, or `abandon`. Throws OperatorError. */
  constructor({ another, twin }: MachineParts, parts: MachineBodyParts) {
    const { kind } = parts.origin;
    const body = new MachineBody(parts);
    super(body);
    const { board, home, config, end, backends, io } = body;
    this.#another = another;
    this.#makeTwin = twin;
    this.#snapshots = new MachineSnapshots(body);
    if (body.options.startPaused) body.setPaused(true);
    body.attachLease();
    // Before it counts: that takes some milliseconds.
    if (kind === 'replica') leaseClock();
    if (kind === 'files') body.renewGeneration({ tells: false });
    else board.world.setHeld(true);
    this.#standbys = new Standbys({
      ...{ config, io, backends, end },
      subject: () => body.subject,
      snapshot: (file, options) => this.snapshot(file, options),
      after: (ms, act) => body.host.after(ms, act),
    });
    home.join(this);
    if (config.clock === 'real') board.schedule();
    else this.#runner = instructionRunner(body, () => this.stopped());
  }

  /** What takes time, of the guest that comes; then it runs. */
  async begin(origin: Origin): Promise<void> {
    const { body } = this;
    const { backends, board, options } = body;
    backends.attachSockets(board);
    if (origin.kind === 'snapshot') await arriveFromSnapshot(body, origin.saved);
    backends.connectNic(board);
    if (origin.kind === 'twin') await this.#goOnFrom(origin.original, origin.quiesce);
    if (options.gdbPort !== undefined) this.#gdb = await MachineGdb.listen(this, options.gdbPort);
    beginLife({
      ...{ body, member: this, standbys: this.#standbys, gdb: this.#gdb, runner: this.#runner },
      wasRestored: origin.kind === 'snapshot',
      counted: () => this.counted(),
    });
  }

  /** A partition that was not begun after all. */
  async abandon(): Promise<void> {
    this.board.world.finish(RUN.crashed, 125);
    await this.home.leave(this);
    this.home.vacate(this.board);
  }

  async #goOnFrom(original: LocalMachine, quiesce: boolean): Promise<void> {
    const { body } = this;
    this.#forked = await original.#forks.one(async () => await arriveAsTwin(body, original.body, { quiesce }));
    body.changedContexts();
    body.history.push(original.consoleHistory());
    body.renewGeneration({ tells: true });
    body.board.world.setHeld(false);
  }

  get board(): Board {
    return this.body.board;
  }

  get home(): MachineHome {
    return this.body.home;
  }

  get exited(): Promise<ExitStatus> {
    return this.body.end.exited;
  }

  get shares(): readonly OpenShare[] {
    return this.body.backends.shares;
  }

  /** What it was made with. */
  get options(): MachineOptions {
    return this.body.options;
  }

  get drives(): readonly OpenedDrive[] {
    return this.body.backends.drives;
  }

  /** A processor of this thread. */
  get processor(): Processor {
    return this.body.processor;
  }

  /** For an agent's next host, which is to begin where this one's commands do not come to. */
  get nextConversation(): SavedConversation {
    return { nextId: this.body.agents.link.session.nextId + COMMANDS_APART, waiting: new Uint8Array() };
  }

  get info(): MachineInfo {
    const { board, end, agents, config, options, name } = this.body;
    const health = agents.care.health();
    const lease = this.body.lease.report();
    return {
      ...{ name, pid: process.pid, cpus: config.harts, memoryBytes: config.memoryBytes, startedAt: this.#startedAt },
      state: end.isRunning ? (board.world.paused ? 'paused' : 'running') : 'ended',
      publish: options.publish ?? [],
      ...(this.#forked === undefined ? {} : { fork: this.#forked }),
      agent: agents.care.report(),
      ...(health === undefined ? {} : { health }),
      ...(lease === undefined ? {} : { lease }),
    };
  }

  onConsole(listener: (bytes: Uint8Array) => void): () => void {
    return this.body.backends.outputs.onConsole(listener);
  }

  writeConsole(bytes: Uint8Array): void {
    if (this.body.end.hasLeft) return;
    this.#isTouched = true;
    this.body.io.writeConsole(bytes);
  }

  consoleHistory(): Uint8Array {
    return this.body.history.bytes();
  }

  async ready(signal?: AbortSignal): Promise<void> {
    await this.body.agents.care.agent(signal);
    await this.#snapshots.booted;
    await this.body.readdressing?.settled(signal);
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    if (this.#snapshots.booted !== undefined) await this.ready(options.signal);
    // A twin's first command finds the network.
    await this.body.readdressing?.settled(options.signal);
    return await (await this.body.agents.care.agent(options.signal)).execute(argv, options);
  }

  async createPartition(options: PartitionOptions): Promise<MachineHandle> {
    this.home.checkRoom(options as MachineOptions);
    return await this.#another(options, this.home);
  }

  async fork(options: ForkOptions = {}): Promise<MachineHandle> {
    this.body.end.checkStays();
    this.home.checkRoom();
    return await this.#makeTwin(this, options);
  }

  async pause(): Promise<void> {
    this.body.setPaused(true);
    while (!this.body.end.hasLeft && !this.board.world.isStill) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** A deadline that has passed it does not undo. */
  async resume(): Promise<void> {
    if (this.#standbys.settle()) return;
    this.body.setPaused(false);
  }

  async lease(grant: LeaseGrant): Promise<LeaseAnswer> {
    this.body.end.checkStays();
    const deadlineMs = this.body.lease.extend(grant);
    return { deadlineMs, isPaused: this.board.world.paused };
  }

  /** Resolves when the guest has a standby (docs/replication.md). */
  async replicate(options: ReplicateOptions): Promise<void> {
    await this.#standbys.replicate(options);
  }

  async unreplicate(): Promise<void> {
    await this.#standbys.unreplicate();
  }

  async replication(): Promise<ReplicationReport> {
    return this.#standbys.report();
  }

  async checkpoint(options: WarmOptions): Promise<void> {
    await this.#standbys.checkpoint(options);
  }

  async endCheckpoints(): Promise<void> {
    this.#standbys.endCheckpoints();
  }

  async writeRate(overMs = 1000): Promise<WriteRate> {
    return await this.#standbys.writeRate(overMs);
  }

  async migrate(options: MigrateOptions): Promise<MigrationResult> {
    return await this.#standbys.migrate(options);
  }

  /** The machine's clock, in ticks. */
  ticks(): number {
    return this.body.clock.ticks();
  }

  /** A guest that was elsewhere goes on here. */
  async standIn(state: GuestState, shiftTicks: number, as: Succession): Promise<void> {
    await arriveFromElsewhere(this.body, state, shiftTicks, as);
  }

  async stop(options: { graceMs?: number } = {}): Promise<ExitStatus> {
    const grace = new AbortController();
    const timer = setTimeout(() => grace.abort(), options.graceMs ?? STOP_GRACE_MS);
    try {
      await (await this.body.agents.care.agent(grace.signal)).shutdown(grace.signal);
      const late = new Promise<void>((resolve) => grace.signal.addEventListener('abort', () => resolve()));
      await Promise.race([this.exited, late]);
    } catch {
      // No agent answered in time: the machine ends without its guest's consent.
    } finally {
      clearTimeout(timer);
    }
    return await this.kill();
  }

  async kill(): Promise<ExitStatus> {
    const exited = this.body.end.kill();
    this.#standbys.giveUp();
    return await exited;
  }

  /**
   * Keeps the guest for later ones as it is when the agent answers for the first time, before any command. Not if
   * somebody had to do with it before that: typed, or reached it over the network.
   */
  keepBoot(file: string): void {
    this.#snapshots.keepBoot(file, () => {
      const visitors = this.body.backends.user?.stats().now.tcpConnections ?? 0;
      return !this.#isTouched && visitors === 0 && !this.board.world.paused;
    });
  }

  async snapshot(file: string, options: SnapshotOptions = {}): Promise<SnapshotResult> {
    if (this.#standbys.isReplicating)
      throw new OperatorError(
        'snapshot-replicated',
        'the guest is replicated: what it wrote to its disks may not be on them yet',
        'End that with "kage unreplicate", or take the snapshot without a standby.',
      );
    return await this.#snapshots.take(file, options);
  }

  /** What V8 says of the heaps of this machine's threads that live, its own thread first; for who measures memory. */
  async heaps(): Promise<readonly ThreadHeap[]> {
    return [{ thread: 'main', heap: getHeapStatistics() }, ...((await this.home.parts.threads?.heaps()) ?? [])];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  failed(error: unknown): void {
    this.body.end.failed(error);
  }

  /** The debugger lets it go on. */
  wentOn(): void {
    this.body.agents.care.setPaused(false);
  }

  /** A hart reached a breakpoint, or has made its step. */
  stopped(): void {
    this.body.agents.care.setPaused(true);
    void this.#gdb?.stopped().catch((error: unknown) => this.failed(error));
  }
}

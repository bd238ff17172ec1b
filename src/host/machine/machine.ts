/**
 * A running machine in this process: its board, worker threads that are its processors (or, with the instruction clock, all of
 * it on this thread in a fixed order), its I/O, its guest's agent. Implements the library's MachineHandle.
 *
 * Long: one method for each of the handle's, and where a machine begins, from files, a snapshot or another, and ends.
 */
import { availableParallelism } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import { must } from '../../base/assert.ts';
import { HostError, OperatorError } from '../../base/errors.ts';
import { GENERATION_BYTES, VirtioConsole, VirtioNet, VirtioVsock } from '../../devices/index.ts';
import type { EngineCode, Processor } from '../../engine/index.ts';
import { RUN, type Runner } from '../../hypervisor/index.ts';
import { CSRS, F_NAMES, X_NAMES } from '../../isa/index.ts';
import {
  type BalloonReport,
  Board,
  type BoardConfig,
  type BoardPorts,
  balloonReport,
  boardConfig,
  boardRunner,
  boardStats,
  CodeExplainer,
  type CodeExplanation,
  changeSlot,
  type ExplainRequest,
  exitStatus,
  extensionsOf,
  type HostPorts,
  type HotRegion,
  hotRegions,
  IoSlots,
  IoThread,
  latestViolations,
  type PciReport,
  type PromotedSite,
  type ProtectionChange,
  type ProtectionReport,
  partitionConfig,
  pciReport,
  promotedSites,
  protectionReport,
  restoreBoard,
  resumeBoard,
  SLICE_STEPS,
  type SlotAction,
  setBalloon,
  setCap,
  slotLayout,
  switchesOf,
  TICKS_PER_MS,
  TIMEBASE_HZ,
  throwSwitches,
  type Violation,
} from '../../machine/index.ts';
import type { CaptureOptions, NetReport, PathEvent, UserNetwork } from '../../network/index.ts';
import type { MigrationResult } from '../../replication/index.ts';
import { describeTarget, type GdbServer, listenForGdb } from '../gdb/index.ts';
import type { GuestNetwork } from '../network/guest-network.ts';
import { MachineNetworks } from '../network/machine-networks.ts';
import {
  type GuestState,
  MachineReplication,
  type MigrateOptions,
  Replica,
  type ReplicateOptions,
  type ReplicationReport,
  type Succession,
  sourceDisks,
  WarmCheckpoints,
  type WarmOptions,
  type WriteRate,
} from '../replication/index.ts';
import type { OpenShare } from '../shares/index.ts';
import { SavedMachine, type SnapshotSubject } from '../snapshots/index.ts';
import { VsockSockets } from '../vsock/index.ts';
import { type BootFiles, bootSeed, planMachineBoot, releaseBootFiles } from './boot-files.ts';
import { ConsoleHistory } from './console-history.ts';
import { MachineDebugger } from './debugger.ts';
import { type OpenedDrive, openDrives, quickPlaces } from './drives.ts';
import { garbageCollector } from './garbage-collector.ts';
import { checkCare, consolePorts, GuestAgents } from './guest-agents.ts';
import { GuestOutputs } from './guest-outputs.ts';
import { runInstructionClock } from './instruction-clock.ts';
import { leaseClock, leasePorts } from './lease-clock.ts';
import { LogFiles } from './log-files.ts';
import type {
  AgentEvent,
  ExecOptions,
  ExecResult,
  ExitStatus,
  ForkOptions,
  LeaseAnswer,
  LeaseGrant,
  MachineHandle,
  MachineInfo,
  MachineOptions,
  MachineStats,
  NetChange,
  PartitionOptions,
  SnapshotOptions,
  SnapshotResult,
  Switches,
} from './machine-api.ts';
import { MachineHome, type Member } from './machine-home.ts';
import { MachineLease } from './machine-lease.ts';
import { MachineSnapshots } from './machine-snapshots.ts';
import { MachineThreads, type ThreadHeap } from './machine-threads.ts';
import { changeNet, guestNetworkOptions, macBytes } from './net-change.ts';
import { nodePorts, whileItLasts } from './node-ports.ts';
import { OneByOne } from './one-by-one.ts';
import { endProcessorAhead } from './processor-worker-start.ts';
import { changeProtection } from './protection-change.ts';
import { Readdressing } from './readdressing.ts';
import { clockEpoch, ticksSince } from './thread-clock.ts';
import { becomeTwin, type Sibling, twinConfig } from './twin.ts';

/** The instruction clock's wall clock starts here, so that runs are alike. */
const EPOCH_MS = Date.UTC(2026, 0, 1);
const STOP_GRACE_MS = 30_000;
/** A guest that was restored is to answer first: on two processors, what this thread loads holds it up. */
const TRANSLATOR_DELAY_MS = 400;
/** Numbers of commands between those of a guest and of its twin, which is being made while the guest's go on. */
const COMMANDS_APART = 10_000;
const NS_PER_TICK = 1_000_000_000n / BigInt(TIMEBASE_HZ);

export interface MachineParts {
  readonly options: MachineOptions;
  readonly drives: readonly OpenedDrive[];
  readonly shares: readonly OpenShare[];
  /** What it boots from (given back when the guest has its copy), or the snapshot or the guest, here or elsewhere, that it goes on from. */
  readonly from: BootFiles | SavedMachine | LocalMachine | Replica;
  /** A twin's original is to freeze its file systems first. */
  readonly quiesce?: boolean;
  /** Makes another partition of the machine; a twin of one that there is. */
  readonly another: (options: PartitionOptions, home: MachineHome) => Promise<MachineHandle>;
  readonly twin: (original: LocalMachine, options: ForkOptions) => Promise<MachineHandle>;
}

export class LocalMachine implements MachineHandle, Member {
  readonly exited: Promise<ExitStatus>;
  readonly board: Board;
  #options: MachineOptions;
  readonly #another: MachineParts['another'];
  readonly #host: HostPorts;
  readonly #makeTwin: MachineParts['twin'];
  readonly #readdressing: Readdressing | undefined;
  readonly #forks = new OneByOne();
  #forked: MachineInfo['fork'];
  readonly #io: IoThread;
  readonly #agents: GuestAgents;
  readonly #drives: OpenedDrive[];
  /** Where what the guest says passes, to leave at once or when a standby has it. */
  readonly #outputs: GuestOutputs;
  readonly #lease: MachineLease;
  readonly #replication: MachineReplication;
  #warm: WarmCheckpoints | undefined;
  readonly shares: readonly OpenShare[];
  #vsock: VsockSockets | undefined;
  #network: GuestNetwork | undefined;
  readonly #slots: IoSlots;
  readonly home: MachineHome;
  readonly #end = Promise.withResolvers<ExitStatus>();
  readonly #config: BoardConfig;
  readonly #startedAt = new Date().toISOString();
  readonly #history = new ConsoleHistory();
  readonly #ticks: () => number;
  #explainer: CodeExplainer | undefined;
  #debugger: MachineDebugger | undefined;
  #gdb: GdbServer | undefined;
  readonly #logs: LogFiles;
  #failure: string | undefined;
  #wasKilled = false;
  /** To where it went on. */
  #wentTo: string | undefined;
  /** What there was to say of it when it left a machine that goes on. */
  #last: { readonly stats: MachineStats; readonly status: ExitStatus } | undefined;
  #isTouched = false;
  #wasRestored = false;
  readonly #snapshots = new MachineSnapshots(() => this.#subject);
  #runner: Runner | undefined;

  /**
   * Builds, loads and starts the machine, or another partition of the one whose `home` is given. Rejects with OperatorError
   * on bad options; nothing is left behind then.
   */
  static async start(parts: MachineParts, home?: MachineHome): Promise<LocalMachine> {
    const { options } = parts;
    const { from } = parts;
    checkCare(options);
    if (options.lease !== undefined) checkLeasable(options);
    // Who stands by has none yet.
    const lease = new MachineLease(leasePorts, from instanceof Replica ? undefined : options.lease);
    const config =
      home === undefined
        ? boardConfig(options, true, availableParallelism())
        : from instanceof LocalMachine
          ? twinConfig(options, from.board.config, home.config)
          : partitionConfig(options, home.config);
    const threads =
      home === undefined && config.clock === 'real'
        ? new MachineThreads({ processors: config.processors, translates: config.translation !== undefined })
        : undefined;
    const { pathFailover: failover = true } = options;
    const networks = home?.networks ?? new MachineNetworks({ failover, mayLeave: () => lease.mayAct });
    let network: GuestNetwork | undefined;
    let vsock: VsockSockets | undefined;
    let machine: LocalMachine | undefined;
    try {
      // Who stands by joins its network when the guest comes.
      const isReplica = from instanceof Replica;
      if (options.network !== false && !isReplica)
        network = await networks.attach(
          guestNetworkOptions(options, from instanceof LocalMachine ? from.#network : undefined),
        );
      if (options.vsock?.socket !== undefined && !isReplica) vsock = await VsockSockets.listen(options.vsock.socket);
      machine = new LocalMachine(parts, config, { network, networks, lease }, home ?? threads);
      machine.#vsock = vsock;
      machine.#attachVsock();
      if (parts.from instanceof SavedMachine) await machine.#loadMemory(parts.from);
      machine.#connectNic();
      if (from instanceof LocalMachine) await machine.#goOnFrom(from, parts.quiesce === true);
      if (options.gdbPort !== undefined) await machine.#listenForGdb(options.gdbPort);
      machine.#run();
      return machine;
    } catch (error) {
      lease.end();
      network?.close();
      vsock?.close();
      if (home === undefined) networks.close();
      await threads?.terminate();
      if (home && machine) await machine.#abandon();
      throw error;
    }
  }

  /** A partition that was not started after all. */
  async #abandon(): Promise<void> {
    this.board.world.finish(RUN.crashed, 125);
    await this.home.leave(this);
    this.home.vacate(this.board);
  }

  private constructor(
    parts: MachineParts,
    config: BoardConfig,
    {
      network,
      networks,
      lease,
    }: {
      readonly network: GuestNetwork | undefined;
      readonly networks: MachineNetworks;
      readonly lease: MachineLease;
    },
    /** The machine that it is a partition of; or the threads of one that is new, none with the instruction clock. */
    where: MachineHome | MachineThreads | undefined,
  ) {
    const { options, from } = parts;
    const saved = from instanceof SavedMachine ? from : undefined;
    const replica = from instanceof Replica ? from : undefined;
    this.#options = options;
    this.#another = parts.another;
    this.#makeTwin = parts.twin;
    const original = from instanceof LocalMachine ? from : undefined;
    if (original !== undefined && network !== undefined) this.#readdressing = new Readdressing(network.macBytes);
    this.#drives = [...parts.drives];
    this.shares = parts.shares;
    this.#network = network;
    this.exited = this.#end.promise;
    const host = whileItLasts(nodePorts(options.seed), () => this.#last === undefined);
    this.#host = host;
    this.#lease = lease;
    this.#outputs = new GuestOutputs(parts.drives, lease);
    const mac = network?.mac ?? replica?.options.mac;
    const hasNetwork = network !== undefined || (replica?.mtuBytes ?? 0) > 0;
    const mtuBytes = network?.mtuBytes ?? replica?.mtuBytes ?? 0;
    this.#slots = new IoSlots({
      board: () => this.board,
      backends: this.#outputs.disks,
      shares: parts.shares.map((share) => share.session),
      network: hasNetwork ? this.#outputs.network(() => this.#network, mtuBytes) : undefined,
      ...(mac === undefined ? {} : { mac: macBytes(mac) }),
      ...(options.vsock?.cid === undefined ? {} : { cid: options.vsock.cid }),
      ...(this.#readdressing === undefined ? {} : { onNetRestart: () => this.#readdressing?.done() }),
      consolePorts: consolePorts(options),
      host,
    });
    const home = where instanceof MachineHome ? where : undefined;
    const epoch = home?.parts.epoch ?? clockEpoch() - (saved?.ticks ?? replica?.ticks ?? 0n) * NS_PER_TICK;
    // Of the machine's memory, when there is one.
    let shared = { clockShiftMs: 0 };
    const realTicks = ticksSince(epoch, {
      get clockShiftMs() {
        return shared.clockShiftMs;
      },
    });
    const isReal = config.clock === 'real';
    const ticks = (): number => (isReal ? realTicks() : this.#steppedTicks());
    this.#ticks = ticks;
    const clock = {
      ticks: () => BigInt(Math.floor(ticks())),
      wallMs: () => (isReal ? Date.now() : EPOCH_MS + ticks() / TICKS_PER_MS),
    };
    const boardPorts: BoardPorts = {
      clock,
      hasTotalStoreOrder: process.arch === 'x64',
      slotLayout,
      slot: (slot, wiring) => this.#slots.make(slot, wiring, clock),
    };
    const isTwin = original !== undefined;
    this.board = home
      ? Board.join(home.parts.commons, config, boardPorts, { isTwin })
      : Board.create(config, boardPorts);
    shared = this.board.memory.header;
    try {
      // What takes time and needs nothing of what follows: guest memory is read, threads get ready.
      saved?.readMemory(this.board);
      this.home = home ?? MachineHome.make(this.board, where as MachineThreads | undefined, { epoch, ticks, networks });
      if (!home && isReal) this.home.start(config.room === undefined ? quickPlaces(parts.drives) : {});
      this.#io = new IoThread(this.board, host, () => lease.mayAct);
      this.#io.onConsole((bytes) => this.#outputs.console(bytes));
      this.#outputs.onConsole((bytes) => this.#history.push(bytes));
      const console = must(this.board.virtioDevices.find((device) => device instanceof VirtioConsole));
      this.#agents = new GuestAgents({
        options,
        ports: console.ports,
        saved:
          saved?.agent ??
          original?.nextConversation ??
          (replica && { nextId: replica.nextCommand, waiting: new Uint8Array() }),
        isRestored: saved !== undefined,
        isSame: replica !== undefined,
        outputs: this.#outputs,
        standsStill: () => this.board.world.paused,
      });
      this.#config = config;
      if (from instanceof SavedMachine) {
        from.loadState(this.board, network?.user);
        this.#history.push(from.console);
      } else if (!(from instanceof LocalMachine) && !(from instanceof Replica)) this.#boot(from);
      // Last of what an operator can get wrong, and before the first hart runs.
      this.#logs = new LogFiles(this.board, options);
    } catch (error) {
      home?.vacate(this.board);
      throw error;
    }
    for (const vcpu of this.board.vcpus) this.processor.contextChanged(vcpu.at);
    if (options.startPaused) this.#setPaused(true);
    this.#attachLease();
    // Before it counts: that takes some milliseconds.
    if (replica) leaseClock();
    if (saved || isTwin || replica) this.board.world.setHeld(true);
    else this.#renewGeneration({ tells: false });
    this.#replication = this.#replicator();
    this.home.join(this);
    if (isReal) this.board.schedule();
    else {
      endProcessorAhead();
      this.processor.collectGarbage = garbageCollector();
      this.#prepareInstructionClock(ticks, this.home.parts.signatures);
    }
  }

  #attachLease(): void {
    const { world } = this.board;
    const setOverdue = (overdue: boolean): void => {
      world.setOverdue(overdue);
      this.#agents.care.setOverdue(overdue);
    };
    this.#lease.attach({
      tell: (deadlineMs) => {
        world.block.suspendedMs = leaseClock().suspendedMs;
        world.block.deadlineMs = deadlineMs;
      },
      stop: () => setOverdue(true),
      goOn: () => {
        setOverdue(false);
        // What the guest left at the devices' doors.
        world.ringIo();
      },
    });
  }

  /** Of a twin: where its original stands; then it goes on by itself. */
  async #goOnFrom(original: LocalMachine, quiesce: boolean): Promise<void> {
    const { board } = this;
    this.#forked = await original.#forks.one(async () => {
      original.#checkStays();
      const become = async (check?: () => void): Promise<number> =>
        await becomeTwin(original.#sibling, this.#sibling, this.#readdressing, check);
      const pausedMs = quiesce ? (await original.#agents.care.quiesced(become)).result : await become();
      return { of: original.info.name, pausedMs };
    });
    for (const vcpu of board.vcpus) this.processor.contextChanged(vcpu.at);
    this.#history.push(original.consoleHistory());
    this.#renewGeneration({ tells: true });
    board.world.setHeld(false);
  }

  get #sibling(): Sibling {
    const { board } = this;
    const network = { network: this.#userNetwork, carrier: this.#network?.carrier };
    return { board, io: this.#io, agents: this.#agents, ...network, drives: this.#drives, shares: this.shares };
  }

  /** For an agent's next host, which is to begin where this one's commands do not come to. */
  get nextConversation(): { readonly nextId: number; readonly waiting: Uint8Array } {
    return { nextId: this.#agents.link.session.nextId + COMMANDS_APART, waiting: new Uint8Array() };
  }

  /** What it was made with. */
  get options(): MachineOptions {
    return this.#options;
  }

  get drives(): readonly OpenedDrive[] {
    return this.#drives;
  }

  /** The user-mode network of this guest, if it has one for itself. */
  get #userNetwork(): UserNetwork | undefined {
    return this.#network?.user;
  }

  /** A processor of this thread. */
  get processor(): Processor {
    return this.home.parts.processor;
  }

  #boot(files: BootFiles): void {
    const { memoryBytes, harts, aia, aiaGuests, pci } = this.#config;
    const pcie = pci !== undefined;
    const extensions = extensionsOf(this.#config);
    const seed = bootSeed(this.#options.seed);
    const plan = planMachineBoot(this.#options, files, { memoryBytes, harts, extensions, seed, aia, aiaGuests, pcie });
    this.board.load(plan);
    releaseBootFiles(files, plan);
  }

  get info(): MachineInfo {
    const isRunning = this.#last === undefined && this.board.world.run === RUN.running;
    const health = this.#agents.care.health();
    const lease = this.#lease.report();
    return {
      name: this.#options.name ?? `machine-${process.pid}`,
      pid: process.pid,
      state: isRunning ? (this.board.world.paused ? 'paused' : 'running') : 'ended',
      cpus: this.#config.harts,
      memoryBytes: this.#config.memoryBytes,
      startedAt: this.#startedAt,
      publish: this.#options.publish ?? [],
      ...(this.#forked === undefined ? {} : { fork: this.#forked }),
      agent: this.#agents.care.report(),
      ...(health === undefined ? {} : { health }),
      ...(lease === undefined ? {} : { lease }),
    };
  }

  onConsole(listener: (bytes: Uint8Array) => void): () => void {
    return this.#outputs.onConsole(listener);
  }

  writeConsole(bytes: Uint8Array): void {
    if (this.#last !== undefined) return;
    this.#isTouched = true;
    this.#io.writeConsole(bytes);
  }

  consoleHistory(): Uint8Array {
    return this.#history.bytes();
  }

  async ready(signal?: AbortSignal): Promise<void> {
    await this.#agents.care.agent(signal);
    await this.#snapshots.booted;
    await this.#readdressing?.settled(signal);
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    if (this.#snapshots.booted !== undefined) await this.ready(options.signal);
    // A twin's first command finds the network.
    await this.#readdressing?.settled(options.signal);
    return await (await this.#agents.care.agent(options.signal)).execute(argv, options);
  }

  async createPartition(options: PartitionOptions): Promise<MachineHandle> {
    this.home.checkRoom(options as MachineOptions);
    return await this.#another(options, this.home);
  }

  async fork(options: ForkOptions = {}): Promise<MachineHandle> {
    this.#checkStays();
    this.home.checkRoom();
    return await this.#makeTwin(this, options);
  }

  async pause(): Promise<void> {
    this.#setPaused(true);
    while (this.#last === undefined && !this.board.world.isStill)
      await new Promise((resolve) => setTimeout(resolve, 1));
  }

  async lease(grant: LeaseGrant): Promise<LeaseAnswer> {
    this.#checkStays();
    const deadlineMs = this.#lease.extend(grant);
    return { deadlineMs, isPaused: this.board.world.paused };
  }

  /** A deadline that has passed it does not undo. */
  async resume(): Promise<void> {
    if (this.#replication.settle()) return;
    this.#setPaused(false);
  }

  /** Resolves when the guest has a standby (docs/replication.md). */
  async replicate(options: ReplicateOptions): Promise<void> {
    this.#checkReplicable();
    await this.#replication.protect(options);
  }

  async unreplicate(): Promise<void> {
    await this.#replication.stop();
  }

  async replication(): Promise<ReplicationReport> {
    const report = this.#replication.report();
    return this.#warm === undefined ? report : { ...report, warm: this.#warm.report() };
  }

  async checkpoint(options: WarmOptions): Promise<void> {
    this.#checkReplicable();
    if (this.#warm !== undefined)
      throw new OperatorError(
        'replicated-already',
        `checkpoints are taken already, into ${this.#warm.report().folder}`,
        'End that with "kage checkpoint NAME --stop".',
      );
    const { name } = this.info;
    const snapshot = (file: string, how: SnapshotOptions): Promise<SnapshotResult> => this.snapshot(file, how);
    const after = (ms: number, act: () => void): (() => void) => this.#host.after(ms, act);
    const warm = new WarmCheckpoints({ name, drives: this.#options.drives ?? [], snapshot, after }, options);
    this.#warm = warm;
    await warm.begin().catch((error: unknown) => {
      this.#warm = undefined;
      throw error;
    });
  }

  async writeRate(overMs = 1000): Promise<WriteRate> {
    this.#checkReplicable();
    return await this.#replication.writeRate(overMs);
  }

  async endCheckpoints(): Promise<void> {
    this.#warm?.end();
    this.#warm = undefined;
  }

  async migrate(options: MigrateOptions): Promise<MigrationResult> {
    this.#checkReplicable();
    return await this.#replication.migrate(options);
  }

  #checkReplicable(): void {
    this.#checkStays();
    if (this.home.config.room !== undefined || this.#config.clock !== 'real' || this.shares.length > 0)
      throw new OperatorError(
        'not-replicable',
        'only a machine with one guest, with the real clock and without shared folders, is replicated',
        'Start it without --forks, -v and --clock instructions.',
      );
  }

  #replicator(): MachineReplication {
    return new MachineReplication({
      subject: () => this.#subject,
      gate: this.#outputs.gate,
      disks: () => sourceDisks(this.#drives, this.#outputs.disks),
      takeConsole: () => this.#outputs.takeConsole(),
      addresses: () => this.#network?.addresses ?? [],
      mtuBytes: () => this.#network?.mtuBytes ?? 0,
      letGo: async () => await this.#letGo(),
      takeBack: async () => await this.#takeBack(),
      gone: (to) => {
        this.#wentTo = to;
        this.board.world.finish(RUN.crashed, 0);
      },
      broken: (error) => this.failed(error),
    });
  }

  /** What the guest has of the host that another process is to have: its disks, its ports. It stands still. */
  async #letGo(): Promise<void> {
    for (const [i, drive] of this.#drives.entries()) {
      if (drive.options.readOnly || drive.temporary !== undefined) continue;
      await drive.backend.flush();
      await drive.close();
      this.#drives[i] = { ...drive, close: async () => {} };
    }
    this.#connections = this.#userNetwork?.save();
    this.#network?.close();
    this.#network = undefined;
    this.#vsock?.close();
    this.#vsock = undefined;
  }

  #connections: ReturnType<UserNetwork['save']> | undefined;

  async #takeBack(): Promise<void> {
    for (const [i, { options, temporary }] of this.#drives.entries()) {
      if (options.readOnly || temporary !== undefined) continue;
      const opened = must((await openDrives([options], { forkable: false, quick: true }))[0]);
      this.#drives[i] = opened;
      this.#outputs.replaceDisk(i, opened.backend);
    }
    await this.#joinNetwork([]);
    if (this.#connections !== undefined) this.#userNetwork?.restore(this.#connections);
    this.#connectNic();
    this.board.world.hurries = false;
    this.#io.release();
    this.board.world.setHeld(false);
  }

  async #joinNetwork(addresses: GuestState['addresses']): Promise<void> {
    const options = this.#options;
    if (options.network !== false)
      this.#network = await this.home.networks.attach({ ...guestNetworkOptions(options, undefined), addresses });
    if (options.vsock?.socket !== undefined) this.#vsock = await VsockSockets.listen(options.vsock.socket);
    this.#attachVsock();
  }

  #attachVsock(): void {
    const door = this.board.virtioDevices.find((device) => device instanceof VirtioVsock);
    if (door) this.#vsock?.attach(this.#outputs.vsock(door));
  }

  #connectNic(): void {
    const net = this.board.virtioDevices.find((device) => device instanceof VirtioNet);
    if (net) this.#network?.connect(net);
  }

  /** The machine's clock, in ticks. */
  ticks(): number {
    return this.#ticks();
  }

  /** A guest that was elsewhere goes on here: the same one, with the same numbers, names and time. It was held until now. */
  async standIn({ state, console, addresses }: GuestState, shiftTicks: number, as: Succession): Promise<void> {
    this.#checkStays();
    const lease = as.lease ?? this.#options.lease;
    if (lease !== undefined) {
      checkLeasable(this.#options);
      this.#lease.begin(lease);
    }
    for (const [i, drive] of as.drives) {
      this.#drives[i] = drive;
      this.#outputs.replaceDisk(i, drive.backend);
    }
    // Whoever stands by for it next hears of the addresses that there are now.
    this.#options = { ...this.#options, drives: this.#drives.map(({ options }) => options) };
    await this.#joinNetwork(addresses);
    const { board } = this;
    board.memory.header.clockShiftMs = shiftTicks / TICKS_PER_MS;
    restoreBoard(board, state.board, 'that is received');
    if (state.network !== undefined) this.#userNetwork?.restore(state.network);
    for (const vcpu of board.vcpus) this.processor.contextChanged(vcpu.at);
    this.#agents.link.goOnFrom([state.agent.waiting]);
    this.#history.push(console);
    this.#io.writeConsole(state.input);
    for (const { domain, start, end, denied } of state.rules) {
      const change = {
        action: 'deny',
        domains: [domain],
        start: Number(start),
        end: Number(end),
        rights: denied,
      } as const;
      await changeProtection(board, change);
    }
    resumeBoard(board);
    this.#connectNic();
    board.world.setHeld(false);
  }

  async setHeartbeat(intervalMs: number): Promise<void> {
    this.#checkStays();
    this.#agents.care.setHeartbeat(intervalMs);
  }

  async agentEvents(since = 0, waitMs = 0, signal?: AbortSignal): Promise<readonly AgentEvent[]> {
    return await this.#agents.care.events(since, waitMs, signal);
  }

  async stop(options: { graceMs?: number } = {}): Promise<ExitStatus> {
    const grace = new AbortController();
    const timer = setTimeout(() => grace.abort(), options.graceMs ?? STOP_GRACE_MS);
    try {
      await (await this.#agents.care.agent(grace.signal)).shutdown(grace.signal);
      await Promise.race([
        this.exited,
        new Promise<void>((resolve) => grace.signal.addEventListener('abort', () => resolve())),
      ]);
    } catch {
      // No agent answered in time: the machine ends without its guest's consent.
    } finally {
      clearTimeout(timer);
    }
    return await this.kill();
  }

  async kill(): Promise<ExitStatus> {
    if (this.#last === undefined && this.board.world.run === RUN.running) {
      this.#wasKilled = true;
      this.board.world.finish(RUN.crashed, 137);
    }
    this.#replication.giveUp();
    return await this.exited;
  }

  /**
   * Keeps the guest for later ones as it is when the agent answers for the first time, before any command. Not if
   * somebody had to do with it before that: typed, or reached it over the network.
   */
  keepBoot(file: string): void {
    this.#snapshots.keepBoot(file, this.#agents.care.agent(), () => {
      const visitors = this.#userNetwork?.stats().now.tcpConnections ?? 0;
      return !this.#isTouched && visitors === 0 && !this.board.world.paused;
    });
  }

  async snapshot(file: string, options: SnapshotOptions = {}): Promise<SnapshotResult> {
    if (this.home.config.room !== undefined)
      throw new OperatorError(
        'snapshot-partitions',
        'the machine was made for several guests, and a snapshot is of a machine with one',
        'Make the machine without "room" for more partitions to take snapshots of it.',
      );
    if (this.#replication.isBusy)
      throw new OperatorError(
        'snapshot-replicated',
        'the guest is replicated: what it wrote to its disks may not be on them yet',
        'End that with "kage unreplicate", or take the snapshot without a standby.',
      );
    const { care } = this.#agents;
    const take = async (stands?: () => void): Promise<SnapshotResult> => {
      const result = await this.#snapshots.take(file, options, stands);
      if (options.stop) await this.kill();
      return result;
    };
    if (!options.quiesce) return await care.during(take);
    const { result, frozen } = await care.quiesced(take);
    return { ...result, quiesced: frozen };
  }

  get #subject(): SnapshotSubject {
    const { link } = this.#agents;
    return {
      name: this.info.name,
      // The guest knows the address, and has it wherever it goes on.
      options: this.#network === undefined ? this.#options : { ...this.#options, mac: this.#network.mac },
      board: this.board,
      io: this.#io,
      network: this.#userNetwork,
      drives: this.#drives,
      shares: this.shares,
      ticks: this.#ticks,
      agent: () => ({ nextId: link.session.nextId, waiting: link.waiting }),
      console: () => this.#history.bytes(),
    };
  }

  async stats(): Promise<MachineStats> {
    return this.#last?.stats ?? this.#stats();
  }

  #stats(): MachineStats {
    return {
      ...boardStats(this.board),
      ...(this.#userNetwork ? { network: this.#userNetwork.stats() } : {}),
      ...(this.#network ? { paths: this.home.networks.paths.stats() } : {}),
    };
  }

  async explain({ hart = 0, ...where }: Partial<ExplainRequest> = {}): Promise<CodeExplanation> {
    this.#checkStays();
    if (this.board.vcpus[hart] === undefined)
      throw new OperatorError(
        'no-such-hart',
        `The machine has no hart ${hart}`,
        `Give a number from 0 to ${this.board.vcpus.length - 1}`,
      );
    this.#explainer ??= new CodeExplainer(this.board, this.home.parts.signatures);
    return this.#explainer.explain({ hart, ...where });
  }

  async switches(): Promise<Switches> {
    this.#checkStays();
    return switchesOf(this.board);
  }

  async setSwitches(change: Switches): Promise<void> {
    this.#checkStays();
    throwSwitches(this.board, change);
  }

  async balloon(): Promise<BalloonReport> {
    this.#checkStays();
    return balloonReport(this.board);
  }

  async setBalloon(memoryBytes: number): Promise<void> {
    this.#checkStays();
    setBalloon(this.board, memoryBytes);
  }

  async setCap(cap: number): Promise<void> {
    this.#checkStays();
    setCap(this.board, cap);
  }

  async pci(): Promise<PciReport> {
    this.#checkStays();
    return pciReport(this.board);
  }

  async changeSlot(port: string, action: SlotAction): Promise<void> {
    this.#checkStays();
    changeSlot(this.board, port, action);
  }

  async hotRegions(most = 20): Promise<readonly HotRegion[]> {
    this.#checkStays();
    return hotRegions(this.board, most);
  }

  async promotedSites(most = 20): Promise<readonly PromotedSite[]> {
    this.#checkStays();
    return promotedSites(this.board, most);
  }

  async protection(): Promise<ProtectionReport> {
    this.#checkStays();
    return protectionReport(this.board);
  }

  async protect(change: ProtectionChange): Promise<void> {
    this.#checkStays();
    await changeProtection(this.board, change);
  }

  async violations(most = 100): Promise<readonly Violation[]> {
    this.#checkStays();
    return latestViolations(this.board, most);
  }

  async net(): Promise<NetReport> {
    return this.home.networks.paths.report();
  }

  async changeNet(change: NetChange): Promise<void> {
    this.#checkStays();
    await changeNet(this.home.networks, this.#network, { owner: this.info.name, change });
  }

  async netEvents(since = 0): Promise<readonly PathEvent[]> {
    return this.home.networks.paths.events(since);
  }

  capture(options: CaptureOptions, write: (bytes: Uint8Array) => void): { close(): void } {
    this.#checkStays();
    const { port } = options;
    const named = port === undefined ? options : { ...options, port: this.#network?.named(port) ?? port };
    return this.home.networks.paths.capture(named, write);
  }

  #checkStays(): void {
    if (this.#last === undefined) return;
    throw new OperatorError('machine-ended', 'the guest has ended, and its memory serves others', 'Ask while it runs.');
  }

  /** What V8 says of the heaps of this machine's threads that live, its own thread first; for who measures memory. */
  async heaps(): Promise<readonly ThreadHeap[]> {
    return [{ thread: 'main', heap: getHeapStatistics() }, ...((await this.home.parts.threads?.heaps()) ?? [])];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** The last that a machine needs of its snapshot; it is held, and runs from here on. */
  async #loadMemory(saved: SavedMachine): Promise<void> {
    await saved.fillShares(this.shares);
    await saved.loadMemory(this.board, this.#io);
    await saved.denyAgain((change) => changeProtection(this.board, change));
    this.#wasRestored = true;
    this.#renewGeneration({ tells: true });
    this.board.world.setHeld(false);
  }

  /** The guest is another than any that its snapshot was, or will be, made into. */
  #renewGeneration({ tells }: { readonly tells: boolean }): void {
    const id = new Uint8Array(GENERATION_BYTES);
    this.#host.fillRandom(id);
    const { generation } = this.board;
    this.board.locked(generation, () => generation.renew(id, { tells }));
  }

  async #listenForGdb(port: number): Promise<void> {
    this.#debugger = new MachineDebugger(this);
    this.#gdb = await listenForGdb(this.#debugger, port, describeTarget({ x: X_NAMES, f: F_NAMES }, CSRS));
  }

  /** Called by start, once everything that may throw has been done. */
  #run(): void {
    const { signal } = this.#options;
    const abort = (): void => void this.kill();
    signal?.addEventListener('abort', abort, { once: true });
    this.home.parts.threads?.startTranslator({ delayMs: this.#wasRestored ? TRANSLATOR_DELAY_MS : 0 });
    const parts = { board: this.board, io: this.#io, slots: this.#slots, logs: this.#logs };
    const serving =
      this.#runner === undefined ? this.#io.run() : runInstructionClock({ ...parts, runner: this.#runner });
    void serving
      .catch((error: unknown) => this.failed(error))
      .then(async () => {
        this.#warm?.end();
        this.#lease.end();
        // Behind the deadline nobody is told that the guest has ended: a standby may be it by now, or is to be.
        await this.#replication.guestEnded({ isOurs: this.#lease.mayAct });
        await this.home.leave(this);
        this.#io.serve();
      })
      .catch((error: unknown) => this.failed(error))
      .then(async () => await this.#close())
      .catch((error: unknown) => this.failed(error))
      .then(() => {
        signal?.removeEventListener('abort', abort);
        this.#end.resolve(this.#status());
      });
  }

  /** What the machine had of the host's, once no thread runs it any more. */
  async #close(): Promise<void> {
    this.#logs.close();
    this.#network?.close();
    this.#vsock?.close();
    this.#agents.close();
    this.#debugger?.ended(this.#status().code);
    await this.#gdb?.[Symbol.asyncDispose]();
    for (const share of this.shares) share.close();
    await Promise.all(this.#drives.map((drive) => drive.close()));
    await this.#vacate();
  }

  /** Where the machine goes on, what it had is free for others: when no disk or socket has anything to write there. */
  async #vacate(): Promise<void> {
    while (this.#slots.underWay > 0) await new Promise((resolve) => setImmediate(resolve));
    if (!this.home.isOpen) return;
    this.#last = { stats: this.#stats(), status: this.#status() };
    // What stood where now others may stand.
    if (this.#debugger) this.board.memory.setBreakpoints([], { inOverlays: this.#config.overlays > 0 });
    this.home.vacate(this.board);
  }

  #status(): ExitStatus {
    if (this.#last !== undefined) return this.#last.status;
    if (this.#failure !== undefined) return { reason: 'error', code: 125, message: this.#failure };
    if (this.#wentTo !== undefined)
      return { reason: 'migrated', code: 0, message: `the guest runs at ${this.#wentTo}` };
    if (this.#wasKilled) return { reason: 'killed', code: 137 };
    return exitStatus(this.board.world);
  }

  failed(error: unknown): void {
    // What a guest that has ended wanted to write behind its deadline is not written, and that is as it should be.
    if (error instanceof HostError && error.code === 'lease-expired') return;
    this.#failure ??= error instanceof Error ? error.message : String(error);
    if (this.#last === undefined) this.board.world.finish(RUN.crashed, 125);
  }

  #setPaused(paused: boolean): void {
    if (this.#last !== undefined) return;
    this.board.world.setPaused(paused);
    this.#agents.care.setPaused(paused);
  }

  /** The debugger lets it go on. */
  wentOn(): void {
    this.#agents.care.setPaused(false);
  }

  /** A hart reached a breakpoint, or has made its step. */
  stopped(): void {
    this.#agents.care.setPaused(true);
    void this.#debugger?.stopped().catch((error: unknown) => this.failed(error));
  }

  #steppedTicks(): number {
    // Before there is a runner nothing has run: the clock stands at zero.
    return this.#runner === undefined ? 0 : this.#runner.ticks(must(this.board.vcpus[0]));
  }

  #prepareInstructionClock(ticks: () => number, signatures: EngineCode['signatures']): void {
    const { board, processor } = this;
    this.#runner = boardRunner(
      board,
      processor,
      { ticks, stopped: () => this.stopped() },
      { budget: SLICE_STEPS, clock: 'instructions' },
      signatures,
    );
  }
}

/** Throws OperatorError where a machine of such options can have no deadline. */
function checkLeasable({ room, clock }: MachineOptions): void {
  if (room === undefined && clock !== 'instructions') return;
  throw new OperatorError(
    'bad-lease',
    'only a machine with one guest, with the real clock, has a deadline',
    'Start it without --forks and --clock instructions.',
  );
}

/**
 * What a machine is made of in this process, put together and not yet running: the board over its memory, threads, the I/O
 * side with all that stands behind devices, the guest's agents.
 *
 *     home: engine, threads, networks of the machine      (of all its partitions)
 *     board <- slots <- backends: disks, folders, network
 *       ^       io: console, doorbells      agents, history, logs
 */
import { must } from '../../base/assert.ts';
import { GENERATION_BYTES, VirtioConsole } from '../../devices/index.ts';
import type { Processor } from '../../engine/index.ts';
import {
  Board,
  type BoardConfig,
  type BoardPorts,
  extensionsOf,
  type HostPorts,
  IoSlots,
  IoThread,
  slotLayout,
} from '../../machine/index.ts';
import type { SnapshotSubject } from '../snapshots/index.ts';
import { type BootFiles, bootSeed, planMachineBoot, releaseBootFiles } from './boot-files.ts';
import { ConsoleHistory } from './console-history.ts';
import { quickPlaces } from './drives.ts';
import { consolePorts, GuestAgents } from './guest-agents.ts';
import type { GuestBackends } from './guest-backends.ts';
import { leaseClock } from './lease-clock.ts';
import { LogFiles } from './log-files.ts';
import { MachineClock } from './machine-clock.ts';
import { MachineEnd } from './machine-end.ts';
import { MachineHome } from './machine-home.ts';
import type { MachineLease } from './machine-lease.ts';
import type { MachineOptions } from './machine-options.ts';
import type { MachineThreads } from './machine-threads.ts';
import { macBytes } from './net-change.ts';
import { nodePorts, whileItLasts } from './node-ports.ts';
import { conversationOf, type Origin, ticksAtFirst } from './origin.ts';
import { Readdressing } from './readdressing.ts';
import type { Sibling } from './twin.ts';

export interface MachineBodyParts {
  readonly config: BoardConfig;
  readonly origin: Origin;
  readonly backends: GuestBackends;
  readonly lease: MachineLease;
  /** The machine that it is a partition of; or the threads of one that is new, none with the instruction clock. */
  readonly where: MachineHome | MachineThreads | undefined;
}

export class MachineBody {
  readonly config: BoardConfig;
  readonly backends: GuestBackends;
  readonly lease: MachineLease;
  readonly host: HostPorts;
  readonly clock: MachineClock;
  readonly slots: IoSlots;
  readonly board: Board;
  readonly home: MachineHome;
  readonly io: IoThread;
  readonly agents: GuestAgents;
  readonly logs: LogFiles;
  readonly end: MachineEnd;
  readonly history = new ConsoleHistory();
  /** Of a twin: its new hardware address. */
  readonly readdressing: Readdressing | undefined;
  /** Of one that was not named. */
  readonly #madeUpName = `machine-${process.pid}`;

  /** Throws OperatorError for what an operator can get wrong; nothing of it runs then. */
  constructor({ config, origin, backends, lease, where }: MachineBodyParts) {
    this.config = config;
    this.backends = backends;
    this.lease = lease;
    const { options, network } = backends;
    this.end = new MachineEnd(() => this.board.world);
    this.host = whileItLasts(nodePorts(options.seed), () => !this.end.hasLeft);
    const isTwin = origin.kind === 'twin';
    if (isTwin && network !== undefined) this.readdressing = new Readdressing(network.macBytes);
    this.slots = this.#slots(origin);
    const home = where instanceof MachineHome ? where : undefined;
    const epoch = home?.parts.epoch ?? MachineClock.epochBehind(ticksAtFirst(origin));
    this.clock = new MachineClock(config.clock, epoch);
    const clock = this.clock.ports;
    const boardPorts: BoardPorts = {
      clock,
      hasTotalStoreOrder: process.arch === 'x64',
      slotLayout,
      slot: (slot, wiring) => this.slots.make(slot, wiring, clock),
    };
    this.board = home
      ? Board.join(home.parts.commons, config, boardPorts, { isTwin })
      : Board.create(config, boardPorts);
    this.clock.shiftBy(this.board.memory.header);
    try {
      // What takes time and needs nothing of what follows: guest memory is read, threads get ready.
      if (origin.kind === 'snapshot') origin.saved.readMemory(this.board);
      this.home = home ?? this.#makeHome(where as MachineThreads | undefined);
      this.io = new IoThread(this.board, this.host, () => lease.mayAct);
      this.io.onConsole((bytes) => backends.outputs.console(bytes));
      backends.outputs.onConsole((bytes) => this.history.push(bytes));
      this.agents = this.#makeAgents(origin);
      if (origin.kind === 'snapshot') {
        origin.saved.loadState(this.board, network?.user);
        this.history.push(origin.saved.console);
      } else if (origin.kind === 'files') this.#boot(origin.files);
      // Last of what an operator can get wrong, and before the first hart runs.
      this.logs = new LogFiles(this.board, options);
    } catch (error) {
      home?.vacate(this.board);
      throw error;
    }
    this.changedContexts();
  }

  get options(): MachineOptions {
    return this.backends.options;
  }

  get name(): string {
    return this.options.name ?? this.#madeUpName;
  }

  /** A processor of this thread. */
  get processor(): Processor {
    return this.home.parts.processor;
  }

  /** For who takes a snapshot, or sends the guest elsewhere. */
  get subject(): SnapshotSubject {
    const { backends, agents, board, io, history, clock } = this;
    const { link } = agents;
    const { network, options } = backends;
    return {
      name: this.name,
      // The guest knows the address, and has it wherever it goes on.
      options: network === undefined ? options : { ...options, mac: network.mac },
      board,
      io,
      network: backends.user,
      drives: backends.drives,
      shares: backends.shares,
      ticks: clock.ticks,
      agent: () => ({ nextId: link.session.nextId, waiting: link.waiting }),
      console: () => history.bytes(),
    };
  }

  /** For who forks it, or is its fork. */
  get sibling(): Sibling {
    const { board, io, agents, backends } = this;
    const network = { network: backends.user, carrier: backends.network?.carrier };
    return { board, io, agents, ...network, drives: backends.drives, shares: backends.shares };
  }

  /** The harts' states were written from outside. */
  changedContexts(): void {
    for (const vcpu of this.board.vcpus) this.processor.contextChanged(vcpu.at);
  }

  /** The guest is another than any that its snapshot was, or will be, made into. */
  renewGeneration({ tells }: { readonly tells: boolean }): void {
    const id = new Uint8Array(GENERATION_BYTES);
    this.host.fillRandom(id);
    const { generation } = this.board;
    this.board.locked(generation, () => generation.renew(id, { tells }));
  }

  /** The machine obeys its deadline from here on. */
  attachLease(): void {
    const { world } = this.board;
    const setOverdue = (overdue: boolean): void => {
      world.setOverdue(overdue);
      this.agents.care.setOverdue(overdue);
    };
    this.lease.attach({
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

  setPaused(paused: boolean): void {
    if (this.end.hasLeft) return;
    this.board.world.setPaused(paused);
    this.agents.care.setPaused(paused);
  }

  #slots(origin: Origin): IoSlots {
    const { options, network, outputs, shares } = this.backends;
    const replica = origin.kind === 'replica' ? origin.replica : undefined;
    const mac = network?.mac ?? replica?.options.mac;
    const mtuBytes = network?.mtuBytes ?? replica?.mtuBytes ?? 0;
    const hasNetwork = network !== undefined || mtuBytes > 0;
    return new IoSlots({
      board: () => this.board,
      backends: outputs.disks,
      shares: shares.map((share) => share.session),
      network: hasNetwork ? outputs.network(() => this.backends.network, mtuBytes) : undefined,
      ...(mac === undefined ? {} : { mac: macBytes(mac) }),
      ...(options.vsock?.cid === undefined ? {} : { cid: options.vsock.cid }),
      ...(this.readdressing === undefined ? {} : { onNetRestart: () => this.readdressing?.done() }),
      consolePorts: consolePorts(options),
      host: this.host,
    });
  }

  #makeHome(threads: MachineThreads | undefined): MachineHome {
    const { clock, config, backends } = this;
    const { epoch, ticks } = clock;
    const home = MachineHome.make(this.board, threads, { epoch, ticks, networks: backends.networks });
    if (config.clock === 'real') home.start(config.room === undefined ? quickPlaces(backends.drives) : {});
    return home;
  }

  #makeAgents(origin: Origin): GuestAgents {
    const console = must(this.board.virtioDevices.find((device) => device instanceof VirtioConsole));
    return new GuestAgents({
      options: this.options,
      ports: console.ports,
      saved: conversationOf(origin),
      isRestored: origin.kind === 'snapshot',
      isSame: origin.kind === 'replica',
      outputs: this.backends.outputs,
      standsStill: () => this.board.world.paused,
    });
  }

  #boot(files: BootFiles): void {
    const { memoryBytes, harts, aia, aiaGuests, pci } = this.config;
    const pcie = pci !== undefined;
    const extensions = extensionsOf(this.config);
    const seed = bootSeed(this.options.seed);
    const plan = planMachineBoot(this.options, files, { memoryBytes, harts, extensions, seed, aia, aiaGuests, pcie });
    this.board.load(plan);
    releaseBootFiles(files, plan);
  }
}

/**
 * The machine as a library offers it: what one asks for, what one gets. The class that implements it is in
 * machine.ts; the CLI, the control socket and src/index.ts use only this.
 */

import type {
  BalloonReport,
  CodeExplanation,
  CodeStatus,
  ExitStatus,
  ExplainRequest,
  HotRegion,
  PciFunctionReport,
  PciOptions,
  PciPortReport,
  PciReport,
  PromotedSite,
  ProtectionChange,
  ProtectionDomain,
  ProtectionReport,
  ProtectionRule,
  SlotAction,
  Switches,
  Violation,
} from '../../machine/index.ts';
import type { CaptureOptions, NetdevOptions, NetReport, PathEvent } from '../../network/index.ts';
import type { MigrationResult } from '../../replication/index.ts';
import type { AgentEvent, AgentReport, HealthOptions, HealthReport } from '../agent/index.ts';
import type {
  MigrateOptions,
  PromoteOptions,
  Promotion,
  ReplicateOptions,
  ReplicationReport,
  WarmOptions,
  WriteRate,
} from '../replication/index.ts';
import type { ShareOptions } from '../shares/index.ts';
import type { Lease, LeaseAnswer, LeaseGrant, LeaseReport } from './machine-lease.ts';
import type {
  AgentChoice,
  DriveOptions,
  MachineOptions,
  PartitionOptions,
  RestoreOptions,
  VsockOptions,
} from './machine-options.ts';

export type {
  AgentChoice,
  AgentEvent,
  AgentReport,
  CaptureOptions,
  DriveOptions,
  HealthOptions,
  HealthReport,
  Lease,
  LeaseAnswer,
  LeaseGrant,
  LeaseReport,
  MachineOptions,
  MigrateOptions,
  MigrationResult,
  NetdevOptions,
  NetReport,
  PartitionOptions,
  PathEvent,
  PromoteOptions,
  Promotion,
  ReplicateOptions,
  ReplicationReport,
  RestoreOptions,
  ShareOptions,
  VsockOptions,
  WarmOptions,
  WriteRate,
};

/** A change of the table, or of what it names. */
export interface NetChange {
  /** `map`: the interface to these uplinks; `unmap`: from these, or from all; `prefer`: the first of them first;
   * `add`: the uplink `netdev`; `failover`: `on` or off. */
  readonly action: 'map' | 'unmap' | 'prefer' | 'add' | 'failover';
  readonly interface?: string;
  readonly uplinks?: readonly string[];
  readonly netdev?: NetdevOptions;
  readonly on?: boolean;
}

export type {
  BalloonReport,
  CodeExplanation,
  CodeStatus,
  ExitStatus,
  ExplainRequest,
  HotRegion,
  PciFunctionReport,
  PciOptions,
  PciPortReport,
  PciReport,
  PromotedSite,
  ProtectionChange,
  ProtectionDomain,
  ProtectionReport,
  ProtectionRule,
  SlotAction,
  Switches,
  Violation,
};

export interface ExecOptions {
  readonly environment?: Readonly<Record<string, string>>;
  readonly workingFolder?: string;
  /** Bytes for the command's stdin; its end is EOF. Default: empty. */
  readonly stdin?: AsyncIterable<Uint8Array> | Uint8Array;
  readonly onStdout?: (bytes: Uint8Array) => void;
  readonly onStderr?: (bytes: Uint8Array) => void;
  readonly signal?: AbortSignal;
}

export interface ExecResult {
  /** The command's exit code; 128 + N after signal N. */
  readonly code: number;
  /** What was written, unless onStdout (onStderr) took it. */
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

export interface MachineInfo {
  readonly name: string;
  readonly pid: number;
  /** `standby`: it has a guest that runs elsewhere, or waits for one. */
  readonly state: 'running' | 'paused' | 'standby' | 'ended';
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly startedAt: string;
  readonly image?: string;
  readonly publish: readonly string[];
  /** Of a twin: whose, and how long that one stood still for it. */
  readonly fork?: { readonly of: string; readonly pausedMs: number };
  /** The guest's agent and its heart. */
  readonly agent?: AgentReport;
  /** Where checks of health were asked for. */
  readonly health?: HealthReport;
  /** Of a machine with a deadline. */
  readonly lease?: LeaseReport;
}

/** Counters, plain data, by component: `{vcpus: [{exits: {...}, instructions}], memory: {...}, devices: {...}, network: {...}}`. */
export type MachineStats = { readonly [name: string]: unknown };

export interface ForkOptions {
  /** Unique among the user's running machines; a made-up one by default. */
  readonly name?: string;
  /** Ports of the twin that are to be reachable; none of its original's by default. */
  readonly publish?: readonly string[];
  readonly weight?: number;
  readonly cap?: number;
  readonly pin?: readonly number[];
  /** As a snapshot's. */
  readonly quiesce?: boolean;
  readonly signal?: AbortSignal;
}

export interface SnapshotOptions {
  /** An earlier snapshot: only memory that differs from it is written, and it is needed to restore. */
  readonly base?: string;
  /** The machine ends with its snapshot. Default: it goes on. */
  readonly stop?: boolean;
  /** Default true. Without, the file is three times as large, and is restored faster. */
  readonly compress?: boolean;
  /**
   * The guest's file systems are frozen meanwhile, so that the disks are as after a clean unmount. Default false. Rejects
   * with OperatorError `not-quiesced` where the agent cannot, and takes none.
   */
  readonly quiesce?: boolean;
}

export interface SnapshotResult {
  /** Increments name their base by it. */
  readonly id: string;
  readonly file: string;
  readonly sizeBytes: number;
  /** Pages of guest memory in it. */
  readonly pages: number;
  /** How long the guest stood still. */
  readonly pausedMs: number;
  /** With `quiesce`: how many file systems were frozen, and how many of those on disks could not be. */
  readonly quiesced?: { readonly count: number; readonly left: number };
}

export interface MachineHandle extends AsyncDisposable {
  readonly info: MachineInfo;
  /** Resolves when the machine has ended, however. Never rejects. */
  readonly exited: Promise<ExitStatus>;
  /** Serial console: bytes out go to every listener (returns its removal); bytes in are queued. */
  onConsole(listener: (bytes: Uint8Array) => void): () => void;
  writeConsole(bytes: Uint8Array): void;
  /** What the console said lately, 256 KiB of it at most. */
  consoleHistory(): Uint8Array;
  /** Resolves when the guest agent says it is ready, and a twin has its hardware address and sees its link. */
  ready(signal?: AbortSignal): Promise<void>;
  /** Runs a command in the guest, through the agent; waits for it to be ready. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /**
   * Another guest in this machine, on the same processors, out of the same memory and code memory; each ends alone, and the
   * machine lives as long as one of them. Rejects with OperatorError: `machine-closed`, `machine-full`, `set-by-machine`.
   */
  createPartition(options: PartitionOptions): Promise<MachineHandle>;
  /**
   * A twin of the guest as it is now, in this machine, copy-on-write: both go on, and have what they write for themselves.
   * The twin has fresh random numbers, another generation and hardware address; its commands are its own, its disks
   * are forgotten with it. Rejects with OperatorError: `machine-closed`, `machine-full`, `machine-ended`.
   */
  fork(options?: ForkOptions): Promise<MachineHandle>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /**
   * Tells the machine that it may run until then. What is no later than its deadline changes nothing. Rejects with
   * OperatorError: `no-lease`, `lease-incarnation`.
   */
  lease(grant: LeaseGrant): Promise<LeaseAnswer>;
  /** From one beat of the guest's heart to the next from now on; 0: none. OperatorError `bad-heartbeat`. */
  setHeartbeat(intervalMs: number): Promise<void>;
  /**
   * What happened to the guest as its agent tells (it answered, its heart, its health), behind the event of that number;
   * if there is nothing, as soon as there is, or after `waitMs` (0).
   */
  agentEvents(since?: number, waitMs?: number, signal?: AbortSignal): Promise<readonly AgentEvent[]>;
  /** Asks the guest to shut down (agent), and ends the machine after the grace. */
  stop(options?: { graceMs?: number }): Promise<ExitStatus>;
  /** Ends the machine at once. */
  kill(): Promise<ExitStatus>;
  /**
   * Writes the whole machine to a file, from which `restoreMachine` makes it again. The guest stands still meanwhile.
   * Rejects with OperatorError where the file cannot be written, or the machine was made with `room`; the guest goes on.
   */
  snapshot(file: string, options?: SnapshotOptions): Promise<SnapshotResult>;
  stats(): Promise<MachineStats>;
  /**
   * What the translator makes of guest code at `pc` (where the hart stood lately, by default), as hart 0 or another sees
   * it; at `level` 2, as the guest's guest does. The guest goes on, and cannot tell. Rejects with OperatorError where there
   * is no such hart or level.
   */
  explain(where?: Partial<ExplainRequest>): Promise<CodeExplanation>;
  /** Regions of translated code that were entered most often, at most `most` (20 by default). */
  hotRegions(most?: number): Promise<readonly HotRegion[]>;
  /** Sensitive instructions that are promoted, those that ran most, at most `most` (20 by default). */
  promotedSites(most?: number): Promise<readonly PromotedSite[]>;
  /** The guest's balloon: memory that it gave back. Rejects with OperatorError where it has none. */
  balloon(): Promise<BalloonReport>;
  /** Asks the guest to make do with so much memory, of what it was made with; its driver takes its time. */
  setBalloon(memoryBytes: number): Promise<void>;
  /** Processors' worth of time that the guest may use at most from now on. Rejects with OperatorError `bad-cap`, `no-processors`. */
  setCap(cap: number): Promise<void>;
  /** The guest's PCI Express fabric: root ports, what is in their slots. Rejects with OperatorError where it has none. */
  pci(): Promise<PciReport>;
  /**
   * Puts a root port's card in (`plug`), asks the guest to let it go (`unplug`), or takes it out at once (`pull`). Rejects
   * with OperatorError: `no-pci`, `no-such-port`, `no-card`, `slot-unchanged`.
   */
  changeSlot(port: string, action: SlotAction): Promise<void>;
  /** The interfaces and uplinks of the machine, all its guests': which is mapped to which, and what is known of them. */
  net(): Promise<NetReport>;
  /** Changes the table. Rejects with OperatorError where names are wrong. */
  changeNet(change: NetChange): Promise<void>;
  /** What happened to paths behind the event of that number, the latest thousand at most. */
  netEvents(since?: number): Promise<readonly PathEvent[]>;
  /** Frames from now on, as pcapng, of one interface or uplink or all, until it is closed. */
  capture(options: CaptureOptions, write: (bytes: Uint8Array) => void): { close(): void };
  /** Domains, what is denied to them, and what they tried. Rejects with OperatorError where protection is off. */
  protection(): Promise<ProtectionReport>;
  /**
   * Takes rights to guest-physical memory from domains, or gives them back; for pages that get their frames later, too.
   * When it resolves, the very next access of every hart and device is by the new rights.
   */
  protect(change: ProtectionChange): Promise<void>;
  /** The latest accesses that tables forbade, at most `most` (100 by default). */
  violations(most?: number): Promise<readonly Violation[]>;
  /** Switches of mechanisms that can be thrown while the machine runs, as they stand. */
  switches(): Promise<Switches>;
  /** Throws those that are named, for the whole machine. Rejects with OperatorError where it has no such switch. */
  setSwitches(change: Switches): Promise<void>;
  /**
   * Gives the guest a hot standby, which listens there (docs/replication.md): resolves when it has all of the guest. From
   * then on what the guest tells the world leaves when the standby has the state behind it. Rejects with OperatorError, and
   * the guest goes on as before.
   */
  replicate(options: ReplicateOptions): Promise<void>;
  /** The guest goes on without its standby; also one that stands still because that is lost. */
  unreplicate(): Promise<void>;
  replication(): Promise<ReplicationReport>;
  /**
   * Warm standby: a snapshot every so often, in a folder from which it can be restored (FOLDER/latest). Resolves when the
   * first is there. Rejects with OperatorError: `warm-disk`, `replicated-already`, and those of snapshots.
   */
  checkpoint(options: WarmOptions): Promise<void>;
  /** How fast the guest writes to memory, watched for so long (a second by default): what a hot standby would have to be sent. */
  writeRate(overMs?: number): Promise<WriteRate>;
  /** No more of them are taken. */
  endCheckpoints(): Promise<void>;
  /** Moves the guest to whoever listens there, while it runs; this machine ends then. Rejects where it stays. */
  migrate(options: MigrateOptions): Promise<MigrationResult>;
}

/** `createMachine(options)` starts a machine in this process; the promise rejects with OperatorError on bad input. */
export type CreateMachine = (options: MachineOptions, launch?: Launch) => Promise<MachineHandle>;

/** Wraps what is made, partitions too: the control socket does, so that they can be reached. */
export type Launch = (
  create: (options: MachineOptions) => Promise<MachineHandle>,
  options: MachineOptions,
) => Promise<MachineHandle>;

/** `restoreMachine(file, options)` makes the machine of a snapshot in this process, and lets it go on. */
export type RestoreMachine = (file: string, options?: RestoreOptions) => Promise<MachineHandle>;

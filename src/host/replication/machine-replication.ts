/** Replication of a guest that runs here: to a standby, or away. One at a time. */
import { randomUUID } from 'node:crypto';
import { OperatorError } from '../../base/errors.ts';
import {
  Migration,
  type MigrationResult,
  type OutputGate,
  Peer,
  PRE_COPY,
  Protection,
  type ProtectionState,
  type ReplicationMeasures,
  SILENCE_MS,
  type SourceDisk,
  Undecided,
} from '../../replication/index.ts';
import { describeDrives, describeMachine, type SnapshotSubject } from '../snapshots/index.ts';
import { parseAddress } from '../streams/index.ts';
import { knownDrive } from './guest-disks.ts';
import type { Hello } from './hello.ts';
import { MachineSource } from './machine-source.ts';
import { nodePorts, streamCodecs } from './node-ports.ts';
import { askOutcome } from './outcome.ts';
import type { WarmReport } from './warm.ts';
import { connectPeer, isSlow, wireOf } from './wire.ts';

export interface ReplicateOptions {
  /** Address of the standby: `unix:PATH`, `tcp:127.0.0.1:PORT`, `tls:HOST:PORT`, `plain:HOST:PORT`. */
  readonly to: string;
  /** From one checkpoint to the next, at most, in milliseconds. Default 50. */
  readonly epochMs?: number;
  /** Whether output that waits begins the next checkpoint at once. Default true. */
  readonly eager?: boolean;
  /** When the standby is lost: go on without (default), or stand still until told. */
  readonly onLoss?: 'go-on' | 'wait';
  /** Of output and disk writes that may wait. Default 64 MiB. */
  readonly mostHeldBytes?: number;
  /** Default: on connections to other hosts. */
  readonly compress?: boolean;
  /** Folder of certificates, for `tls:`. */
  readonly tls?: string;
  /** So long without a word, and the peer is lost. Default 2000. */
  readonly silenceMs?: number;
}

export interface MigrateOptions {
  readonly to: string;
  /** How long the guest may stand still, about. Default 50. */
  readonly downtimeMs?: number;
  /** Whether a guest that writes too fast is slowed down. Default true. */
  readonly throttle?: boolean;
  readonly compress?: boolean;
  readonly tls?: string;
  readonly silenceMs?: number;
}

/** What a planner wants to know before there is a standby. */
export interface WriteRate {
  /** Pages of 4 KiB that were written, each once, over the time that was watched. */
  readonly pagesPerSecond: number;
  /** How long the guest stood still to look. */
  readonly pauseMs: number;
}

export interface ReplicationEvent {
  readonly atMs: number;
  readonly what: string;
  readonly why: string;
}

/** What is known of the replication of one guest, as the control socket tells it. */
export interface ReplicationReport {
  readonly role: 'none' | 'active' | 'standby' | 'source' | 'target';
  readonly state: string;
  /** Whom it is replicated to. */
  readonly peer?: string;
  /** Of one that stands by: where it listens, with the port that it was given. */
  readonly address?: string;
  /** The round that counts: acknowledged by the standby, or whole here. */
  readonly epoch: number;
  readonly measures?: ReplicationMeasures;
  /** Snapshots that are taken every so often. */
  readonly warm?: WarmReport;
  /** The latest first. */
  readonly events: readonly ReplicationEvent[];
}

export interface ReplicationParts {
  readonly subject: () => SnapshotSubject;
  readonly gate: OutputGate;
  readonly disks: () => readonly SourceDisk[];
  takeConsole(): Uint8Array;
  addresses(): unknown;
  mtuBytes(): number;
  /** What outlives this process is flushed and given up, and taken back. The guest stands still. */
  letGo(): Promise<void>;
  takeBack(): Promise<void>;
  /** It runs elsewhere: the machine ends. */
  gone(to: string): void;
  broken(error: Error): void;
}

const EPOCH_MS = 50;
const MOST_HELD_BYTES = 64 << 20;
const MOST_EVENTS = 100;

export class MachineReplication {
  readonly #parts: ReplicationParts;
  /** Names the guest to others, as long as it lives in this process. */
  readonly #guest = randomUUID();
  #protection: Protection | undefined;
  /** Migrating, or watched: somebody else sweeps. */
  #isMigrating = false;
  #to: string | undefined;
  /** Lets a guest go on that stands still, as nobody knows whether it runs elsewhere. */
  #stuck: (() => void) | undefined;
  readonly #events: ReplicationEvent[] = [];

  constructor(parts: ReplicationParts) {
    this.#parts = parts;
  }

  /** Output waits for acknowledgements, or disks are not only this machine's. */
  get isBusy(): boolean {
    const state = this.#protection?.state;
    return this.#isMigrating || state === 'syncing' || state === 'protected' || state === 'waiting';
  }

  report(): ReplicationReport {
    const protection = this.#protection;
    return {
      role: this.#isMigrating ? 'source' : protection === undefined ? 'none' : 'active',
      state: this.#isMigrating ? 'migrating' : (protection?.state ?? 'unprotected'),
      ...(this.#to === undefined ? {} : { peer: this.#to }),
      epoch: protection?.epoch ?? 0,
      ...(protection === undefined ? {} : { measures: protection.measures() }),
      events: this.#events,
    };
  }

  /** Resolves when the guest is protected. Rejects with OperatorError where it cannot be; it goes on as before. */
  async protect(options: ReplicateOptions): Promise<void> {
    this.#checkFree();
    const hello = await this.#hello('standby');
    const { peer, source, events } = await this.#connect(options);
    const { epochMs = EPOCH_MS, eager: isEager = true, onLoss = 'go-on', mostHeldBytes = MOST_HELD_BYTES } = options;
    const protectedNow = Promise.withResolvers<void>();
    const protection = new Protection(
      source,
      peer,
      nodePorts,
      { epochMs, isEager, onLoss, mostHeldBytes },
      {
        changed: (state: ProtectionState, why: string) => {
          this.#tell(state, why);
          if (state === 'protected') protectedNow.resolve();
          else if (state === 'ended')
            protectedNow.reject(new OperatorError('machine-ended', why, 'Ask while it runs.'));
        },
        broken: (error) => this.#parts.broken(error),
      },
    );
    events.message = (message) => protection.rounds.message(message);
    events.lost = (error) => protection.lost(error);
    this.#protection = protection;
    this.#to = options.to;
    this.#tell('syncing', `to ${options.to}`);
    protection.run(hello).catch((error: unknown) => protectedNow.reject(error));
    await protectedNow.promise;
  }

  /** The guest goes on alone; also one that stands still because its standby is lost. */
  async stop(): Promise<void> {
    if (this.#protection === undefined || this.#isMigrating)
      throw new OperatorError('not-replicated', 'the guest has no standby', 'Give it one with "kage replicate".');
    await this.#protection.stop();
  }

  /** Resolves when the guest runs there. Rejects with OperatorError when it stays. */
  async migrate(options: MigrateOptions): Promise<MigrationResult> {
    this.#checkFree();
    this.#isMigrating = true;
    try {
      const hello = await this.#hello('migration');
      const { peer, source, events } = await this.#connect(options);
      const limits = {
        ...PRE_COPY,
        ...(options.downtimeMs === undefined ? {} : { downtimeMs: options.downtimeMs }),
        mayThrottle: options.throttle ?? true,
      };
      const address = parseAddress(options.to);
      const migration = new Migration(
        source,
        peer,
        {
          ...nodePorts,
          letGo: () => this.#parts.letGo(),
          takeBack: () => this.#parts.takeBack(),
          askOutcome: () => askOutcome(address, options.tls, this.#guest),
        },
        limits,
      );
      events.message = (message) => migration.rounds.message(message);
      events.lost = (error) => migration.lost(error);
      this.#to = options.to;
      this.#tell('migrating', `to ${options.to}`);
      const result = await migration.run(hello);
      this.#tell('migrated', result.why);
      this.#parts.gone(options.to);
      return result;
    } catch (error) {
      if (error instanceof Undecided) {
        this.#stuck = () => void this.#parts.takeBack().catch(() => {}); // then it has ended
        this.#tell('undecided', error.message);
      } else this.#tell('stays', error instanceof Error ? error.message : String(error));
      throw error;
    } finally {
      this.#isMigrating = false;
    }
  }

  /** How fast the guest writes to memory: of a guest without a standby, watched for so long. */
  async writeRate(overMs: number): Promise<WriteRate> {
    if (this.isBusy && this.#protection !== undefined) {
      const { dirtyPagesPerSecond, pauseMs } = this.#protection.measures();
      return { pagesPerSecond: dirtyPagesPerSecond, pauseMs: pauseMs.p50 };
    }
    this.#checkFree();
    this.#isMigrating = true;
    const source = this.#source();
    try {
      const first = await source.hold();
      source.sweep();
      const since = performance.now();
      const pauseMs = since - first.sinceMs;
      first.release();
      await new Promise((resolve) => setTimeout(resolve, overMs));
      const second = await source.hold();
      const pages = source.sweep().length;
      second.release();
      return { pagesPerSecond: Math.round((pages * 1000) / (second.sinceMs - since)), pauseMs };
    } finally {
      source.endSweeps();
      this.#isMigrating = false;
    }
  }

  /** The operator says that the guest runs nowhere else. */
  settle(): boolean {
    const stuck = this.#stuck;
    this.#stuck = undefined;
    stuck?.();
    return stuck !== undefined;
  }

  /** The machine's process is to end: nobody is waited for. */
  giveUp(): void {
    this.#protection?.giveUp();
  }

  /**
   * By itself, or by its operator: whoever stands by is told, and whatever waits leaves. Not where the guest may be another's
   * by now (`isOurs` is false): nobody is told anything, and nothing leaves.
   */
  async guestEnded({ isOurs }: { readonly isOurs: boolean }): Promise<void> {
    await this.#protection?.guestEnded({ isOurs });
  }

  async #connect({ to, tls, compress, silenceMs = SILENCE_MS }: ReplicateOptions | MigrateOptions): Promise<{
    peer: Peer;
    source: MachineSource;
    events: PeerHandlers;
  }> {
    const address = parseAddress(to);
    const stream = await connectPeer(address, tls);
    const events: PeerHandlers = { message: () => {}, lost: () => {} };
    const peer = new Peer(
      wireOf(stream),
      streamCodecs,
      nodePorts,
      { packs: compress ?? isSlow(address), silenceMs },
      {
        message: (message) => events.message(message),
        lost: (error) => events.lost(error),
      },
    );
    stream.on('data', (bytes: Buffer) => peer.push(bytes));
    stream.on('error', (error) => peer.disconnected(error));
    stream.on('close', () => peer.disconnected());
    return { peer, source: this.#source(), events };
  }

  #source(): MachineSource {
    const { subject, gate, disks } = this.#parts;
    return new MachineSource({
      ...{ subject: subject(), gate, disks: disks() },
      takeConsole: () => this.#parts.takeConsole(),
      addresses: () => this.#parts.addresses(),
    });
  }

  async #hello(mode: Hello['mode']): Promise<unknown> {
    const subject = this.#parts.subject();
    return {
      mode,
      guest: this.#guest,
      head: describeMachine(subject, await describeDrives(subject.drives.map(knownDrive))),
      nextCommand: subject.agent().nextId,
      mtuBytes: this.#parts.mtuBytes(),
      drives: subject.drives.map(({ backend }) => ({
        discards: backend.discard !== undefined,
        zeroes: backend.writeZeroes !== undefined,
      })),
      ticks: Math.floor(subject.ticks()),
    };
  }

  #checkFree(): void {
    const state = this.#protection?.state;
    const isActive = state === 'syncing' || state === 'protected' || state === 'waiting';
    if (!this.#isMigrating && !isActive) return;
    throw new OperatorError(
      'replicated-already',
      this.#isMigrating ? 'the guest is on its way to another host' : `the guest is replicated to ${this.#to}`,
      'Wait for that, or end it with "kage unreplicate".',
    );
  }

  #tell(what: string, why: string): void {
    this.#events.unshift({ atMs: Date.now(), what, why });
    this.#events.length = Math.min(this.#events.length, MOST_EVENTS);
  }
}

interface PeerHandlers {
  message: (message: Parameters<Protection['rounds']['message']>[0]) => void;
  lost: (error: Error) => void;
}

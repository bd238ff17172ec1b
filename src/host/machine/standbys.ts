/** Who stands by for a guest that runs here, hot or warm, and its way to another host. */
import { OperatorError } from '../../base/errors.ts';
import type { BoardConfig, IoThread } from '../../machine/index.ts';
import type { MigrationResult } from '../../replication/index.ts';
import {
  MachineReplication,
  type MigrateOptions,
  type ReplicateOptions,
  type ReplicationReport,
  sourceDisks,
  WarmCheckpoints,
  type WarmOptions,
  type WriteRate,
} from '../replication/index.ts';
import type { SnapshotSubject } from '../snapshots/index.ts';
import type { GuestBackends } from './guest-backends.ts';
import type { SnapshotOptions, SnapshotResult } from './machine-api.ts';
import type { MachineEnd } from './machine-end.ts';

export interface StandbysParts {
  readonly config: BoardConfig;
  readonly io: IoThread;
  readonly backends: GuestBackends;
  readonly end: MachineEnd;
  readonly subject: () => SnapshotSubject;
  readonly snapshot: (file: string, options: SnapshotOptions) => Promise<SnapshotResult>;
  readonly after: (delayMs: number, callback: () => void) => () => void;
}

export class Standbys {
  readonly #parts: StandbysParts;
  readonly #replication: MachineReplication;
  #warm: WarmCheckpoints | undefined;

  constructor(parts: StandbysParts) {
    const { io, backends, end, subject } = parts;
    const { outputs } = backends;
    this.#parts = parts;
    this.#replication = new MachineReplication({
      subject,
      gate: outputs.gate,
      disks: () => sourceDisks(backends.drives, outputs.disks),
      takeConsole: () => outputs.takeConsole(),
      addresses: () => backends.network?.addresses ?? [],
      mtuBytes: () => backends.network?.mtuBytes ?? 0,
      letGo: async () => await backends.letGo(),
      takeBack: async () => {
        const { board } = subject();
        try {
          await backends.takeBack(board);
        } catch (error) {
          // It has no disks any more, or no network.
          end.failed(error);
          throw error;
        }
        board.world.hurries = false;
        io.release();
        board.world.setHeld(false);
      },
      gone: (to) => end.goneTo(to),
      broken: (error) => end.failed(error),
    });
  }

  /** What the guest wrote to its disks may not be on them yet. */
  get isReplicating(): boolean {
    return this.#replication.isBusy;
  }

  async replicate(options: ReplicateOptions): Promise<void> {
    this.#check();
    await this.#replication.protect(options);
  }

  async unreplicate(): Promise<void> {
    await this.#replication.stop();
  }

  report(): ReplicationReport {
    const report = this.#replication.report();
    return this.#warm === undefined ? report : { ...report, warm: this.#warm.report() };
  }

  async checkpoint(options: WarmOptions): Promise<void> {
    this.#check();
    if (this.#warm !== undefined)
      throw new OperatorError(
        'replicated-already',
        `checkpoints are taken already, into ${this.#warm.report().folder}`,
        'End that with "kage checkpoint NAME --stop".',
      );
    const { subject, backends, snapshot, after } = this.#parts;
    const { drives = [] } = backends.options;
    const warm = new WarmCheckpoints({ name: subject().name, drives, snapshot, after }, options);
    this.#warm = warm;
    await warm.begin().catch((error: unknown) => {
      this.#warm = undefined;
      throw error;
    });
  }

  endCheckpoints(): void {
    this.#warm?.end();
    this.#warm = undefined;
  }

  async writeRate(overMs: number): Promise<WriteRate> {
    this.#check();
    return await this.#replication.writeRate(overMs);
  }

  async migrate(options: MigrateOptions): Promise<MigrationResult> {
    this.#check();
    return await this.#replication.migrate(options);
  }

  /** The operator says that the guest runs nowhere else: false where nobody was in doubt of that. */
  settle(): boolean {
    return this.#replication.settle();
  }

  /** The machine's process is to end: nobody is waited for. */
  giveUp(): void {
    this.#replication.giveUp();
  }

  /** As MachineReplication has it. */
  async guestEnded(whose: { readonly isOurs: boolean }): Promise<void> {
    this.#warm?.end();
    await this.#replication.guestEnded(whose);
  }

  #check(): void {
    const { config, backends, end } = this.#parts;
    end.checkStays();
    if (config.room !== undefined || config.clock !== 'real' || backends.shares.length > 0)
      throw new OperatorError(
        'not-replicable',
        'only a machine with one guest, with the real clock and without shared folders, is replicated',
        'Start it without --forks, -v and --clock instructions.',
      );
  }
}

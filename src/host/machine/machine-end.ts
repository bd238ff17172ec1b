/**
 * How a machine ends, and what there is then to be said of it. A partition ends alone, and leaves its machine to the others:
 * from then on its memory is theirs, and what was to be said of it is kept here.
 *
 *     runs --- killed, failed, gone elsewhere, the guest's own doing ---> ended --- has left ---> resolved
 */
import { HostError, OperatorError } from '../../base/errors.ts';
import { RUN, type World } from '../../hypervisor/index.ts';
import { exitStatus } from '../../machine/index.ts';
import type { ExitStatus, MachineStats } from './machine-api.ts';

export class MachineEnd {
  readonly #world: () => World;
  readonly #resolved = Promise.withResolvers<ExitStatus>();
  #failure: string | undefined;
  #wasKilled = false;
  /** To where it went on. */
  #wentTo: string | undefined;
  #last: { readonly stats: MachineStats; readonly status: ExitStatus } | undefined;

  /** `world` may be there only later. */
  constructor(world: () => World) {
    this.#world = world;
  }

  /** Resolves when nothing of the machine is under way any more. */
  get exited(): Promise<ExitStatus> {
    return this.#resolved.promise;
  }

  /** Its memory serves others, and is not to be touched. */
  get hasLeft(): boolean {
    return this.#last !== undefined;
  }

  get isRunning(): boolean {
    return !this.hasLeft && this.#world().run === RUN.running;
  }

  /** What was counted, of one that has left. */
  get lastStats(): MachineStats | undefined {
    return this.#last?.stats;
  }

  /** Throws OperatorError `machine-ended` where it has left. */
  checkStays(): void {
    if (!this.hasLeft) return;
    throw new OperatorError('machine-ended', 'the guest has ended, and its memory serves others', 'Ask while it runs.');
  }

  async kill(): Promise<ExitStatus> {
    if (this.isRunning) {
      this.#wasKilled = true;
      this.#world().finish(RUN.crashed, 137);
    }
    return await this.exited;
  }

  failed(error: unknown): void {
    // What a guest that has ended wanted to write behind its deadline is not written, and that is as it should be.
    if (error instanceof HostError && error.code === 'lease-expired') return;
    this.#failure ??= error instanceof Error ? error.message : String(error);
    if (!this.hasLeft) this.#world().finish(RUN.crashed, 125);
  }

  /** The guest runs there. */
  goneTo(address: string): void {
    this.#wentTo = address;
    this.#world().finish(RUN.crashed, 0);
  }

  /** What comes from here on is of what was counted until now. */
  left(stats: MachineStats): void {
    this.#last = { stats, status: this.status() };
  }

  status(): ExitStatus {
    if (this.#last !== undefined) return this.#last.status;
    if (this.#failure !== undefined) return { reason: 'error', code: 125, message: this.#failure };
    if (this.#wentTo !== undefined)
      return { reason: 'migrated', code: 0, message: `the guest runs at ${this.#wentTo}` };
    if (this.#wasKilled) return { reason: 'killed', code: 137 };
    return exitStatus(this.#world());
  }

  resolve(): void {
    this.#resolved.resolve(this.status());
  }
}

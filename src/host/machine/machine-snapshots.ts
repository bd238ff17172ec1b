/** The snapshots of a machine that runs: one after the other, the first of them perhaps of its boot. */
import { OperatorError } from '../../base/errors.ts';
import { keepBootSnapshot, type SnapshotSubject, takeSnapshot } from '../snapshots/index.ts';
import type { SnapshotOptions, SnapshotResult } from './machine-api.ts';
import type { MachineBody } from './machine-body.ts';

export class MachineSnapshots {
  readonly #body: MachineBody;
  #last: Promise<unknown> = Promise.resolve();
  #booted: Promise<unknown> | undefined;

  constructor(body: MachineBody) {
    this.#body = body;
  }

  /** Until it has settled, the guest's boot is being kept, and nobody is to have to do with the guest. */
  get booted(): Promise<unknown> | undefined {
    return this.#booted;
  }

  /** As MachineHandle has it. */
  async take(file: string, options: SnapshotOptions): Promise<SnapshotResult> {
    if (this.#body.home.config.room !== undefined)
      throw new OperatorError(
        'snapshot-partitions',
        'the machine was made for several guests, and a snapshot is of a machine with one',
        'Make the machine without "room" for more partitions to take snapshots of it.',
      );
    const { care } = this.#body.agents;
    const take = async (stands?: () => void): Promise<SnapshotResult> => {
      const result = await this.#take(file, options, stands);
      if (options.stop) await this.#body.end.kill();
      return result;
    };
    if (!options.quiesce) return await care.during(take);
    const { result, frozen } = await care.quiesced(take);
    return { ...result, quiesced: frozen };
  }

  /** Keeps the guest as it is when its agent answers for the first time, if it is as its boot left it. What cannot be kept is no loss. */
  keepBoot(file: string, isAsBooted: () => boolean): void {
    const kept = this.#body.agents.care.agent().then(async () => {
      if (!isAsBooted()) return;
      // Who starts there says anew what of the processors' time the machine may have.
      const { options, ...subject } = this.#subject;
      const { processors: _, weight: __, cap: ___, pin: ____, heartbeatMs: _____, health: ______, ...kept } = options;
      await takeSnapshot({ ...subject, options: kept }, file, { compress: false, lasts: false });
      keepBootSnapshot(file);
    });
    this.#booted = kept.catch(() => undefined);
    this.#last = this.#booted;
  }

  get #subject(): SnapshotSubject {
    return this.#body.subject;
  }

  /** `stands` is called when the guest stands still, and nothing of it was written yet. */
  async #take(file: string, options: SnapshotOptions, stands?: () => void): Promise<SnapshotResult> {
    const taken = this.#last.then(() =>
      takeSnapshot(this.#subject, file, { ...options, ...(stands === undefined ? {} : { stands }) }),
    );
    this.#last = taken.catch(() => undefined);
    return await taken;
  }
}

/** The snapshots of a machine that runs: one after the other, the first of them perhaps of its boot. */
import { keepBootSnapshot, type SnapshotSubject, takeSnapshot } from '../snapshots/index.ts';
import type { SnapshotOptions, SnapshotResult } from './machine-api.ts';

export class MachineSnapshots {
  readonly #subject: () => SnapshotSubject;
  #last: Promise<unknown> = Promise.resolve();
  #booted: Promise<unknown> | undefined;

  constructor(subject: () => SnapshotSubject) {
    this.#subject = subject;
  }

  /** Until it has settled, the guest's boot is being kept, and nobody is to have to do with the guest. */
  get booted(): Promise<unknown> | undefined {
    return this.#booted;
  }

  /** `stands` is called when the guest stands still, and nothing of it was written yet. */
  async take(file: string, options: SnapshotOptions, stands?: () => void): Promise<SnapshotResult> {
    const taken = this.#last.then(() =>
      takeSnapshot(this.#subject(), file, { ...options, ...(stands === undefined ? {} : { stands }) }),
    );
    this.#last = taken.catch(() => undefined);
    return await taken;
  }

  /** Keeps the guest as it is when `ready` resolves, if it is as its boot left it. What cannot be kept is no loss. */
  keepBoot(file: string, ready: Promise<unknown>, isAsBooted: () => boolean): void {
    const kept = ready.then(async () => {
      if (!isAsBooted()) return;
      // Who starts there says anew what of the processors' time the machine may have.
      const { options, ...subject } = this.#subject();
      const { processors: _, weight: __, cap: ___, pin: ____, heartbeatMs: _____, health: ______, ...kept } = options;
      await takeSnapshot({ ...subject, options: kept }, file, { compress: false, lasts: false });
      keepBootSnapshot(file);
    });
    this.#booted = kept.catch(() => undefined);
    this.#last = this.#booted;
  }
}

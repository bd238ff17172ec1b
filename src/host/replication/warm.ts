/**
 * Warm standby: a guest's snapshots, one after the other, in a folder from which any host that reaches it can go on. The
 * newest is named `latest`; most are increments of the last whole one, and what none of those that are kept needs is removed.
 *
 *     FOLDER/NAME-000001.kage  whole        FOLDER/latest -> NAME-000003.kage
 *     FOLDER/NAME-000002.kage  increment of 1
 *     FOLDER/NAME-000003.kage  increment of 1
 *
 * What the guest wrote to layers is in each (host/snapshots/disks.ts). A disk that outlives its machine would go on behind the
 * snapshot, and nobody could restore that: guests with one are refused.
 */
import { mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import type { DriveOptions, SnapshotOptions, SnapshotResult } from '../machine/machine-api.ts';

export interface WarmOptions {
  readonly folder: string;
  /** From the start of one to the start of the next, at least. */
  readonly everyMs: number;
  /** Snapshots that are kept, besides those that they are increments of. Default 2. */
  readonly keep?: number;
}

export interface WarmReport {
  readonly folder: string;
  /** Taken so far, and how many could not be. */
  readonly taken: number;
  readonly failed: number;
  /** Of the latest. */
  readonly file?: string;
  /** That it is an increment of. */
  readonly base?: string;
  readonly takenAtMs?: number;
  readonly pausedMs?: number;
  readonly sizeBytes?: number;
  readonly why?: string;
}

export interface WarmParts {
  readonly name: string;
  readonly drives: readonly DriveOptions[];
  snapshot(file: string, options: SnapshotOptions): Promise<SnapshotResult>;
  after(delayMs: number, callback: () => void): () => void;
}

const KEEP = 2;
/** A whole one after so many increments: these grow. */
const INCREMENTS = 8;

export class WarmCheckpoints {
  readonly #parts: WarmParts;
  readonly #options: WarmOptions;
  readonly #files: { readonly file: string; readonly base: string | undefined }[] = [];
  #number = 0;
  #whole: { readonly file: string; increments: number } | undefined;
  #report: WarmReport;
  #cancel = (): void => {};
  #isOver = false;

  /** Throws OperatorError `warm-disk`, and `bad-usage` where the folder cannot be made. */
  constructor(parts: WarmParts, options: WarmOptions) {
    const kept = parts.drives.find(({ readOnly, overlay }) => readOnly !== true && overlay !== true);
    if (kept !== undefined)
      throw new OperatorError(
        'warm-disk',
        `${kept.file} goes on without the snapshots that would name it`,
        'Give the disk ",snapshot=on", or the guest a hot standby (kage replicate).',
      );
    try {
      mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    } catch (cause) {
      const what = cause instanceof Error ? cause.message : String(cause);
      throw new OperatorError('bad-usage', `the folder cannot be made: ${what}`, 'Name another.', { cause });
    }
    this.#parts = parts;
    this.#options = options;
    this.#report = { folder: options.folder, taken: 0, failed: 0 };
  }

  report(): WarmReport {
    return this.#report;
  }

  /** Takes the first, and goes on. Rejects where the first cannot be taken; nothing goes on then. */
  async begin(): Promise<void> {
    await this.#take();
    this.#later();
  }

  end(): void {
    this.#isOver = true;
    this.#cancel();
  }

  #later(): void {
    if (this.#isOver) return;
    this.#cancel = this.#parts.after(this.#options.everyMs, () => {
      this.#take()
        // The next may do better; the latest stays as it is.
        .catch((error: unknown) => {
          const why = error instanceof Error ? error.message : String(error);
          this.#report = { ...this.#report, failed: this.#report.failed + 1, why };
          this.#whole = undefined;
        })
        .finally(() => this.#later());
    });
  }

  async #take(): Promise<void> {
    const { folder } = this.#options;
    this.#number += 1;
    const file = join(folder, `${this.#parts.name}-${String(this.#number).padStart(6, '0')}.kage`);
    const base = this.#whole !== undefined && this.#whole.increments < INCREMENTS ? this.#whole.file : undefined;
    const { pausedMs, sizeBytes } = await this.#parts.snapshot(file, base === undefined ? {} : { base });
    if (base === undefined) this.#whole = { file, increments: 0 };
    else if (this.#whole !== undefined) this.#whole.increments += 1;
    this.#files.push({ file, base });
    this.#name(file);
    this.#remove();
    const { why: _, base: __, ...before } = this.#report;
    const of = base === undefined ? {} : { base };
    this.#report = { ...before, ...of, taken: before.taken + 1, file, takenAtMs: Date.now(), pausedMs, sizeBytes };
  }

  /** In one step: whoever looks finds the one or the other. */
  #name(file: string): void {
    const draft = join(this.#options.folder, `.latest.${process.pid}`);
    rmSync(draft, { force: true });
    symlinkSync(file.slice(file.lastIndexOf('/') + 1), draft);
    renameSync(draft, join(this.#options.folder, 'latest'));
  }

  #remove(): void {
    const kept = this.#files.slice(-(this.#options.keep ?? KEEP));
    const needed = new Set(kept.flatMap(({ file, base }) => (base === undefined ? [file] : [file, base])));
    if (this.#whole !== undefined) needed.add(this.#whole.file);
    for (const one of [...this.#files]) {
      if (needed.has(one.file)) continue;
      rmSync(one.file, { force: true });
      this.#files.splice(this.#files.indexOf(one), 1);
    }
  }
}

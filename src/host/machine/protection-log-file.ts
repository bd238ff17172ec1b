/** The file of `--protection-log`: a line for each access that a protection table forbade. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { OperatorError } from '../../base/errors.ts';
import { type Board, ProtectionLog, violationLine } from '../../machine/index.ts';

/** How often the rings are emptied; what does not fit in one meanwhile is lost, and the file says how much. */
const EVERY_MS = 50;

export class ProtectionLogFile {
  readonly #log: ProtectionLog;
  readonly #file: number;
  readonly #timer: NodeJS.Timeout;
  #told = 0;

  /** Throws OperatorError where the file cannot be written. */
  constructor(board: Board, path: string) {
    this.#log = new ProtectionLog(board);
    try {
      this.#file = openSync(path, 'a');
    } catch (cause) {
      const fix = 'Name another with --protection-log';
      throw new OperatorError('bad-protection-log', `the log ${path} cannot be written`, fix, { cause });
    }
    this.#timer = setInterval(() => this.write(), EVERY_MS).unref();
  }

  /** Writes what there is to say since the last time. */
  write(): void {
    const lines: string[] = [];
    this.#log.drain((violation) => lines.push(violationLine(violation)));
    if (this.#log.lost > this.#told) lines.push(`... ${this.#log.lost - this.#told} more`);
    this.#told = this.#log.lost;
    if (lines.length > 0) writeSync(this.#file, `${lines.join('\n')}\n`);
  }

  close(): void {
    clearInterval(this.#timer);
    this.write();
    closeSync(this.#file);
  }
}

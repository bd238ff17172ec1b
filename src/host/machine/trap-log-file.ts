/** The file of `--trap-log`: a line for each execution that a policy trapped, in the order in which each hart made them. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { OperatorError } from '../../base/errors.ts';
import { type LoggedBoard, TrapLog, trapLine } from '../../machine/index.ts';

/** How often the vCPUs' rings are emptied; what does not fit in one meanwhile is lost, and the file says how much. */
const EVERY_MS = 10;

export class TrapLogFile {
  readonly #log: TrapLog;
  readonly #file: number;
  readonly #timer: NodeJS.Timeout;
  #told = 0;

  /** Throws OperatorError where the file cannot be written. */
  constructor(board: LoggedBoard, path: string) {
    this.#log = new TrapLog(board);
    try {
      this.#file = openSync(path, 'w');
    } catch (cause) {
      throw new OperatorError('bad-trap-log', `the log ${path} cannot be written`, 'Name another with --trap-log', {
        cause,
      });
    }
    this.#timer = setInterval(() => this.write(), EVERY_MS).unref();
  }

  /** Writes what there is to say since the last time. */
  write(): void {
    const lines: string[] = [];
    this.#log.drain((execution) => lines.push(trapLine(execution)));
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

/** Files that get a line for each entry of a log in shared memory: `--trap-log`, `--protection-log`. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { OperatorError } from '../../base/errors.ts';
import { type Board, ProtectionLog, TrapLog, trapLine, violationLine } from '../../machine/index.ts';
import type { MachineOptions } from './machine-api.ts';

/** How often the rings are emptied; what does not fit in one meanwhile is lost, and the file says how much. */
const EVERY_MS = 10;

interface Log<Entry> {
  /** Entries that were lost so far. */
  readonly lost: number;
  /** Tells what was logged since the last time. */
  drain(each: (entry: Entry) => void): void;
}

export class LogFiles {
  readonly #files: Pick<LogFile<unknown>, 'write' | 'close'>[] = [];
  readonly #timer: NodeJS.Timeout | undefined;

  /** Opens those that are wished for. Throws OperatorError where one cannot be written; then none is open. */
  constructor(board: Board, { trapLog, protectionLog }: Pick<MachineOptions, 'trapLog' | 'protectionLog'>) {
    try {
      if (trapLog !== undefined) this.#files.push(new LogFile('trap-log', trapLog, 'w', new TrapLog(board), trapLine));
      if (protectionLog !== undefined)
        this.#files.push(new LogFile('protection-log', protectionLog, 'a', new ProtectionLog(board), violationLine));
    } catch (error) {
      this.close();
      throw error;
    }
    if (this.#files.length > 0) this.#timer = setInterval(() => this.write(), EVERY_MS).unref();
  }

  /** Writes what there is to say since the last time. */
  write(): void {
    for (const file of this.#files) file.write();
  }

  close(): void {
    clearInterval(this.#timer);
    for (const file of this.#files) file.close();
  }
}

class LogFile<Entry> {
  readonly #file: number;
  readonly #takeLines: () => string[];

  constructor(option: string, path: string, flags: 'w' | 'a', log: Log<Entry>, line: (entry: Entry) => string) {
    let told = 0;
    this.#takeLines = () => {
      const lines: string[] = [];
      log.drain((entry) => lines.push(line(entry)));
      if (log.lost > told) lines.push(`... ${log.lost - told} more`);
      told = log.lost;
      return lines;
    };
    try {
      this.#file = openSync(path, flags);
    } catch (cause) {
      const fix = `Name another with --${option}`;
      throw new OperatorError(`bad-${option}`, `the log ${path} cannot be written`, fix, { cause });
    }
  }

  write(): void {
    const lines = this.#takeLines();
    if (lines.length > 0) writeSync(this.#file, `${lines.join('\n')}\n`);
  }

  close(): void {
    this.write();
    closeSync(this.#file);
  }
}

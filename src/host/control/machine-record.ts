/**
 * What is to be known of a machine when it is gone, in a folder that is its own: what its console said, and how it ended.
 * The machine's own process writes both, so that they are there whether or not anybody watched it.
 *
 *   console.log, console.log.1 ... .3     the latest last in the first; a file that is full makes room for the next
 *   exit.json                             {reason, code, message, at, pid}, once it has ended by itself
 *
 * Of a process that was killed what its console said is there up to the last byte, and no exit.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExitStatus, MachineHandle } from '../machine/machine-api.ts';
import { integer, limits, oneOf, optional, record, text } from './shape.ts';

/** Bytes of one file, and how many there are. */
const FILE_BYTES = 2 << 20;
const FILES = 4;
/** How often a file that is followed is looked at. */
const LOOK_MS = 100;
const PIECE_BYTES = 64 << 10;

export interface ExitRecord extends ExitStatus {
  readonly at: string;
  readonly pid: number;
}

const exitShape = record({
  reason: oneOf('poweroff', 'reboot', 'failure', 'killed', 'error'),
  code: integer(0, 255),
  message: optional(text(limits.messageBytes)),
  at: text(64),
  pid: integer(1, 2 ** 31 - 1),
});

/** From now on, until the machine ends. The folder is made where it is missing. */
export function keepRecord(machine: MachineHandle, home: string): void {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  rmSync(exitPath(home), { force: true });
  const log = new ConsoleLog(home);
  log.write(machine.consoleHistory());
  machine.onConsole((bytes) => log.write(bytes));
  machine.exited.then((status) => {
    log.close();
    const end: ExitRecord = { ...status, at: new Date().toISOString(), pid: process.pid };
    const draft = `${exitPath(home)}.new`;
    try {
      writeFileSync(draft, JSON.stringify(end), { mode: 0o600 });
      renameSync(draft, exitPath(home));
    } catch {
      // The folder may be gone with its partition, or the disk be full: then nothing is known, as of a killed one.
    }
  });
}

/** How the machine of that folder ended; undefined where it runs, was killed, or never was. */
export function readExitRecord(home: string): ExitRecord | undefined {
  try {
    return exitShape(JSON.parse(readFileSync(exitPath(home), 'utf8')), 'exit');
  } catch {
    return undefined;
  }
}

function exitPath(home: string): string {
  return join(home, 'exit.json');
}

function logPath(home: string, age = 0): string {
  return join(home, age === 0 ? 'console.log' : `console.log.${age}`);
}

/** A guest may say as much as it likes: the files stay within their bound, and an error of the disk ends no machine. */
class ConsoleLog {
  readonly #home: string;
  #file: number | undefined;
  #bytes = 0;

  constructor(home: string) {
    this.#home = home;
    this.#open();
  }

  write(bytes: Uint8Array): void {
    if (this.#bytes + bytes.length > FILE_BYTES && this.#bytes > 0) this.#rotate();
    if (this.#file === undefined) return;
    try {
      let at = 0;
      while (at < bytes.length) at += writeSync(this.#file, bytes, at);
      this.#bytes += bytes.length;
    } catch {
      // What the disk does not take is not there.
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #rotate(): void {
    this.close();
    try {
      for (let age = FILES - 1; age > 0; age--) {
        if (age === FILES - 1) rmSync(logPath(this.#home, age), { force: true });
        renameIfThere(logPath(this.#home, age - 1), logPath(this.#home, age));
      }
    } catch {
      return;
    }
    this.#open();
  }

  #open(): void {
    try {
      this.#file = openSync(logPath(this.#home), 'a', 0o600);
      this.#bytes = fstatSync(this.#file).size;
    } catch {
      this.#file = undefined;
    }
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
}

/** What consoles said, `lines` of it from the end or all that is kept; undefined where nothing was ever kept. */
export function readLogTail(home: string, lines = Number.POSITIVE_INFINITY): Buffer | undefined {
  return readLog(home, lines)?.bytes;
}

function readLog(home: string, lines: number): { bytes: Buffer; inode: number; end: number } | undefined {
  const parts: Buffer[] = [];
  let [newlines, inode, end] = [0, 0, 0];
  for (let age = 0; age < FILES && newlines <= lines; age++) {
    const part = readIfThere(logPath(home, age));
    if (part === undefined) break;
    if (age === 0) [inode, end] = [part.inode, part.bytes.length];
    if (Number.isFinite(lines)) for (const byte of part.bytes) if (byte === 10) newlines += 1;
    parts.unshift(part.bytes);
  }
  if (parts.length === 0) return undefined;
  return { bytes: lastLines(Buffer.concat(parts), lines), inode, end };
}

function readIfThere(path: string): { bytes: Buffer; inode: number } | undefined {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    return { bytes: readFileSync(file), inode: fstatSync(file).ino };
  } catch {
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function lastLines(bytes: Buffer, lines: number): Buffer {
  if (!Number.isFinite(lines)) return bytes;
  if (lines === 0) return bytes.subarray(bytes.length);
  let at = bytes.at(-1) === 10 ? bytes.length - 1 : bytes.length;
  for (let i = 0; i < lines && at >= 0; i++) at = at === 0 ? -1 : bytes.lastIndexOf(10, at - 1);
  return bytes.subarray(at + 1);
}

/** The tail, and then what is said, until `goesOn` says that nothing more will be, or the signal aborts. */
export async function* followLog(
  home: string,
  lines: number,
  goesOn: () => boolean | Promise<boolean>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const start = readLog(home, lines);
  if (start !== undefined && start.bytes.length > 0) yield start.bytes;
  let { inode, end: at } = start ?? { inode: 0, end: 0 };
  let file: FileHandle | undefined;
  try {
    while (!signal.aborted) {
      const more = await goesOn();
      file ??= await open(logPath(home), 'r').catch(() => undefined);
      if (file !== undefined) {
        const { ino } = await file.stat();
        if (ino !== inode) [inode, at] = [ino, 0];
        for (;;) {
          const { bytesRead, buffer } = await file.read(Buffer.alloc(PIECE_BYTES), 0, PIECE_BYTES, at);
          if (bytesRead === 0) break;
          at += bytesRead;
          yield buffer.subarray(0, bytesRead);
        }
        // Another file has the name now: this one was read to its end.
        const named = await stat(logPath(home)).catch(() => undefined);
        if (named !== undefined && named.ino !== inode) {
          await file.close();
          file = undefined;
          continue;
        }
      }
      if (!more) return;
      await sleep(LOOK_MS, undefined, { signal }).catch(() => {});
    }
  } finally {
    await file?.close();
  }
}

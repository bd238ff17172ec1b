/**
 * Node's file system calls as operations: at once on the caller's thread while the host answers fast (storage/patience.ts),
 * by Node's threads where it does not, or may not. Paths are strings of bytes: names need not be UTF-8.
 */
import * as fs from 'node:fs';
import { Patience } from '../storage/index.ts';
import { type Operation, waitFor } from './operation.ts';

type Done<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

export interface CallOptions {
  /** `never`: the host may take its time (networks, FUSE). `always`: the guest may not see how long it took. */
  readonly atOnce: 'never' | 'while-fast' | 'always';
}

/** Of utimensat: this one stays (libuv has it as not a number; Node lets that through in a date alone). */
const OMIT = new Date(Number.NaN);
/** The time now, as the host's kernel has it: libuv's infinity, which Node lets through as a string. */
const NOW = 'Infinity';

export type HostTime = number | Date | string;

export class HostCalls {
  atOnce: CallOptions['atOnce'];
  readonly #patience = new Patience(() => performance.now());

  constructor({ atOnce }: CallOptions) {
    this.atOnce = atOnce;
  }

  open(path: string, flags: number, mode = 0): Operation<number> {
    const at = native(path);
    return this.#call(
      () => fs.openSync(at, flags, mode),
      (done) => fs.open(at, flags, mode, done),
    );
  }

  fstat(fd: number): Operation<fs.BigIntStats> {
    return this.#call(
      () => fs.fstatSync(fd, { bigint: true }),
      (done) => fs.fstat(fd, { bigint: true }, done),
    );
  }

  lstat(path: string): Operation<fs.BigIntStats> {
    const at = native(path);
    return this.#call(
      () => fs.lstatSync(at, { bigint: true }),
      (done) => fs.lstat(at, { bigint: true }, done),
    );
  }

  statFs(path: string): Operation<fs.BigIntStatsFs> {
    return this.#call(
      () => fs.statfsSync(path, { bigint: true }),
      (done) => fs.statfs(path, { bigint: true }, done),
    );
  }

  *readLink(path: string): Operation<string> {
    const at = native(path);
    const target = yield* this.#call(
      () => fs.readlinkSync(at, 'buffer'),
      (done: Done<Buffer>) => fs.readlink(at, 'buffer', done),
    );
    return target.toString('latin1');
  }

  read(fd: number, into: Uint8Array, offset: number): Operation<number> {
    return this.#call(
      () => fs.readSync(fd, into, 0, into.length, offset),
      (done) => fs.read(fd, into, 0, into.length, offset, done),
    );
  }

  write(fd: number, from: Uint8Array, offset: number): Operation<number> {
    return this.#call(
      () => fs.writeSync(fd, from, 0, from.length, offset),
      (done) => fs.write(fd, from, 0, from.length, offset, done),
    );
  }

  resize(fd: number, sizeBytes: number): Operation<void> {
    return this.#call(
      () => fs.ftruncateSync(fd, sizeBytes),
      (done: Done<void>) => fs.ftruncate(fd, sizeBytes, (error) => done(error)),
    );
  }

  /** A medium takes its time: at once only where it must be. */
  *sync(fd: number, dataOnly: boolean): Operation<void> {
    const [now, later] = dataOnly ? [fs.fdatasyncSync, fs.fdatasync] : [fs.fsyncSync, fs.fsync];
    if (this.atOnce === 'always') now(fd);
    else yield* waitFor(promised<void>((done) => later(fd, (error) => done(error))));
  }

  chmod(path: string, mode: number): Operation<void> {
    return this.#call(
      () => fs.chmodSync(path, mode),
      (done: Done<void>) => fs.chmod(path, mode, (error) => done(error)),
    );
  }

  chown(path: string, uid: number, gid: number): Operation<void> {
    return this.#call(
      () => fs.chownSync(path, uid, gid),
      (done: Done<void>) => fs.chown(path, uid, gid, (error) => done(error)),
    );
  }

  utimes(path: string, accessed: HostTime, modified: HostTime): Operation<void> {
    return this.#call(
      () => fs.utimesSync(path, accessed, modified),
      (done: Done<void>) => fs.utimes(path, accessed, modified, (error) => done(error)),
    );
  }

  mkdir(path: string, mode: number): Operation<void> {
    const at = native(path);
    return this.#call(
      () => void fs.mkdirSync(at, mode),
      (done: Done<void>) => fs.mkdir(at, mode, (error) => done(error)),
    );
  }

  symlink(target: string, path: string): Operation<void> {
    const [to, at] = [native(target), native(path)];
    return this.#call(
      () => fs.symlinkSync(to, at),
      (done: Done<void>) => fs.symlink(to, at, (error) => done(error)),
    );
  }

  link(from: string, path: string): Operation<void> {
    const [of, at] = [native(from), native(path)];
    return this.#call(
      () => fs.linkSync(of, at),
      (done: Done<void>) => fs.link(of, at, (error) => done(error)),
    );
  }

  unlink(path: string): Operation<void> {
    const at = native(path);
    return this.#call(
      () => fs.unlinkSync(at),
      (done: Done<void>) => fs.unlink(at, (error) => done(error)),
    );
  }

  rmdir(path: string): Operation<void> {
    const at = native(path);
    return this.#call(
      () => fs.rmdirSync(at),
      (done: Done<void>) => fs.rmdir(at, (error) => done(error)),
    );
  }

  rename(from: string, to: string): Operation<void> {
    const [of, at] = [native(from), native(to)];
    return this.#call(
      () => fs.renameSync(of, at),
      (done: Done<void>) => fs.rename(of, at, (error) => done(error)),
    );
  }

  /** Entries' names are buffers. */
  openFolder(path: string): Operation<fs.Dir> {
    return this.#call(
      () => fs.opendirSync(path, BUFFERS),
      (done) => fs.opendir(path, BUFFERS, done),
    );
  }

  readFolder(folder: fs.Dir): Operation<fs.Dirent | null> {
    return this.#call(
      () => folder.readSync(),
      (done) => folder.read(done),
    );
  }

  /** Lets others have a turn, where that may be seen. */
  *breathe(): Operation<void> {
    if (this.atOnce !== 'always') yield* waitFor(new Promise((resolve) => setImmediate(resolve)));
  }

  *#call<T>(now: () => T, later: (done: Done<T>) => void): Operation<T> {
    if (this.atOnce === 'always') return now();
    if (this.atOnce === 'while-fast' && this.#patience.isThere) return this.#patience.timed(now);
    return yield* waitFor(promised(later));
  }
}

/** Opens what a name stands for, whatever it is, and follows nothing. */
export const O_PATH = 0o10000000;
export const OPEN_NODE = O_PATH | fs.constants.O_NOFOLLOW;

/** Closes what was opened and is not wanted any more. */
export function closeQuietly(fd: number): void {
  try {
    fs.closeSync(fd);
  } catch {
    // A network's file system may complain of what it could not write: a sync would have told.
  }
}

/** Node knows it, though its types do not. */
const BUFFERS = { encoding: 'buffer' as BufferEncoding, bufferSize: 256 };

function promised<T>(begin: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    begin((error, value) => (error ? reject(error) : resolve(value)));
  });
}

/** A path as Node takes it: itself where it is ASCII, else its bytes. */
function native(path: string): string | Buffer {
  return /[^\0-\x7f]/.test(path) ? Buffer.from(path, 'latin1') : path;
}

/** Since libuv 1.51 (Node 24.2). */
const [uvMajor = 0, uvMinor = 0] = process.versions.uv.split('.').map(Number);
const knowsOmit = uvMajor > 1 || uvMinor >= 51;
const NS_PER_S = 1_000_000_000n;

/**
 * A time for `utimes`; `kept`: what stays if it is absent. Node's numbers are seconds as floating point, which hold today's
 * times to a quarter of a microsecond.
 */
export function hostTime(time: bigint | 'now' | undefined, kept: bigint): HostTime {
  if (time === 'now') return knowsOmit ? NOW : Date.now() / 1000;
  if (time === undefined && knowsOmit) return OMIT;
  const ns = time ?? kept;
  // Node takes a negative number for now, and a negative date for what it says.
  if (ns < 0n) return new Date(Number(ns / 1_000_000n));
  return Number(ns / NS_PER_S) + Number(ns % NS_PER_S) / 1e9;
}

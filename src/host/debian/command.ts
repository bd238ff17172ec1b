/**
 * Running the ordinary tools of a Debian machine (apt-get, dpkg-deb, mke2fs): output is collected and bounded,
 * messages are in English (LC_ALL=C) because some are read, /usr/sbin is searched too, an abort ends the child.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { HostError } from '../../base/errors.ts';

const outputLimitBytes = 64 * 1024 * 1024;

export interface RunOptions {
  signal?: AbortSignal | undefined;
  cwd?: string;
  env?: Record<string, string>;
  /** Fed to the command's standard input. */
  input?: string | Uint8Array;
  /** Called with each line that the command writes to file descriptor 3. */
  onStatusLine?: (line: string) => void;
}

export interface Output {
  exitCode: number;
  stdout: Buffer;
  stderr: string;
}

/** Runs a command to its end whatever its exit code; throws HostError `command-not-found` or the abort's reason. */
export async function tryRun(command: string, args: readonly string[], options: RunOptions = {}): Promise<Output> {
  options.signal?.throwIfAborted();
  const child = spawn(command, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    env: { ...process.env, PATH: searchPath(), LC_ALL: 'C', ...options.env },
    stdio: ['pipe', 'pipe', 'pipe', options.onStatusLine ? 'pipe' : 'ignore'],
  });
  const status = child.stdio[3];
  if (options.onStatusLine && status instanceof Readable) {
    createInterface({ input: status }).on('line', options.onStatusLine);
  }
  child.stdin?.on('error', () => {}); // a command need not read all of its input
  child.stdin?.end(options.input ?? '');
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let size = 0;
  const collect = (into: Buffer[]) => (chunk: Buffer) => {
    size += chunk.length;
    if (size > outputLimitBytes) child.kill();
    else into.push(chunk);
  };
  child.stdout?.on('data', collect(stdout));
  child.stderr?.on('data', collect(stderr));
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? (signal ? 128 : 1)));
  }).catch((error: unknown) => {
    options.signal?.throwIfAborted();
    if (errorCode(error) === 'ENOENT')
      throw new HostError('command-not-found', `${command} is not installed`, { cause: error });
    throw new HostError('command-failed', `${command} did not start`, { cause: error });
  });
  return { exitCode, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString('utf8') };
}

/** Runs a command that must succeed; otherwise throws HostError `command-failed` with the end of its messages. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Output> {
  const output = await tryRun(command, args, options);
  if (output.exitCode === 0) return output;
  const message = output.stderr.trim().split('\n').slice(-4).join('; ');
  throw new HostError('command-failed', `${command} ${args[0] ?? ''} ended with ${output.exitCode}: ${message}`);
}

/** The `code` that Node puts on its errors (ENOENT, EEXIST, ...). */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function searchPath(): string {
  const path = process.env.PATH ?? '/usr/bin:/bin';
  return `${path}:/usr/sbin:/sbin`;
}

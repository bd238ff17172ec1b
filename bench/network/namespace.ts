/**
 * A network namespace, or all that a host has of its own, for tests and measurements as root:
 *
 *     network alone:  devices, addresses, routes
 *     a host:         these, and processes, mounts, /sys, and a clock that began at another time
 *
 * It is held by a process that ends with our pipe, so nothing is left behind, however we end: programs in a host end with
 * its first process, programs in a network with the one that started them.
 */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { must } from '../../src/base/assert.ts';

const WITHIN_MS = 5000;
/** The first process of a host: it buries those that lost their parents, and waits for our end. */
const FIRST = ['env', '--ignore-signal=CHLD', 'cat'];

export interface NamespaceOptions {
  /** A host, whose clock shows so many seconds more since its boot than ours. */
  readonly host?: { readonly aheadS: number };
}

export class Namespace {
  readonly #holder: ChildProcess;
  /** Of a process in it, as we see it. */
  readonly pid: number;
  readonly #enter: readonly string[];

  constructor({ host }: NamespaceOptions = {}) {
    const words = ['--net'];
    if (host !== undefined) {
      words.push('--mount', '--mount-proc', '--pid', '--fork', '--kill-child');
      words.push('--time', '--boottime', String(host.aheadS), '--monotonic', String(host.aheadS));
    }
    this.#holder = spawn('unshare', [...words, ...FIRST], { stdio: ['pipe', 'ignore', 'inherit'] });
    const parent = must(this.#holder.pid);
    this.pid = host === undefined ? parent : waitFor(() => childOf(parent));
    waitFor(() => (readFileSync(`/proc/${this.pid}/comm`, 'utf8') === 'cat\n' ? true : undefined));
    this.#enter = ['-t', String(this.pid), '-n', ...(host === undefined ? [] : ['-m', '-p', '-T'])];
    if (host !== undefined) this.run('mount', '-t', 'sysfs', 'sysfs', '/sys');
  }

  /** Starts a program in it. In a host, the child is one that waits for it, and ends as it does. */
  spawn(program: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    // What is not in a host would live on without us.
    const bound = this.#enter.includes('-p') ? [] : ['setpriv', '--pdeathsig', 'KILL'];
    return spawn('nsenter', [...this.#enter, ...bound, program, ...args], options);
  }

  /** Runs a program in it; what it said. */
  run(program: string, ...args: readonly string[]): string {
    return execFileSync('nsenter', [...this.#enter, program, ...args], {
      ...{ encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
    });
  }

  /** Lines of `ip`, in one go. */
  ip(...lines: readonly string[]): void {
    const input = `${lines.join('\n')}\n`;
    execFileSync('nsenter', [...this.#enter, 'ip', '-batch', '-'], { input, stdio: ['pipe', 'ignore', 'inherit'] });
  }

  /** Of a host: to all its processes at once, but for the first. */
  signalAll(signal: 'KILL' | 'STOP' | 'CONT'): void {
    this.run('sh', '-c', `kill -s ${signal} -- -1 2> /dev/null; true`);
  }

  close(): void {
    this.#holder.stdin?.end();
    this.#holder.kill('SIGKILL');
  }
}

/** The process that a process started, if there is one. */
export function childOf(pid: number): number | undefined {
  const [first] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  return first === undefined || first === '' ? undefined : Number(first);
}

export function ownNamespace(): string {
  return readlinkSync('/proc/self/ns/net');
}

/** Waits, awake for nobody else: what makes a lab is done in turn. */
function waitFor<T>(look: () => T | undefined): T {
  const untilMs = performance.now() + WITHIN_MS;
  while (performance.now() < untilMs) {
    try {
      const found = look();
      if (found !== undefined) return found;
    } catch {
      // It is about to begin.
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  }
  throw new Error('a namespace cannot be made');
}

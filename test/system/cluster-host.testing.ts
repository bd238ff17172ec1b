/**
 * A host of a cluster, in namespaces: network, processes, mounts, a clock that began at another time than those of others, and a
 * boot's name of its own. Its power can be cut, it can be frozen as a whole, and its daemon alone can be killed.
 */
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { childOf, type Namespace } from '../../bench/network/namespace.ts';
import { must } from '../../src/base/assert.ts';
import type { Client, Event } from '../../src/client/index.ts';
import { connectDaemon } from '../../src/daemon/index.ts';
import { runKage, spawnKage } from './cluster-processes.testing.ts';
import type { Seat } from './cluster-segment.testing.ts';

const READY_WITHIN_MS = 60_000;

/** Something that a daemon told. */
export interface Told extends Event {
  readonly host: string;
}

export class ClusterHost implements AsyncDisposable {
  readonly seat: Seat;
  readonly client: Client;
  /** What its daemons told, in order. */
  readonly told: Told[] = [];
  readonly #folder: string;
  readonly #bootId: string;
  #daemon: ChildProcess | undefined;
  #following = new AbortController();
  #stopped: ChildProcess[] = [];

  constructor(seat: Seat, folder: string) {
    this.seat = seat;
    this.#folder = join(folder, seat.name);
    this.#bootId = join(this.#folder, 'boot-id');
    mkdirSync(this.#folder);
    for (const name of ['run', 'state', 'tmp']) mkdirSync(join(this.#folder, name), { mode: 0o700 });
    writeFileSync(this.#bootId, `${randomUUID()}\n`);
    this.namespace.run('mount', '--bind', this.#bootId, '/proc/sys/kernel/random/boot_id');
    this.client = connectDaemon({ kind: 'unix', path: join(this.runtime, 'kagemusha/daemon.sock') });
  }

  get name(): string {
    return this.seat.name;
  }

  get namespace(): Namespace {
    return this.seat.namespace;
  }

  get runtime(): string {
    return join(this.#folder, 'run');
  }

  /** What the daemon said on stderr. */
  get log(): string {
    return join(this.#folder, 'daemon.log');
  }

  get isServing(): boolean {
    return this.#daemon !== undefined && this.#stopped.length === 0;
  }

  /** Its lease does not end before (Date.now()), as its daemon knows. */
  async leaseEndsMs(): Promise<number> {
    const nowMs = Date.now();
    return nowMs + (await this.client.getCluster()).self.leaseLeftMs;
  }

  /** Its daemon's, each by its name and labels. */
  async metrics(): Promise<Map<string, number>> {
    const chunks: Uint8Array[] = [];
    for await (const bytes of this.client.getMetrics()) chunks.push(bytes);
    const lines = Buffer.concat(chunks).toString().split('\n');
    const samples = lines
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line, line.lastIndexOf(' ')] as const);
    return new Map(samples.map(([line, at]) => [line.slice(0, at), Number(line.slice(at + 1))]));
  }

  /** The latest that a guest's console said here. */
  logOf(guest: string): string {
    const file = join(this.#folder, 'state/kagemusha/partitions', guest, 'console.log');
    return existsSync(file) ? readFileSync(file, 'utf8').slice(-2000) : '';
  }

  /** A verb, on this host. */
  async kage(...words: readonly string[]): Promise<string> {
    return (await runKage(this.namespace, words, this.#environment())).stdout;
  }

  /** Resolves when it serves. */
  async startDaemon(): Promise<void> {
    const child = spawnKage(this.namespace, ['serve'], {
      ...{ env: this.#environment(), stdio: ['ignore', 'ignore', 'pipe'] },
    });
    this.#daemon = child;
    child.stderr?.on('data', (bytes: Buffer) => appendFileSync(this.log, bytes));
    const untilMs = performance.now() + READY_WITHIN_MS;
    while ((await this.client.getReadiness().catch(() => undefined)) === undefined) {
      if (child.exitCode !== null) throw new Error(`the daemon of ${this.name} has ended; see ${this.log}`);
      if (performance.now() > untilMs) throw new Error(`the daemon of ${this.name} does not serve`);
      await sleep(20);
    }
    this.#following = new AbortController();
    void this.#follow(this.#following.signal);
  }

  /** kill -9 of the daemon alone. */
  async killDaemon(): Promise<void> {
    const child = this.#daemon;
    this.#daemon = undefined;
    this.#following.abort();
    if (child === undefined || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    process.kill(must(childOf(must(child.pid))), 'SIGKILL');
    await gone;
  }

  /** The power is cut: all of its processes are gone at once. When that was (Date.now()). */
  kill(): number {
    const atMs = Date.now();
    this.namespace.signalAll('KILL');
    this.#daemon = undefined;
    this.#stopped = [];
    this.#following.abort();
    return atMs;
  }

  /** Comes up again, as another boot of it, after its power was cut. */
  async boot(): Promise<void> {
    rmSync(this.runtime, { recursive: true });
    mkdirSync(this.runtime, { mode: 0o700 });
    writeFileSync(this.#bootId, `${randomUUID()}\n`);
    await this.startDaemon();
  }

  /** All of its processes stand still, wherever they are. */
  stop(): number {
    const atMs = Date.now();
    this.namespace.signalAll('STOP');
    this.#stopped = this.#daemon === undefined ? [] : [this.#daemon];
    return atMs;
  }

  cont(): void {
    this.namespace.signalAll('CONT');
    // Who waits for the daemon stops with it.
    for (const child of this.#stopped) child.kill('SIGCONT');
    this.#stopped = [];
  }

  /** How much its processes sent and received by UDP, as the kernel counted it. */
  datagrams(): { readonly sent: number; readonly received: number } {
    const lines = this.namespace.run('grep', '^Udp:', '/proc/net/snmp').trim().split('\n');
    const [names = [], values = []] = lines.map((line) => line.split(' '));
    const value = (name: string): number => Number(values[names.indexOf(name)]);
    return { sent: value('OutDatagrams'), received: value('InDatagrams') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    try {
      const since = this.told.at(-1)?.id ?? 0;
      for await (const event of this.client.events({ since }, { signal }))
        this.told.push({ ...event, host: this.name });
    } catch {
      // The daemon is gone.
    }
  }

  #environment(): NodeJS.ProcessEnv {
    const folders = { XDG_RUNTIME_DIR: this.runtime, XDG_STATE_HOME: join(this.#folder, 'state') };
    return { ...process.env, ...folders, TMPDIR: join(this.#folder, 'tmp') };
  }
}

/** A host of a cluster in this process, with machines that are fakes in processes of their own. Hosts have folders of their own. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostDirector, Method, SlaveBeat, StartOrder } from '../../cluster/index.ts';
import { BootClock } from '../../host/cluster/index.ts';
import { connectMachine, type DetachedProgram } from '../../host/index.ts';
import { fakeImages } from '../daemon.testing.ts';
import { Partitions } from '../partitions/index.ts';
import type { PartitionSpec } from '../schemas/spec.ts';
import { Store } from '../store/index.ts';
import { ClusterMachines, type ClusterMachinesEvents, type ClusterMachinesParts } from './cluster-machines.ts';
import type { PeerAsk, PeerChannel } from './peer-channel.ts';

const fakeProgram: DetachedProgram = {
  entry: new URL('./fake-guest-process.testing.ts', import.meta.url),
  flags: [],
  environment: {},
};

/** Hosts of one test, which reach each other. */
export class Hosts implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), 'kagemusha-hands-'));
  readonly specs = new Map<string, PartitionSpec>();
  readonly wanted = new Map<string, 'running' | 'stopped'>();
  readonly hosts = new Map<string, TestHost>();
  /** Peers that nobody reaches. */
  readonly cut = new Set<string>();
  readonly program: DetachedProgram;
  readonly clock = new BootClock();

  constructor(program: DetachedProgram = fakeProgram) {
    this.program = program;
  }

  async host(name: string): Promise<TestHost> {
    const host = new TestHost(this, name);
    this.hosts.set(name, host);
    await host.open();
    return host;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.hosts.values()) await host.close();
    const left = processesIn(this.root);
    for (const pid of left) {
      process.kill(pid, 'SIGCONT');
      process.kill(pid, 'SIGKILL');
    }
    await until(() => processesIn(this.root).length === 0);
    rmSync(this.root, { recursive: true, force: true });
  }
}

export class TestHost {
  readonly name: string;
  readonly #hosts: Hosts;
  readonly #folder: string;
  readonly answers = new Map<string, (ask: PeerAsk) => Promise<object>>();
  /** What was told, in order. */
  readonly told: string[] = [];
  readonly beats: SlaveBeat[] = [];
  /** Is told what happens, where there is one. */
  director: HostDirector | undefined;
  boot = '';
  machines!: ClusterMachines;
  partitions!: Partitions;
  #store: Store | undefined;
  #ending = new AbortController();

  constructor(hosts: Hosts, name: string) {
    this.#hosts = hosts;
    this.name = name;
    this.#folder = join(hosts.root, name);
    mkdirSync(join(this.#folder, 'kagemusha'), { recursive: true, mode: 0o700 });
  }

  get sockets(): string {
    return join(this.#folder, 'kagemusha');
  }

  get state(): string {
    return join(this.#folder, 'state');
  }

  async open(more: Partial<ClusterMachinesParts> = {}): Promise<void> {
    mkdirSync(this.state, { recursive: true, mode: 0o700 });
    this.#store = new Store(this.state);
    this.#ending = new AbortController();
    const { clock, specs, wanted } = this.#hosts;
    const program = { ...this.#hosts.program, environment: { KAGE_TEST_ROOT: this.#hosts.root } };
    this.partitions = new Partitions({
      ...{ store: this.#store, stateFolder: this.state, runtimeFolder: this.sockets, program },
      ...{ images: fakeImages, signal: this.#ending.signal },
    });
    this.answers.clear();
    this.machines = await ClusterMachines.open({
      ...{ host: this.name, listenHost: '127.0.0.1', tlsFolder: join(this.#hosts.root, 'tls'), clock },
      ...{ partitions: this.partitions, stateFolder: this.state, channel: this.#channel(), events: this.#events() },
      guest: async (name) => specs.get(name),
      wanted: (name) => wanted.get(name),
      ...more,
    });
  }

  /** The daemon ends, as by SIGKILL; machines go on. */
  async close(): Promise<void> {
    await this.machines[Symbol.asyncDispose]();
    this.#ending.abort(new Error('the daemon ends'));
    this.#store?.[Symbol.dispose]();
    this.#store = undefined;
  }

  /** As the host's death leaves it: no process, and what is on its disk. */
  loseAll(): void {
    for (const name of readdirSync(this.sockets)) rmSync(join(this.sockets, name), { force: true });
  }

  order(guest: string, generation: number, method: Method = 'cold', incarnation = 1): StartOrder {
    return { guest, generation, incarnation, method, deadlineMs: this.#hosts.clock.nowMs() + 60_000, cores: 1 };
  }

  start(guest: string, generation: number, method: Method = 'cold'): Promise<boolean> {
    return answerOf((done) => this.machines.start(this.order(guest, generation, method), done));
  }

  stop(guest: string, generation: number): Promise<boolean> {
    return answerOf((done) => this.machines.stop(guest, generation, done));
  }

  fence(guest: string, generation: number): Promise<boolean> {
    return answerOf((done) => this.machines.fence(guest, generation, done));
  }

  async pid(guest: string): Promise<number> {
    await using machine = await connectMachine(guest, this.sockets);
    return (await machine.info()).pid;
  }

  async type(guest: string, keys: string): Promise<void> {
    await using machine = await connectMachine(guest, this.sockets);
    await machine.writeConsole(Buffer.from(keys));
  }

  /** What the fake was made with, and what was asked of it. */
  async asked(guest: string): Promise<Asked> {
    await using machine = await connectMachine(guest, this.sockets);
    return JSON.parse(Buffer.from((await machine.exec(['told'])).stdout).toString()) as Asked;
  }

  #events(): ClusterMachinesEvents {
    return {
      ended: (guest, generation) => {
        this.told.push(`ended ${guest} ${generation}`);
        this.director?.machineEnded(guest, generation);
      },
      beat: (beat) => {
        this.beats.push(beat);
        this.director?.slaveBeat(beat);
      },
      synced: (guest, generation, host, isSynced) => {
        this.told.push(`${isSynced ? 'synced' : 'lost'} ${guest} ${generation} ${host}`);
        this.director?.synced(guest, generation, host, isSynced);
      },
      note: (kind, guest, detail) => this.told.push(`${kind} ${guest}: ${detail}`),
    };
  }

  #channel(): PeerChannel {
    const peerOf = (host: string, kind: string) => {
      const peer = this.#hosts.hosts.get(host);
      const answer = this.#hosts.cut.has(host) || this.#hosts.cut.has(this.name) ? undefined : peer?.answers.get(kind);
      if (answer === undefined)
        throw Object.assign(new Error(`${host} cannot be reached`), { code: 'peer-unreachable' });
      return answer;
    };
    return {
      serve: (kind, answer) => void this.answers.set(kind, answer),
      ask: async (host, kind, name, body) => {
        await sleep(1);
        return await peerOf(host, kind)({ from: this.name, name, body, files: undefined });
      },
      send: async (host, kind, name, file, body) => {
        const bytes = readFileSync(file);
        const { hosts, name: from } = { hosts: this.#hosts, name: this.name };
        async function* pieces(): AsyncGenerator<Uint8Array> {
          for (let at = 0; at < bytes.length; at += 64 << 10) {
            await sleep(1);
            if (hosts.cut.has(host) || hosts.cut.has(from)) throw new Error('the connection broke');
            yield bytes.subarray(at, at + (64 << 10));
          }
        }
        return await peerOf(host, kind)({ from, name, body, files: pieces() });
      },
    };
  }
}

interface Asked {
  readonly made: {
    readonly cap?: number;
    readonly heartbeatMs?: number;
    readonly lease?: { readonly generation: number; readonly incarnation: number; readonly deadlineMs: number };
    readonly drives?: readonly { readonly file: string }[];
  };
  readonly calls: readonly string[];
  readonly ran: readonly (readonly string[])[];
}

export function answerOf(call: (done: (outcome: boolean) => void) => void): Promise<boolean> {
  let isWithin = true;
  return new Promise<boolean>((resolve, reject) => {
    call((outcome) => (isWithin ? reject(new Error('it answered within the call')) : resolve(outcome)));
    isWithin = false;
  });
}

/** Machines' processes with sockets below the folder. */
function processesIn(root: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`KAGE_TEST_ROOT=${root}\0`);
      } catch {
        return false;
      }
    });
}

const PATIENCE_MS = 60_000;

/** `hosts`: what they were told is shown where it does not come. */
export async function until(condition: () => boolean | Promise<boolean>, ...hosts: readonly TestHost[]): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    const told = () => hosts.map((host) => `\n${host.name}: ${host.told.join('\n   ')}`).join('');
    assert.ok(performance.now() < end, `what was waited for did not come: ${condition}${told()}`);
    await sleep(10);
  }
}

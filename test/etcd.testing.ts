/**
 * A cluster of Debian's etcd for tests, on the loopback address, or each member at a place of its own: members can be
 * stopped, let go on, killed, and started again.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { programPath, provide } from './toolbox.ts';

interface Member {
  readonly name: string;
  readonly url: string;
  readonly words: readonly string[];
  readonly spawn: EtcdPlace['spawn'];
  child: ChildProcess | undefined;
}

/** Where a member runs, if not here. Its child is the member itself. */
export interface EtcdPlace {
  readonly address: string;
  spawn(program: string, args: readonly string[], options: SpawnOptions): ChildProcess;
}

/** Posts to a member; what it answered, or undefined. */
export type AskMember = (url: string, body: string | undefined) => Promise<string | undefined>;

export interface EtcdPlaces {
  readonly places: readonly EtcdPlace[];
  readonly ask: AskMember;
}

export class EtcdCluster implements AsyncDisposable {
  readonly #folder: string;
  readonly #members: readonly Member[];
  readonly #ask: AskMember;

  static async start(size: number): Promise<EtcdCluster> {
    const ports = await freePorts(2 * size);
    const here = { address: '127.0.0.1', spawn };
    return await EtcdCluster.#start(new Array<EtcdPlace>(size).fill(here), ports, askHere);
  }

  static async startAt({ places, ask }: EtcdPlaces): Promise<EtcdCluster> {
    const ports = [...places.map(() => 2379), ...places.map(() => 2380)];
    return await EtcdCluster.#start(places, ports, ask);
  }

  static async #start(places: readonly EtcdPlace[], ports: readonly number[], ask: AskMember): Promise<EtcdCluster> {
    const failure = await provide('etcd', (line) => process.stderr.write(`${line}\n`));
    if (failure !== undefined) throw new Error(failure);
    const cluster = new EtcdCluster(places, ports, ask);
    try {
      for (const i of places.keys()) cluster.begin(i);
      await cluster.ready();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(places: readonly EtcdPlace[], ports: readonly number[], ask: AskMember) {
    this.#ask = ask;
    this.#folder = mkdtempSync(join(tmpdir(), 'kagemusha-etcd-'));
    const names = places.map((_, i) => `m${i}`);
    const at = (i: number, port: number | undefined): string => `http://${places[i]?.address}:${port}`;
    const peer = (i: number): string => at(i, ports[places.length + i]);
    const all = names.map((name, i) => `${name}=${peer(i)}`).join(',');
    this.#members = names.map((name, i) => {
      const url = at(i, ports[i]);
      const words = [
        ...['--name', name, '--data-dir', join(this.#folder, name), '--initial-cluster', all],
        ...['--listen-client-urls', url, '--advertise-client-urls', url],
        ...['--listen-peer-urls', peer(i), '--initial-advertise-peer-urls', peer(i)],
        ...['--unsafe-no-fsync', '--log-level', 'error'],
      ];
      return { name, url, words, spawn: places[i]?.spawn ?? spawn, child: undefined };
    });
  }

  get urls(): readonly string[] {
    return this.#members.map(({ url }) => url);
  }

  /** Starts a member, the first time or again with what it had. */
  begin(index: number): void {
    const member = this.#member(index);
    member.child = member.spawn(programPath('etcd'), member.words, { stdio: 'ignore' });
  }

  /** SIGSTOP: it holds its connections and says nothing. */
  freeze(index: number): void {
    this.#member(index).child?.kill('SIGSTOP');
  }

  thaw(index: number): void {
    this.#member(index).child?.kill('SIGCONT');
  }

  async kill(index: number): Promise<void> {
    const member = this.#member(index);
    const { child } = member;
    member.child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** The member that leads. */
  async leader(): Promise<number> {
    for (let attempt = 0; attempt < 200; attempt += 1, await sleep(50)) {
      const states = await Promise.all(this.#members.map(({ url }) => this.#status(url)));
      const leads = states.findIndex(
        (state) => state !== undefined && state.leader === state.id && state.leader !== '0',
      );
      if (leads >= 0) return leads;
    }
    throw new Error('no member of etcd leads');
  }

  /** Resolves when all members that run serve. */
  async ready(): Promise<void> {
    for (const { url, child } of this.#members) {
      if (child === undefined) continue;
      for (let attempt = 0; (await this.#ask(`${url}/health`, undefined)) === undefined; attempt += 1) {
        if (attempt > 400 || child.exitCode !== null) throw new Error(`etcd does not serve at ${url}`);
        await sleep(50);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#members.map((_, i) => this.kill(i)));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #status(url: string): Promise<{ id: string; leader: string } | undefined> {
    const answer = await this.#ask(`${url}/v3/maintenance/status`, '{}');
    if (answer === undefined) return undefined;
    const { header, leader = '0' } = JSON.parse(answer) as { header: { member_id: string }; leader?: string };
    return { id: header.member_id, leader };
  }

  #member(index: number): Member {
    const member = this.#members[index];
    if (member === undefined) throw new Error(`there is no member ${index}`);
    return member;
  }
}

async function askHere(url: string, body: string | undefined): Promise<string | undefined> {
  try {
    const method = body === undefined ? {} : { method: 'POST', body };
    const response = await fetch(url, { ...method, signal: AbortSignal.timeout(500) });
    return response.ok ? await response.text() : undefined;
  } catch {
    return undefined;
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer();
          server.listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

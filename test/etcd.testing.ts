/** A cluster of Debian's etcd on the loopback address, for tests: members can be stopped, let go on, killed, and started again. */
import { type ChildProcess, spawn } from 'node:child_process';
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
  child: ChildProcess | undefined;
}

export class EtcdCluster implements AsyncDisposable {
  readonly #folder: string;
  readonly #members: readonly Member[];

  static async start(size: number): Promise<EtcdCluster> {
    const failure = await provide('etcd', (line) => process.stderr.write(`${line}\n`));
    if (failure !== undefined) throw new Error(failure);
    const cluster = new EtcdCluster(size, await freePorts(2 * size));
    for (let i = 0; i < size; i += 1) cluster.begin(i);
    await cluster.ready();
    return cluster;
  }

  private constructor(size: number, ports: readonly number[]) {
    this.#folder = mkdtempSync(join(tmpdir(), 'kagemusha-etcd-'));
    const names = Array.from({ length: size }, (_, i) => `m${i}`);
    const peer = (i: number): string => `http://127.0.0.1:${ports[size + i]}`;
    const all = names.map((name, i) => `${name}=${peer(i)}`).join(',');
    this.#members = names.map((name, i) => {
      const url = `http://127.0.0.1:${ports[i]}`;
      const words = [
        ...['--name', name, '--data-dir', join(this.#folder, name), '--initial-cluster', all],
        ...['--listen-client-urls', url, '--advertise-client-urls', url],
        ...['--listen-peer-urls', peer(i), '--initial-advertise-peer-urls', peer(i)],
        ...['--unsafe-no-fsync', '--log-level', 'error'],
      ];
      return { name, url, words, child: undefined };
    });
  }

  get urls(): readonly string[] {
    return this.#members.map(({ url }) => url);
  }

  /** Starts a member, the first time or again with what it had. */
  begin(index: number): void {
    const member = this.#member(index);
    member.child = spawn(programPath('etcd'), member.words, { stdio: 'ignore' });
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
      const states = await Promise.all(this.#members.map(({ url }) => status(url)));
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
      for (let attempt = 0; (await healthy(url)) === false; attempt += 1) {
        if (attempt > 400 || child.exitCode !== null) throw new Error(`etcd does not serve at ${url}`);
        await sleep(50);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#members.map((_, i) => this.kill(i)));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #member(index: number): Member {
    const member = this.#members[index];
    if (member === undefined) throw new Error(`there is no member ${index}`);
    return member;
  }
}

async function status(url: string): Promise<{ id: string; leader: string } | undefined> {
  try {
    const response = await fetch(`${url}/v3/maintenance/status`, {
      method: 'POST',
      body: '{}',
      signal: AbortSignal.timeout(500),
    });
    const { header, leader = '0' } = (await response.json()) as { header: { member_id: string }; leader?: string };
    return { id: header.member_id, leader };
  } catch {
    return undefined;
  }
}

async function healthy(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health`, { signal: AbortSignal.timeout(1000) })).ok;
  } catch {
    return false;
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

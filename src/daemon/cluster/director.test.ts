/** The cluster's director over its real hands: two hosts in this process, one store, guests that are fakes in processes of their own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ClusterEvent,
  DEFAULT_SETTINGS,
  find,
  type GuestSpec,
  HostDirector,
  MemoryState,
  MemoryStore,
  OWNER,
  type Owner,
  put,
  SPEC,
  type Timers,
} from '../../cluster/index.ts';
import { Hosts, type TestHost, until } from './cluster-host.testing.ts';
import { HostLoad } from './host-load.ts';

const timers: Timers = {
  after: (delayMs, run) => {
    const timer = setTimeout(run, Math.max(0, delayMs));
    return { cancel: () => clearTimeout(timer) };
  },
};

const capacity = { cores: 4, memoryBytes: 4 * 2 ** 30, diskBytes: 4 * 2 ** 30 };
const web: GuestSpec = {
  ...{ name: 'web', cores: 1, memoryBytes: 256 << 20, diskBytes: 1 << 30, methods: ['cold', 'hot'], fixed: 'hot' },
  requirements: { recoveryTimeMs: 10_000, dataLossMs: 0, performanceFloor: 0.5, priority: 1 },
  wanted: 'running',
};

class Cluster implements AsyncDisposable {
  readonly hosts = new Hosts();
  readonly state = new MemoryState();
  readonly directors = new Map<string, HostDirector>();
  readonly told: (ClusterEvent & { readonly by: string })[] = [];
  #boots = 0;

  async begin(name: string): Promise<TestHost> {
    const host = await this.hosts.host(name);
    this.#direct(host);
    return host;
  }

  /** The daemon is killed, and comes back; or with its host, of which nothing is left. */
  async again(host: TestHost, { booted }: { readonly booted: boolean }): Promise<void> {
    this.directors.get(host.name)?.halt();
    host.director = undefined;
    await host.close();
    if (booted) host.loseAll();
    await host.open();
    this.#direct(host, booted);
  }

  halt(host: TestHost): void {
    this.directors.get(host.name)?.halt();
    host.director = undefined;
  }

  #direct(host: TestHost, booted = true): void {
    if (booted) this.#boots += 1;
    const boot = booted ? `${host.name}-${this.#boots}` : host.boot;
    host.boot = boot;
    const identity = { name: host.name, boot, address: '127.0.0.1:1', labels: {}, capacity };
    const director = new HostDirector(
      identity,
      { ...DEFAULT_SETTINGS, planMs: 200, lastingMs: 500, restMs: 500 },
      {
        ...{ clock: this.hosts.clock, timers, chance: Math.random, store: new MemoryStore(timers, this.state) },
        ...{ machines: host.machines, load: new HostLoad(host.machines) },
        datagrams: {
          send: (to, bytes) =>
            void timers.after(1, () => this.hosts.hosts.get(to)?.director?.receive(host.name, bytes)),
        },
      },
      (event) => this.told.push({ ...event, by: host.name }),
    );
    this.directors.set(host.name, director);
    host.director = director;
    director.start();
  }

  owner(): Owner | undefined {
    const read = this.state.read({ keys: ['owners/web'] });
    return read.kind === 'read' ? find(read.entries, OWNER, 'web').value : undefined;
  }

  isProtected(by: string, to: string): boolean {
    const { host, sync, phase } = this.owner() ?? {};
    return host === by && sync === to && phase === 'held';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const director of this.directors.values()) director.halt();
    await this.hosts[Symbol.asyncDispose]();
  }
}

test('a guest gets a hot standby, loses it, is taken over by another, and the host that died comes back', async () => {
  await using cluster = new Cluster();
  const [a, b] = [await cluster.begin('a'), await cluster.begin('b')];
  cluster.hosts.specs.set('web', { kernel: '/k', failover: {} });
  cluster.state.commit({ compares: [], puts: [put(SPEC, 'web', web)] });
  await until(() => cluster.isProtected('a', 'b') || cluster.isProtected('b', 'a'));
  const [active, standby] = cluster.owner()?.host === 'a' ? [a, b] : [b, a];
  const { generation = 0 } = cluster.owner() ?? {};

  // The standby's process dies: off the record, made anew, on record again.
  process.kill(await standby.pid('web'), 'SIGKILL');
  await until(() => !cluster.isProtected(active.name, standby.name));
  await until(() => cluster.isProtected(active.name, standby.name));
  assert.equal(cluster.owner()?.generation, generation, 'the guest ran all the time');

  // The active host's daemon is killed and comes back: it goes on with what it finds.
  const pid = await active.pid('web');
  await cluster.again(active, { booted: false });
  await until(() => cluster.told.some(({ kind, by }) => kind === 'adopted' && by === active.name));
  assert.deepEqual([await active.pid('web'), cluster.owner()?.generation], [pid, generation]);

  // The active host dies: its standby goes on, once its lease has expired.
  const before = await standby.pid('web');
  cluster.halt(active);
  process.kill(pid, 'SIGKILL');
  await until(() => cluster.owner()?.host === standby.name);
  await until(() => cluster.told.some((one) => one.kind === 'started' && one.by === standby.name));
  const started = cluster.told.find((one) => one.kind === 'started' && one.by === standby.name);
  assert.equal(started?.kind === 'started' && started.detail, 'hot');
  assert.equal(await standby.pid('web'), before, 'what stood by is the guest');
  assert.equal((await standby.asked('web')).made.lease?.generation, cluster.owner()?.generation);

  // It boots: another incarnation, and the standby from now on.
  await cluster.again(active, { booted: true });
  await until(() => cluster.isProtected(standby.name, active.name));

  // Its operator wants it down: the guest is asked, and no standby stays.
  cluster.hosts.wanted.set('web', 'stopped');
  const revision = (() => {
    const read = cluster.state.read({ keys: ['specs/web'] });
    return read.kind === 'read' ? find(read.entries, SPEC, 'web').revision : 0;
  })();
  cluster.state.commit({
    compares: [{ key: 'specs/web', revision }],
    puts: [put(SPEC, 'web', { ...web, wanted: 'stopped' })],
  });
  await until(() => cluster.owner()?.phase === 'released');
  await until(() => a.machines.standbys().length === 0 && b.machines.standbys().length === 0);
  assert.deepEqual([a.machines.list(), b.machines.list()], [[], []]);
});

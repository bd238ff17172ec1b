/**
 * A cluster as its operator has it: two daemons over one store, through their API; machines are fakes. Takeovers are those of the
 * cluster's own logic, with its real times.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownFolders, until } from '../daemon.testing.ts';
import { DaemonHost } from './cluster.testing.ts';
import { FakeWorld } from './fake-hands.testing.ts';

const folders = ownFolders();
const world = new FakeWorld();
const more = { cluster: { openHands: world.open } };
const [a, b] = [new DaemonHost(folders.root, 'a', more), new DaemonHost(folders.root, 'b', more)];
before(async () => {
  await a.start();
  await b.start();
});
after(async () => {
  await a.end();
  await b.end();
  assert.deepEqual(world.clashes, []);
});

async function metricsOf({ client }: DaemonHost): Promise<string> {
  let text = '';
  for await (const bytes of client.getMetrics()) text += Buffer.from(bytes).toString();
  return text;
}

const spec = { image: 'debian', failover: {} };
const room = { cores: 4, memoryBytes: 4 * 2 ** 30, diskBytes: 2 ** 34 };
let token = '';

test('a daemon that is in no cluster says so, and takes no partition with failover', async () => {
  for (const asked of [
    a.client.getCluster(),
    a.client.getClusterToken(),
    a.client.leaveCluster(),
    a.client.drainHost('a'),
    a.client.createPartition({ name: 'web', spec }),
  ])
    await assert.rejects(asked, { code: 'no-cluster' });
  assert.equal(existsSync(join(a.state, 'cluster')), false);
});

test('one begins it, the other joins it with its token', async () => {
  await assert.rejects(a.client.initCluster({ address: '192.0.2.1' }), { code: 'bad-address' });
  const begun = await a.client.initCluster({ address: a.address, name: 'a', capacity: room, labels: { rack: '1' } });
  ({ token } = begun);
  assert.equal(begun.name, 'a');
  await assert.rejects(a.client.initCluster({ address: a.address }), { code: 'in-cluster' });
  const other = token.slice(0, -4);
  await assert.rejects(b.client.joinCluster({ token: other, address: b.address }), { code: 'bad-join-token' });
  await assert.rejects(b.client.joinCluster({ token, address: a.address }), { code: 'address-in-use' });
  await assert.rejects(b.client.joinCluster({ token, address: b.address, name: 'a' }), { code: 'name-in-use' });
  await assert.rejects(b.client.joinCluster({ token, address: b.address, name: 'a', replace: true }), {
    code: 'host-alive',
  });
  assert.equal(existsSync(join(b.state, 'cluster/cluster.json')), false);
  assert.deepEqual(await b.client.joinCluster({ token, address: b.address, name: 'b', capacity: room }), {
    name: 'b',
    token,
  });
  await until(async () => {
    const { hosts, leader } = await b.client.getCluster();
    return hosts.length === 2 && hosts.every(({ state }) => state === 'active') && leader !== undefined;
  });
  const { self, hosts } = await b.client.getCluster();
  assert.deepEqual([self.name, self.state, self.problem], ['b', 'in', undefined]);
  assert.deepEqual(
    hosts.map(({ name, address, labels, capacity }) => [name, address, labels, capacity]),
    [
      ['a', a.address, { rack: '1' }, room],
      ['b', b.address, {}, room],
    ],
  );
  assert.equal(statSync(join(b.state, 'cluster')).mode & 0o777, 0o700);
});

test('a wrong secret, another cluster and a store that is not there are told apart, and change nothing', async () => {
  const parts = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  const with_ = (change: object): string =>
    `kage-cluster-1.${Buffer.from(JSON.stringify({ ...parts, ...change })).toString('base64url')}`;
  const c = new DaemonHost(folders.root, 'c', more);
  await c.start();
  try {
    const address = `127.0.0.1:${c.port}`;
    for (const [change, code] of [
      [{ secret: Buffer.alloc(32).toString('base64url') }, 'wrong-secret'],
      [{ authority: '0'.repeat(64) }, 'foreign-authority'],
      [{ store: { kind: 'sqlite', file: join(folders.root, 'none.db') } }, 'no-store'],
      [{ store: { kind: 'etcd', endpoints: ['http://127.0.0.1:1'] } }, 'store-unreachable'],
    ] as const) {
      await assert.rejects(c.client.joinCluster({ token: with_(change), address, name: 'c' }), { code });
      await assert.rejects(c.client.getCluster(), { code: 'no-cluster' });
    }
    await c.client.initCluster({ address, name: 'c' });
    const foreign = with_({ store: { kind: 'sqlite', file: join(c.state, 'cluster/store.db') } });
    await c.client.leaveCluster();
    await assert.rejects(c.client.joinCluster({ token: foreign, address, name: 'c' }), { code: 'foreign-authority' });
    await assert.rejects(c.client.initCluster({ address, name: 'c' }), { code: 'cluster-exists' });
  } finally {
    await c.end();
  }
});

test('what cannot be kept up is refused where it is declared', async () => {
  for (const wrong of [
    { spec: { ...spec, drives: [{ file: '/disk.img' }] } },
    { spec: { ...spec, beside: 'other' } },
    { spec: { restoreFrom: '/snapshot', failover: {} } },
    { spec: { ...spec, failover: { methods: ['cold' as const], method: 'fixed:hot' as const } } },
    { spec: { ...spec, failover: { method: 'fixed:pair' as const } } },
    { spec, restartPolicy: { name: 'always' as const } },
    { spec, removeAtEnd: true },
  ])
    await assert.rejects(
      a.client.createPartition({ name: 'web', ...wrong }),
      { code: 'bad-spec' },
      JSON.stringify(wrong),
    );
  await assert.rejects(a.client.createPartition({ name: 'web', spec: { ...spec, failover: { prio: 1 } as never } }), {
    code: 'bad-request',
  });
});

test('a partition with failover is seen, started and stopped from any host', async () => {
  const made = await b.client.createPartition({
    name: 'web',
    spec: { ...spec, cpus: 2, memoryBytes: 256 << 20, failover: { priority: 10, group: 'web', method: 'fixed:cold' } },
  });
  assert.equal(made.state, 'created');
  await assert.rejects(a.client.createPartition({ name: 'web', spec }), { code: 'name-in-use' });
  await assert.rejects(a.client.createPartition({ name: 'web', spec: { image: 'debian' } }), { code: 'name-in-use' });
  const started = await a.client.startPartition('web');
  assert.equal(started.cluster?.state, 'running');
  const { host } = started.cluster ?? {};
  assert.ok(host === 'a' || host === 'b');
  await until(async () => {
    const [guest] = (await b.client.getCluster()).guests;
    return guest?.name === 'web' && guest.state === 'running' && guest.wanted === 'running' && guest.priority === 10;
  });
  await until(() => world.machinesOf(host).has('web'));
  const far = host === 'a' ? b : a;
  await assert.rejects(far.client.exec('web', { argv: ['true'] }), { code: 'on-another-host' });
  await assert.rejects(far.client.pausePartition('web'), { code: 'clustered' });
  await assert.rejects(far.client.updatePartition('web', { restartPolicy: { name: 'always' } }), { code: 'bad-spec' });
  await assert.rejects(far.client.removePartition('web'), { code: 'partition-running' });
  assert.equal((await far.client.stopPartition('web')).state, 'exited');
  assert.deepEqual(world.holders('web', 0), []);
});

test('its requirements are changed while it runs; a host dies, and the other has it when the lease has ended', async () => {
  await a.client.startPartition('web');
  const { spec: declared } = await a.client.getPartition('web');
  const changed = { ...declared, failover: { ...declared?.failover, priority: 3 } };
  assert.equal((await a.client.declarePartition('web', { spec: changed })).change, 'changed');
  assert.equal((await a.client.declarePartition('web', { spec: changed })).change, 'unchanged');
  await until(async () => (await b.client.getCluster()).guests[0]?.priority === 3);
  const { host, generation = 0 } = (await a.guest('web')) ?? {};
  // Whom its heart is heard by is found out within seconds.
  for (const one of [a, b])
    await until(async () => /heartbeat_packets_total\{direction="received"\} [1-9]/.test(await metricsOf(one)));
  const [dead, alive] = host === 'a' ? [a, b] : [b, a];
  await dead.end();
  await until(async () => {
    const guest = await alive.guest('web');
    return guest?.host === alive.name && guest.state === 'running';
  });
  assert.ok(((await alive.guest('web'))?.generation ?? 0) > generation);
  await until(() => world.machinesOf(alive.name).has('web'));
  const { hosts } = await alive.client.getCluster();
  assert.equal(hosts.find(({ name }) => name === dead.name)?.state, 'fenced');
  const { events } = await alive.client.eventHistory({ most: 1000 });
  const told = events.flatMap(({ kind, detail }) => (kind === 'cluster' ? [detail?.['event']] : []));
  for (const event of ['suspected', 'fenced', 'claimed', 'gate-raised', 'starting', 'started'])
    assert.ok(told.includes(event), `${event}: ${told}`);
  const isBack = async (): Promise<boolean> =>
    (await alive.client.clusterHistory()).events.some(
      ({ partition, detail }) =>
        partition === 'web' && detail?.['event'] === 'first-beat' && detail['host'] === alive.name,
    );
  await until(isBack);
  const metrics = await metricsOf(alive);
  assert.match(metrics, /^kagemusha_cluster_takeovers_total\{method="cold"\} 1$/m);
  assert.match(metrics, /^kagemusha_cluster_heartbeat_packets_total\{direction="sent"\} \d+$/m);
  assert.match(metrics, /^kagemusha_cluster_lease_left_seconds [0-9.]+$/m);
  await dead.start();
  await until(async () => (await dead.client.getCluster()).self.state === 'in');
  // Each tells what the other kept, too; one that was away answers again.
  for (const one of [alive, dead]) await until(async () => (await one.client.clusterHistory()).silent.length === 0);
  const [here, there] = [await alive.client.clusterHistory(), await dead.client.clusterHistory()];
  assert.deepEqual(new Set(there.events.map(({ host }) => host)), new Set(['a', 'b']));
  const claims = ({ events }: typeof here) =>
    events.filter(({ detail }) => detail?.['event'] === 'claimed').map(({ host, detail }) => [host, detail?.['from']]);
  assert.deepEqual(claims(there), claims(here));
  assert.deepEqual(claims(here).at(-1), [alive.name, dead.name]);
  // What it had is gone from it.
  await until(() => !world.machinesOf(dead.name).has('web'));
});

test('what hearts counted, what methods would give, and the switch of heartbeats', async () => {
  // Hosts that have just come are met within seconds.
  await until(async () => (await a.client.getCluster()).heartbeats?.peers[0]?.isSuspected === false);
  const { heartbeats, guests, hosts } = await a.client.getCluster();
  assert.deepEqual(
    heartbeats?.peers.map(({ host, isSuspected }) => [host, isSuspected]),
    [['b', false]],
  );
  assert.ok((heartbeats?.counters.sent.beat.packets ?? 0) > 0);
  assert.deepEqual(
    hosts.map(({ peers }) => peers),
    [['b'], ['a']],
  );
  const [web] = guests;
  assert.deepEqual([web?.group, web?.fixed, web?.requirements.priority], ['web', 'cold', 3]);
  assert.deepEqual(
    web?.methods.map(({ method, isAllowed }) => [method, isAllowed]),
    [
      ['cold', true],
      ['warm', false],
      ['hot', false],
      ['pair', false],
    ],
  );
  assert.equal((await a.client.setHeartbeats({ mode: 'direct' })).heartbeats?.mode, 'direct');
  assert.equal((await b.client.getCluster()).heartbeats?.mode, 'constant');
  await a.client.setHeartbeats({ mode: 'constant' });
});

test('a drained host gives its guests up, and takes none until that is undone', async () => {
  const { host } = (await a.guest('web')) ?? {};
  const [from, to] = host === 'a' ? [a, b] : [b, a];
  await assert.rejects(to.client.drainHost('nobody'), { code: 'no-such-host' });
  const { hosts } = await to.client.drainHost(from.name);
  assert.equal(hosts.find(({ name }) => name === from.name)?.state, 'draining');
  await until(
    async () => (await from.guest('web'))?.host === to.name && (await from.guest('web'))?.state === 'running',
  );
  const after = await from.client.drainHost(from.name, { undo: true });
  assert.equal(after.hosts.find(({ name }) => name === from.name)?.state, 'active');
});

test('a host whose store is away, or whose name another has, says so; what is its own goes on, and it can forget the cluster', async () => {
  const c = new DaemonHost(folders.root, 'd', more);
  const file = join(c.state, 'cluster/cluster.json');
  await c.start();
  const rewritten = async (change: object): Promise<void> => {
    await c.end();
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...change }));
    await c.start();
  };
  try {
    await c.client.initCluster({ address: c.address, name: 'd' });
    await c.client.createPartition({ name: 'own', spec: { kernel: '/k' } });
    await rewritten({ id: 'another' });
    await until(async () => (await c.client.getCluster()).self.state === 'replaced');
    await assert.rejects(c.client.leaveCluster(), { code: 'replaced' });
    await rewritten({ store: { kind: 'etcd', endpoints: ['http://127.0.0.1:1'] } });
    assert.deepEqual(
      (await c.client.listPartitions()).partitions.map(({ name }) => name),
      ['own'],
    );
    assert.equal((await c.client.getPartition('own')).state, 'created');
    await assert.rejects(c.client.createPartition({ name: 'web', spec }), { code: 'store-unreachable' });
    await assert.rejects(c.client.leaveCluster(), { code: 'store-unreachable' });
    await rewritten({ address: '192.0.2.1:7444' });
    const { self } = await c.client.getCluster();
    assert.equal(self.state, 'opening');
    assert.match(self.problem ?? '', /192\.0\.2\.1/);
    await assert.rejects(c.client.createPartition({ name: 'web', spec }), { code: 'cluster-closed' });
    await c.client.leaveCluster({ force: true });
    await assert.rejects(c.client.getCluster(), { code: 'no-cluster' });
    assert.deepEqual(
      (await c.client.listPartitions()).partitions.map(({ name }) => name),
      ['own'],
    );
  } finally {
    await c.end();
  }
});

test('certificates for a gate are of the authority, and no host', async () => {
  const { ca, cert, key } = await a.client.makeCredentials({ names: ['10.0.0.9', 'gate.example'] });
  assert.equal(ca, readFileSync(join(a.state, 'cluster/ca.pem'), 'utf8'));
  assert.match(cert, /BEGIN CERTIFICATE/);
  assert.match(key, /BEGIN PRIVATE KEY/);
});

test('a daemon that comes back goes on with what it had', async () => {
  const { host, generation } = (await a.guest('web')) ?? {};
  const own = host === 'a' ? a : b;
  await own.end();
  await own.start();
  await until(async () => (await own.client.getCluster()).self.state === 'in');
  assert.deepEqual([(await own.guest('web'))?.host, (await own.guest('web'))?.generation], [host, generation]);
});

test('a host leaves when it has given its guests up; the last one is kept from it', async () => {
  const { host } = (await a.guest('web')) ?? {};
  const [from, to] = host === 'a' ? [a, b] : [b, a];
  await from.client.leaveCluster();
  await assert.rejects(from.client.getCluster(), { code: 'no-cluster' });
  assert.equal(existsSync(join(from.state, 'cluster/key.pem')), false);
  await until(async () => (await to.guest('web'))?.state === 'running' && (await to.guest('web'))?.host === to.name);
  await until(async () => (await to.client.getCluster()).hosts.every(({ name }) => name === to.name));
  await assert.rejects(to.client.leaveCluster(), { code: 'last-host' });
  // Its name is free for it again.
  await from.client.joinCluster({ token, address: from.address, name: from.name, capacity: room });
  await until(async () => (await to.client.getCluster()).hosts.length === 2);
  await from.client.removePartition('web', { force: true });
  await until(async () => (await to.client.listPartitions()).partitions.length === 0);
  await assert.rejects(to.client.getPartition('web'), { code: 'no-such-partition' });
  await from.client.leaveCluster();
  await to.client.leaveCluster();
});

/** The API over its unix socket, with one fake machine: every operation, its answer against its own schema. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ApiError, type Client, type Socket } from '../../client/index.ts';
import { freePort } from '../cluster/cluster.testing.ts';
import { ownFolders, type Served, served, until } from '../daemon.testing.ts';
import { nodeTransport } from '../transports/node-transport.ts';
import { type Operation, type Route, routes } from './routes.ts';

let api: Served;
let client: Client;
let port = 0;

after(async () => await api[Symbol.asyncDispose]());
const folders = ownFolders();
const socketPath = join(folders.runtime, 'daemon.sock');
before(async () => {
  api = await served();
  client = api.client;
  port = await freePort();
  await client.createPartition({ name: 'web', spec: { kernel: '/k', room: {} }, start: true });
});

/** One call for each operation that answers with JSON, and is well. */
const calls: Partial<Record<Operation, () => Promise<unknown>>> = {
  listPartitions: () => client.listPartitions(),
  createPartition: () => client.createPartition({ name: 'made', spec: { image: 'debian' } }),
  getPartition: () => client.getPartition('web'),
  updatePartition: () => client.updatePartition('web', { restartPolicy: { name: 'on-failure', most: 2 } }),
  declarePartition: () => client.declarePartition('web', { spec: { kernel: '/k', room: {} } }),
  startPartition: () => client.startPartition('web'),
  pausePartition: () => client.pausePartition('web'),
  resumePartition: () => client.resumePartition('web'),
  snapshotPartition: () => client.snapshotPartition('web', { file: '/tmp/x.kage' }),
  forkPartition: () => client.forkPartition('web'),
  exec: () => client.exec('web', { argv: ['echo', 'hello'], waitMs: 60_000 }),
  waitReady: () => client.waitReady('web'),
  getStats: () => client.getStats('web'),
  getSwitches: () => client.getSwitches('web'),
  setSwitches: () => client.setSwitches('web', { promotion: 'off', pathFailover: false }),
  getNet: () => client.getNet('web'),
  changeNet: () => client.changeNet('web', { action: 'map', interface: 'net0', uplinks: ['lan1', 'lan0'] }),
  netEvents: () => client.netEvents('web', { since: 0 }),
  getProtection: () => client.getProtection('web'),
  protect: () =>
    client.protect('web', { action: 'deny', domains: ['user'], start: 0x8020_0000, end: 0x8020_1000, rights: 'w' }),
  getViolations: () => client.getViolations('web', { most: 10 }),
  getBalloon: () => client.getBalloon('web'),
  setBalloon: () => client.setBalloon('web', { memoryBytes: 1 << 28 }),
  getPci: () => client.getPci('web'),
  changeSlot: () => client.changeSlot('web', 'rp0', { action: 'pull' }),
  getPromotedSites: () => client.getPromotedSites('web', { most: 1 }),
  getHotRegions: () => client.getHotRegions('web', { most: 1 }),
  explain: () => client.explain('web', { pc: '0x80200000', hart: 0, level: 2 }),
  listImages: () => client.listImages(),
  pullImage: () => client.pullImage({ name: 'debian' }),
  removeImage: () => client.removeImage('debian'),
  eventHistory: () => client.eventHistory({ most: 5 }),
  getVersion: () => client.getVersion(),
  getOpenApi: () => client.getOpenApi(),
  getHealth: () => client.getHealth(),
  getReadiness: () => client.getReadiness(),
  initCluster: () => client.initCluster({ name: 'alone', address: `127.0.0.1:${port}` }),
  getCluster: () => client.getCluster(),
  getClusterToken: () => client.getClusterToken(),
  makeCredentials: () => client.makeCredentials({ names: ['10.0.0.9'] }),
  leaveCluster: () => client.leaveCluster({ force: true }),
  stopPartition: () => client.stopPartition('made'),
  killPartition: () => client.killPartition('made'),
  removePartition: () => client.removePartition('made'),
};
/** What lives elsewhere: they go on, or are no JSON, or end the machine. */
const apart: readonly Operation[] = [
  ...([
    'partitionEvents',
    'events',
    'partitionLogs',
    'attachConsole',
    'attachExec',
    'captureNet',
    'getMetrics',
  ] as const),
  ...(['waitPartition', 'restartPartition'] as const),
  // src/daemon/cluster/operate.test.ts and drill.test.ts have them.
  ...(['joinCluster', 'drainHost', 'drill'] as const),
];

describe('every operation', () => {
  for (const [operation, call] of Object.entries(calls)) {
    test(`${operation} answers as the document says`, async () => {
      const answer = await call();
      const { result, status }: Route = routes[operation as Operation];
      if (status === 204) assert.equal(answer, undefined);
      else assert.deepEqual(result?.safeParse(answer).error?.issues ?? [], []);
    });
  }

  test('has its call here', () => {
    const missing = Object.keys(routes).filter((name) => !(name in calls) && !apart.includes(name as Operation));
    assert.deepEqual(missing, []);
  });

  test('did what it was asked to', async () => {
    assert.deepEqual(await client.getSwitches('web'), { promotion: 'off', pathFailover: false });
    const { interfaces } = await client.getNet('web');
    assert.deepEqual(interfaces[0]?.uplinks, ['lan1', 'lan0']);
    assert.equal((await client.getBalloon('web')).targetBytes, 1 << 28);
    assert.equal((await client.getPci('web')).ports[0]?.card, 'out');
  });
});

describe('errors are problems', () => {
  async function raw(method: string, path: string, body?: string, headers: Record<string, string> = {}) {
    const answer = await nodeTransport({ kind: 'unix', path: socketPath }).request({
      ...{ method, path, headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers } },
      ...(body === undefined ? {} : { body }),
    });
    const pieces: Uint8Array[] = [];
    for await (const piece of answer.body) pieces.push(piece);
    const text = Buffer.concat(pieces).toString();
    return { status: answer.status, problem: (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> };
  }

  for (const [what, ask, status, code] of [
    ['an unknown path', () => raw('GET', '/v1/nothing'), 404, 'no-such-path'],
    ['a method that a path does not know', () => raw('DELETE', '/v1/events'), 405, 'method-not-allowed'],
    ['the head of what goes on', () => raw('HEAD', '/v1/events'), 405, undefined],
    [
      'a WebSocket asked for without an upgrade',
      () => raw('GET', '/v1/partitions/web/console'),
      426,
      'upgrade-required',
    ],
    ['a body that is no JSON', () => raw('POST', '/v1/partitions', '{'), 400, 'bad-request'],
    [
      'a body of another type',
      () => raw('POST', '/v1/partitions', '{}', { 'content-type': 'text/plain' }),
      415,
      'not-json',
    ],
    [
      'a body that is too large',
      () => raw('POST', '/v1/partitions', `"${'x'.repeat(5 << 20)}"`),
      413,
      'body-too-large',
    ],
    ['a query that is no number', () => raw('GET', '/v1/events/history?most=many'), 400, 'bad-request'],
    ['a query that is said twice', () => raw('GET', '/v1/events/history?most=1&most=2'), 400, 'bad-request'],
    ['a name that none can have', () => raw('GET', '/v1/partitions/..%2f..%2fetc'), 400, 'bad-request'],
    [
      'a page of another origin',
      () => raw('GET', '/v1/version', undefined, { origin: 'https://evil.example' }),
      403,
      'wrong-origin',
    ],
  ] as const) {
    test(what, async () => {
      const { status: found, problem } = await ask();
      assert.deepEqual([found, problem['code']], [status, code]);
      if (code === undefined) return;
      assert.equal(problem['status'], status);
      assert.ok(problem['detail'] && problem['fix'] && problem['type'] && problem['title']);
    });
  }

  test('the client throws them', async () => {
    const error = await client.getPartition('nobody').catch((thrown: unknown) => thrown);
    assert.ok(error instanceof ApiError);
    assert.deepEqual(
      [error.status, error.code, error.message],
      [404, 'no-such-partition', 'There is no partition nobody'],
    );
  });
});

test('the socket is for this user alone', () => {
  assert.equal(statSync(socketPath).mode & 0o777, 0o600);
});

describe('sockets', () => {
  test('a command: its streams apart, its input, its code', async () => {
    await using socket = disposable(await client.attachExec('web'));
    socket.send(JSON.stringify({ argv: ['cat'] }));
    socket.send(Buffer.from('\0first '));
    socket.send(Buffer.from('\0second'));
    socket.send(Buffer.from('\0'));
    const { stdout, last } = await drained(socket);
    assert.deepEqual([stdout, last], ['first second', { kind: 'exit', code: 0 }]);
  });

  test('a command that is not there is a problem', async () => {
    for (const [first, code] of [
      [JSON.stringify({ argv: ['nothing'] }), 'no-such-command'],
      [JSON.stringify({ argv: [] }), 'bad-request'],
      ['{', 'bad-request'],
      [Buffer.from('x'), 'bad-request'],
    ] as const) {
      await using socket = disposable(await client.attachExec('web'));
      socket.send(first);
      const { last } = await drained(socket);
      assert.equal((last as { problem: { code: string } }).problem.code, code);
    }
  });

  test('a console: what it said lately, what it says, and keys for it', async () => {
    await using first = disposable(await client.attachConsole('web'));
    first.send(Buffer.from('hello'));
    const seen = first.messages()[Symbol.asyncIterator]();
    assert.equal(Buffer.from((await seen.next()).value as Uint8Array).toString(), 'hello');
    await using second = disposable(await client.attachConsole('web'));
    const history = await second.messages()[Symbol.asyncIterator]().next();
    assert.equal(Buffer.from(history.value as Uint8Array).toString(), 'hello');
  });

  test('of a partition that is not there is refused as HTTP has it', async () => {
    await assert.rejects(client.attachConsole('nobody'), { code: 'no-such-partition', status: 404 });
  });

  test('a client that leaves takes its command along', async () => {
    const socket = await client.attachExec('web');
    socket.send(JSON.stringify({ argv: ['hang'] }));
    await socket.messages()[Symbol.asyncIterator]().next();
    socket.close();
    await until(async () => (await client.exec('web', { argv: ['echo'] })).code === 0);
  });
});

test('metrics say what the machine counted', async () => {
  const text = await metrics();
  assert.match(text, /^kagemusha_vcpu_instructions_total\{partition="web",vcpu="0"\} 42$/m);
  assert.match(text, /^kagemusha_partitions\{state="running"\} 1$/m);
});

test('frames come as pcapng, until the caller leaves', async () => {
  const frames = client.captureNet('web', { port: 'lan0' })[Symbol.asyncIterator]();
  const first = Buffer.from((await frames.next()).value as Uint8Array);
  assert.equal(first.readUInt32LE(0), 0x0a0d0d0a, 'a section header block');
  await frames.return?.();
});

test('paths: what happens to them is an event of their partition', async () => {
  const leaving = new AbortController();
  const events = client.partitionEvents('web', { signal: leaving.signal })[Symbol.asyncIterator]();
  let isDone = false;
  const following = (async () => {
    for (let { done, value } = await events.next(); !done; { done, value } = await events.next()) {
      if (value?.kind === 'path' && value.detail?.['kind'] === 'failover-on') isDone = true;
    }
  })().catch(() => {});
  await until(async () => {
    await client.setSwitches('web', { pathFailover: false });
    await client.setSwitches('web', { pathFailover: true });
    return isDone;
  });
  leaving.abort();
  await following;
});

test('a restart and a wait', async () => {
  const waiting = client.waitPartition('web');
  const { state } = await client.restartPartition('web', { graceMs: 1000 });
  assert.deepEqual([state, (await waiting).reason], ['running', 'poweroff']);
});

async function metrics(): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of client.getMetrics()) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

function disposable(socket: Socket): Socket & AsyncDisposable {
  return Object.assign(socket, { [Symbol.asyncDispose]: async () => socket.close() });
}

async function drained(socket: Socket): Promise<{ stdout: string; last: unknown }> {
  let [stdout, last] = ['', undefined as unknown];
  for await (const message of socket.messages()) {
    if (typeof message === 'string') last = JSON.parse(message);
    else if (message[0] === 1) stdout += Buffer.from(message.subarray(1)).toString();
  }
  return { stdout, last };
}

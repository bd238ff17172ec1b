/** The daemon with machines that are fakes, in processes of their own: what it does of its own accord. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ApiError, type Client, type Partition } from '../client/index.ts';
import { connectMachine } from '../host/index.ts';
import { fakeOptions, ownFolders, served, until } from './daemon.testing.ts';
import { Daemon } from './daemon.ts';
import { Store, stateFolder } from './store/index.ts';

const folders = ownFolders();
const spec = { kernel: '/k' };

async function pidOf(client: Client, name: string): Promise<number> {
  const { machine } = await client.getPartition(name);
  assert.ok(machine, `${name} runs`);
  return machine.pid;
}

function stateIs(client: Client, name: string, state: Partition['state']): Promise<void> {
  return until(async () => (await client.getPartition(name)).state === state);
}

function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof ApiError && error.code === expected;
}

describe('a partition', () => {
  test('lives: created, started, used, paused, stopped, removed; and nothing of it stays', async () => {
    await using api = await served();
    const { client } = api;
    const made = await client.createPartition({ name: 'web', spec, restartPolicy: { name: 'on-failure', most: 3 } });
    assert.deepEqual([made.state, made.managed, made.spec, made.machine], ['created', true, spec, undefined]);
    assert.equal((await client.startPartition('web')).state, 'running');
    assert.equal((await client.startPartition('web')).state, 'running', 'again: nothing is to be done');
    const said = await client.exec('web', { argv: ['cat'], stdin: Buffer.from('hello').toString('base64') });
    assert.deepEqual([said.code, Buffer.from(said.stdout, 'base64').toString()], [0, 'hello']);
    assert.equal((await client.pausePartition('web')).state, 'paused');
    assert.equal((await client.resumePartition('web')).state, 'running');
    await assert.rejects(client.removePartition('web'), code('partition-running'));
    const stopped = await client.stopPartition('web', { graceMs: 1000 });
    assert.deepEqual([stopped.state, stopped.exit?.reason, stopped.exit?.code], ['exited', 'poweroff', 0]);
    assert.equal((await client.waitPartition('web')).code, 0);
    await assert.rejects(client.exec('web', { argv: ['echo'] }), code('not-running'));
    await client.removePartition('web');
    await assert.rejects(client.getPartition('web'), code('no-such-partition'));
    assert.deepEqual(readdirSync(join(folders.state, 'partitions')), []);
  });

  test('is found running that nobody declared, and can be stopped', async () => {
    await using api = await served();
    const { client } = api;
    await client.createPartition({ name: 'host', spec: { ...spec, room: {} }, start: true });
    const [twin] = [await client.forkPartition('host', { name: 'host' }).catch((error: unknown) => error)];
    assert.ok(twin);
    const { partitions } = await client.listPartitions();
    assert.deepEqual(
      partitions.map(({ name, managed }) => [name, managed]),
      [['host', true]],
    );
  });

  test('that does not start is not there, and says why', async () => {
    await using api = await served();
    const { client } = api;
    const request = { name: 'bad', spec: { kernel: '/no/kernel' } };
    await assert.rejects(client.createPartition({ ...request, start: true }), code('kernel-not-found'));
    await assert.rejects(client.getPartition('bad'), code('no-such-partition'));
    await client.createPartition(request);
    await assert.rejects(client.startPartition('bad'), code('kernel-not-found'));
    assert.equal((await client.getPartition('bad')).state, 'created');
  });

  test('of --rm goes at its end', async () => {
    await using api = await served();
    const { client } = api;
    await client.createPartition({ name: 'once', spec, removeAtEnd: true, start: true });
    await client.stopPartition('once');
    await assert.rejects(client.getPartition('once'), code('no-such-partition'));
    assert.ok(!existsSync(join(folders.state, 'partitions/once')));
  });

  test('is declared: made, left alone, changed', async () => {
    await using api = await served();
    const { client } = api;
    const first = await client.declarePartition('web', { spec });
    assert.deepEqual([first.change, first.partition.state], ['created', 'running']);
    const pid = await pidOf(client, 'web');
    assert.equal((await client.declarePartition('web', { spec })).change, 'unchanged');
    const policy = await client.declarePartition('web', { spec, restartPolicy: { name: 'always' } });
    assert.deepEqual([policy.change, await pidOf(client, 'web')], ['changed', pid], 'it goes on');
    const other = await client.declarePartition('web', { spec: { ...spec, cpus: 2 } });
    assert.deepEqual([other.change, other.partition.machine?.cpus], ['changed', 2]);
    assert.notEqual(await pidOf(client, 'web'), pid);
  });

  test('what makes no sense is refused, place by place', async () => {
    await using api = await served();
    const { client } = api;
    for (const [request, expected] of [
      [{ spec: {} }, 'bad-spec'],
      [{ name: 'daemon', spec }, 'bad-name'],
      [{ spec: { ...spec, restoreFrom: '/x' } }, 'bad-spec'],
      [{ spec, restartPolicy: { name: 'always', most: 3 } }, 'bad-spec'],
      [{ spec, removeAtEnd: true, restartPolicy: { name: 'always' } }, 'bad-spec'],
      [{ name: 'a b', spec }, 'bad-request'],
      [{ spec: { kernel: 'relative' } }, 'bad-request'],
      [{ spec: { ...spec, memroyBytes: 1 } }, 'bad-request'],
    ] as const) {
      await assert.rejects(client.createPartition(request as never), code(expected), JSON.stringify(request));
    }
  });
});

describe('a machine that ends', () => {
  test('by SIGKILL, is started again as its policy has it; stopped by hand, it is not', async () => {
    await using api = await served();
    const { client } = api;
    await client.createPartition({ name: 'web', spec, restartPolicy: { name: 'always' }, start: true });
    const pid = await pidOf(client, 'web');
    process.kill(pid, 'SIGKILL');
    await until(async () => ((await client.getPartition('web')).machine?.pid ?? pid) !== pid);
    const { restarts, state } = await client.getPartition('web');
    assert.deepEqual([restarts, state], [1, 'running']);
    const kinds = (await client.eventHistory({ partition: 'web' })).events.map(({ kind }) => kind);
    assert.deepEqual(kinds.slice(-4), ['ended', 'restart-scheduled', 'starting', 'started']);
    assert.equal((await client.killPartition('web')).state, 'exited');
    assert.equal((await client.getPartition('web')).restartAt, undefined);
  });

  test('again and again, is given up where its policy counts, with pauses that grow', async () => {
    await using api = await served();
    const { client } = api;
    await client.createPartition({
      ...{ name: 'dies', spec: { ...spec, append: 'ends=3' } },
      restartPolicy: { name: 'on-failure', most: 2 },
    });
    await client.startPartition('dies');
    await until(async () => (await client.eventHistory({ partition: 'dies' })).events.at(-1)?.kind === 'given-up');
    const { restarts, exit, state } = await client.getPartition('dies');
    assert.deepEqual([restarts, exit?.code, exit?.reason, state], [2, 3, 'failure', 'exited']);
    const { events } = await client.eventHistory({ partition: 'dies' });
    const scheduled = events.filter(({ kind }) => kind === 'restart-scheduled');
    assert.deepEqual(
      scheduled.map(({ detail }) => detail?.['delayMs']),
      [100, 200],
    );
  });

  test('well, stays ended with on-failure', async () => {
    await using api = await served();
    const { client } = api;
    await client.createPartition({ name: 'web', spec, restartPolicy: { name: 'on-failure' }, start: true });
    await using machine = await connectMachine('web');
    await machine.writeConsole(Buffer.from('poweroff\n'));
    await stateIs(client, 'web', 'exited');
    assert.equal((await client.getPartition('web')).exit?.reason, 'poweroff');
  });
});

describe('the daemon', () => {
  test('ends and comes back: machines went on, and are adopted; what ended meanwhile is started as policies have it', async () => {
    const first = await served();
    const { client } = first;
    for (const [name, policy] of [
      ['goes-on', 'no'],
      ['ended', 'no'],
      ['again', 'always'],
      ['failed', 'on-failure'],
      ['stopped', 'unless-stopped'],
    ] as const)
      await client.createPartition({ name, spec, restartPolicy: { name: policy }, start: true });
    const pid = await pidOf(client, 'goes-on');
    await client.stopPartition('stopped');
    await first.daemon.stop();

    for (const [name, keys] of [
      ['ended', 'poweroff'],
      ['again', 'poweroff'],
      ['failed', 'fail 4'],
    ] as const) {
      await using machine = await connectMachine(name);
      await machine.writeConsole(Buffer.from(keys));
    }
    await using second = await served();
    await until(async () => (await second.client.getPartition('failed')).state === 'running');
    await until(async () => (await second.client.getPartition('again')).state === 'running');
    const { partitions } = await second.client.listPartitions();
    assert.deepEqual(
      partitions.map(({ name, state, exit }) => [name, state, exit?.code]),
      [
        ['again', 'running', undefined],
        ['ended', 'exited', 0],
        ['failed', 'running', undefined],
        ['goes-on', 'running', undefined],
        ['stopped', 'exited', 0],
      ],
    );
    assert.equal(await pidOf(second.client, 'goes-on'), pid);
    const adopted = (await second.client.eventHistory({ partition: 'goes-on' })).events.at(-1);
    assert.equal(adopted?.kind, 'adopted');
    // Adopted, it is watched like any other.
    await second.client.updatePartition('goes-on', { restartPolicy: { name: 'always' } });
    process.kill(pid, 'SIGKILL');
    await until(async () => ((await second.client.getPartition('goes-on')).machine?.pid ?? pid) !== pid);
  });

  test('adopts a machine of which its socket alone tells: who started it died before that was written', async () => {
    const first = await served();
    await first.client.createPartition({ name: 'web', spec, restartPolicy: { name: 'always' }, start: true });
    const pid = await pidOf(first.client, 'web');
    await first.daemon.stop();
    {
      using store = new Store(stateFolder());
      store.update('web', { pid: undefined, startedAt: undefined });
    }
    await using second = await served();
    process.kill(pid, 'SIGKILL');
    await until(async () => ((await second.client.getPartition('web')).machine?.pid ?? pid) !== pid);
  });

  test('is one for a user, and leaves no socket', async () => {
    {
      await using _ = await served();
      await assert.rejects(Daemon.start(fakeOptions()), { code: 'daemon-running' });
    }
    assert.ok(!existsSync(join(folders.runtime, 'daemon.sock')));
  });

  test('takes its guests along where it is told to, and starts them again', async () => {
    const first = await served();
    await first.client.createPartition({ name: 'web', spec, restartPolicy: { name: 'unless-stopped' }, start: true });
    await first.daemon.stop({ guests: 'stop', graceMs: 1000 });
    await assert.rejects(connectMachine('web'), { code: 'no-such-machine' });
    await using second = await served();
    await stateIs(second.client, 'web', 'running');
  });
});

describe('logs', () => {
  test('are there while it runs, when it has ended, and over restarts; and are followed to the end', async () => {
    await using api = await served();
    const { client } = api;
    await client.createPartition({ name: 'web', spec, start: true });
    const followed = textOf(client.partitionLogs('web', { follow: true }));
    await using machine = await connectMachine('web');
    await machine.writeConsole(Buffer.from('one\ntwo\n'));
    await until(async () => (await textOf(client.partitionLogs('web'))) === 'one\ntwo\n');
    await client.restartPartition('web');
    await using again = await connectMachine('web');
    await again.writeConsole(Buffer.from('three\n'));
    await until(async () => (await textOf(client.partitionLogs('web', { tail: 2 }))) === 'two\nthree\n');
    await client.stopPartition('web');
    assert.equal(await textOf(client.partitionLogs('web')), 'one\ntwo\nthree\n');
    assert.match(await followed, /^one\ntwo\n/);
  });
});

describe('events', () => {
  test('are followed, and replayed behind a number', async () => {
    await using api = await served();
    const { client } = api;
    const leaving = new AbortController();
    const seen: string[] = [];
    const following = (async () => {
      for await (const { kind } of client.events({ partition: 'web' }, { signal: leaving.signal })) seen.push(kind);
    })();
    following.catch(() => {});
    await until(async () => {
      await client.createPartition({ name: 'web', spec }).catch(() => {});
      await client.removePartition('web');
      return seen.includes('removed');
    });
    leaving.abort();
    await assert.rejects(following);
    const { events } = await client.eventHistory({ partition: 'web', most: 2 });
    const since = events[0]?.id ?? 0;
    const replayed = client.events({ since, partition: 'web' })[Symbol.asyncIterator]();
    assert.equal((await replayed.next()).value?.id, events[1]?.id);
    await replayed.return?.();
  });
});

async function textOf(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of bytes) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

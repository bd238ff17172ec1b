/** Hot standbys between two hosts, over machines that are fakes: connected, held on record, lost at each moment, promoted. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectMachine, type ReplicationReport } from '../../host/index.ts';
import { Supervisor } from '../partitions/index.ts';
import type { PartitionSpec } from '../schemas/spec.ts';
import { answerOf, Hosts, type TestHost, until } from './cluster-host.testing.ts';

const spec: PartitionSpec = { kernel: '/k', failover: {}, drives: [{ file: 'nbd://10.0.0.9/web' }] };
const HOT = { method: 'hot', everyMs: 50 } as const;

async function replication(host: TestHost): Promise<ReplicationReport> {
  await using machine = await connectMachine('web', host.sockets);
  return await machine.replication();
}

async function stateIs(host: TestHost, state: string): Promise<void> {
  await until(async () => (await replication(host).catch(() => undefined))?.state === state);
}

function hold(host: TestHost, forHost: string | undefined): Promise<boolean> {
  return answerOf((done) => host.machines.holdOutput('web', forHost, done));
}

/** `web` runs on a, and b stands by and has all of it. */
async function pair() {
  const hosts = new Hosts();
  hosts.specs.set('web', spec);
  const [a, b] = [await hosts.host('a'), await hosts.host('b')];
  assert.equal(await a.start('web', 1), true);
  b.machines.keepStandby('web', { method: 'hot', activeHost: 'a' });
  a.machines.replicate('web', 'b', HOT);
  await until(() => a.told.includes('synced web 1 b'));
  return { hosts, a, b, [Symbol.asyncDispose]: () => hosts[Symbol.asyncDispose]() };
}

describe('a hot standby', () => {
  test('has everything, is ready, and goes on with the guest under the next generation, with its disks', async () => {
    await using world = await pair();
    const { a, b } = world;
    await until(() => b.machines.readyStandbys().includes('web'));
    assert.deepEqual(b.machines.standbys(), [{ guest: 'web', method: 'hot', activeHost: 'a' }]);
    assert.equal(await hold(a, 'b'), true);
    process.kill(await a.pid('web'), 'SIGKILL');
    await until(() => a.told.includes('ended web 1'));
    const pid = await b.pid('web');
    assert.equal(await b.start('web', 2, 'hot'), true);
    assert.equal(await b.pid('web'), pid, 'it is the same process');
    assert.deepEqual(
      [b.machines.list(), b.machines.standbys()],
      [[{ guest: 'web', generation: 2, incarnation: 1 }], []],
    );
    const { made, calls } = await b.asked('web');
    assert.deepEqual([made.lease?.generation, calls[0]], [2, 'promoted [{"drive":0,"file":"nbd://10.0.0.9/web@2"}]']);
    await until(() => b.beats.some(({ generation }) => generation === 2));
    assert.equal((await b.partitions.inspect('web')).state, 'running');
  });

  test('that is lost before it is on record is given up at once, and another is made in its place', async () => {
    await using world = await pair();
    const { a, b } = world;
    const pid = await b.pid('web');
    process.kill(pid, 'SIGKILL');
    await until(() => a.told.includes('lost web 1 b'));
    await until(() => a.told.filter((one) => one === 'synced web 1 b').length === 2);
    assert.notEqual(await b.pid('web'), pid);
    assert.ok((await a.asked('web')).calls.includes('unreplicate'));
    assert.equal(await hold(a, 'b'), true);
  });

  test('that is lost while it is on record is told, and the guest stands still until the director lets go', async () => {
    await using world = await pair();
    const { a, b } = world;
    assert.equal(await hold(a, 'b'), true);
    process.kill(await b.pid('web'), 'SIGKILL');
    await until(() => a.told.includes('lost web 1 b'));
    await sleep(1500);
    assert.equal((await replication(a)).state, 'waiting');
    assert.equal(await hold(a, 'b'), false, 'it has not everything any more');
    assert.equal(await hold(a, undefined), true);
    assert.notEqual((await replication(a)).state, 'waiting');
    await until(() => a.told.at(-1) === 'synced web 1 b');
  });

  test('that says nothing, or is lost: the silence of the guest, which waits for it, is not a failure of the guest', async () => {
    await using world = await pair();
    const { a, b } = world;
    await until(() => a.beats.length > 0);
    assert.equal(await hold(a, 'b'), true);
    const beatsOn = async (): Promise<void> => {
      const { length } = a.beats;
      await until(() => a.beats.length > length + 1);
    };
    await a.type('web', 'still stuck');
    await beatsOn();
    process.kill(await b.pid('web'), 'SIGKILL');
    await until(() => a.told.includes('lost web 1 b'));
    await beatsOn();
    // It waits for nobody any more: now it is silent by itself.
    b.machines.keepStandby('web', undefined);
    a.machines.replicate('web', 'b', undefined);
    assert.equal(await hold(a, undefined), true);
    await sleep(600);
    const { length } = a.beats;
    await sleep(1200);
    assert.equal(a.beats.length, length);
  });

  test('that is no duty any more goes, once it is on record no more', async () => {
    await using world = await pair();
    const { a } = world;
    assert.equal(await hold(a, 'b'), true);
    a.machines.replicate('web', 'b', undefined);
    await until(() => a.told.includes('lost web 1 b'));
    assert.equal((await replication(a)).state, 'protected', 'output waits for it yet');
    assert.equal(await hold(a, undefined), true);
    assert.equal((await replication(a)).state, 'unprotected');
    await sleep(1200);
    assert.equal((await replication(a)).state, 'unprotected', 'nobody connects again');
  });

  test('is found again, with its connection, by daemons that come back', async () => {
    await using world = await pair();
    const { a, b } = world;
    assert.equal(await hold(a, 'b'), true);
    const [active, standby] = [await a.pid('web'), await b.pid('web')];
    await a.close();
    await b.close();
    a.told.length = 0;
    await b.open();
    assert.deepEqual(b.machines.standbys(), [{ guest: 'web', method: 'hot', activeHost: 'a' }]);
    assert.deepEqual(b.machines.readyStandbys(), ['web']);
    await a.open();
    a.machines.replicate('web', 'b', HOT);
    await until(() => a.told.includes('synced web 1 b'));
    assert.deepEqual([await a.pid('web'), await b.pid('web')], [active, standby]);
    assert.equal((await a.asked('web')).calls.filter((one) => one.startsWith('replicate')).length, 1);
    process.kill(standby, 'SIGKILL');
    await until(() => a.told.includes('lost web 1 b'));
    assert.equal((await replication(a)).state, 'waiting', 'it is on record as far as is known');
    assert.equal(await hold(a, undefined), true);
  });

  test("is found by its daemon's supervisor once, who hears of the end of what becomes of it", async () => {
    await using world = await pair();
    const { b } = world;
    let looks = 0;
    const { withLock } = b.partitions;
    b.partitions.withLock = (name, body) => {
      looks += 1;
      return withLock.call(b.partitions, name, body) as ReturnType<typeof body>;
    };
    await using _ = await Supervisor.begin(b.partitions);
    await sleep(1200);
    assert.ok(looks < 4, `${looks} looks: it is taken for one that has ended, over and over`);
    const kinds = () => b.partitions.store.events({ partition: 'web' }).map(({ kind }) => kind);
    assert.deepEqual(kinds(), ['adopted']);
    assert.equal(await b.start('web', 2, 'hot'), true);
    await b.type('web', 'poweroff');
    await until(() => b.told.includes('ended web 2') && kinds().includes('ended'));
    assert.equal((await b.partitions.inspect('web')).exit?.reason, 'poweroff');
    assert.equal(await b.stop('web', 2), true);
    await assert.rejects(b.partitions.inspect('web'), { code: 'no-such-partition' });
  });

  test('is not made anew by a question that was on its way for long, or is of another host', async () => {
    await using world = await pair();
    const { a, b } = world;
    const pid = await b.pid('web');
    const ask = b.answers.get('standby');
    assert.ok(ask);
    const question = (from: string, generation: number, atMs: number) =>
      ask({ from, name: 'web', body: { generation, atMs }, files: undefined });
    await assert.rejects(question('a', 1, 1), { code: 'no-standby' });
    await assert.rejects(question('a', 0, 1e12), { code: 'no-standby' });
    await assert.rejects(question('c', 9, 1e12), { code: 'no-standby' });
    assert.equal(await b.pid('web'), pid);
    assert.equal((await replication(a)).state, 'protected');
  });

  test('that cannot be reached is asked again and again; a cold start takes its name', async () => {
    const hosts = new Hosts();
    await using _ = hosts;
    hosts.specs.set('web', spec);
    const [a, b] = [await hosts.host('a'), await hosts.host('b')];
    hosts.cut.add('b');
    await a.start('web', 1);
    a.machines.replicate('web', 'b', HOT);
    b.machines.keepStandby('web', { method: 'hot', activeHost: 'a' });
    await until(() => a.told.filter((one) => one.startsWith('replication-failed web: b')).length === 1);
    hosts.cut.delete('b');
    await until(() => a.told.includes('synced web 1 b'));
    assert.equal(await b.start('web', 2), true);
    assert.deepEqual([b.machines.list().length, b.machines.standbys()], [1, []]);
    await stateIs(a, 'unprotected');
    b.machines.keepStandby('web', { method: 'hot', activeHost: 'a' });
    await sleep(300);
    assert.deepEqual(
      [b.machines.list().length, b.machines.standbys()],
      [1, []],
      'where the guest runs, nothing stands by',
    );
  });

  test('of a guest that starts again in its place is off the record before the guest runs', async () => {
    await using world = await pair();
    const { a } = world;
    assert.equal(await hold(a, 'b'), true);
    const pid = await a.pid('web');
    a.machines.restartGuest('web', 1);
    await until(() => a.told.includes('lost web 1 b'));
    await sleep(500);
    await assert.rejects(a.pid('web'), { code: 'no-such-machine' });
    assert.equal(await hold(a, undefined), true);
    await until(async () => (await a.pid('web').catch(() => pid)) !== pid);
    await until(() => a.told.at(-1) === 'synced web 1 b');
  });
});

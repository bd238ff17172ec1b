/** The cluster's hands over machines that are fakes, in processes of their own: starts, ends, adoption, grants, beats. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PartitionSpec } from '../schemas/spec.ts';
import { answerOf, Hosts, until } from './cluster-host.testing.ts';
import { isThere, processId } from './process-id.ts';

const spec: PartitionSpec = { kernel: '/k', failover: {} };

function isAlive(pid: number): boolean {
  const id = processId(pid);
  return id !== undefined && isThere(id);
}

async function oneHost(guests: Record<string, PartitionSpec> = { web: spec }) {
  const hosts = new Hosts();
  for (const [name, one] of Object.entries(guests)) hosts.specs.set(name, one);
  return { hosts, host: await hosts.host('a'), [Symbol.asyncDispose]: () => hosts[Symbol.asyncDispose]() };
}

describe('a guest', () => {
  test('is started under its lease, beats, is granted time, and is gone when its stop is answered', async () => {
    await using world = await oneHost({
      web: { ...spec, drives: [{ file: '/disk', overlay: true }, { file: 'nbd://10.0.0.9/web?x=1' }] },
    });
    const { host } = world;
    assert.equal(await host.start('web', 8), true);
    assert.deepEqual(host.machines.list(), [{ guest: 'web', generation: 8, incarnation: 1 }]);
    const { made } = await host.asked('web');
    assert.deepEqual([made.lease?.generation, made.lease?.incarnation, made.cap, made.heartbeatMs], [8, 1, 1, 1000]);
    assert.deepEqual(
      made.drives?.map(({ file }) => file),
      ['/disk', 'nbd://10.0.0.9/web@8?x=1'],
    );
    assert.equal((await host.partitions.inspect('web')).state, 'running');
    await until(() => host.beats.length > 1);
    assert.deepEqual(host.beats[0], { guest: 'web', generation: 8, isApplicationWell: true, role: 'active' });
    assert.ok((host.machines.costs.measured('web').bootMs ?? 0) > 0);
    host.machines.grant(1, 9e12);
    host.machines.grant(2, 9.5e12);
    host.machines.share('web', 0.5);
    await until(async () => (await host.asked('web')).calls.includes('lease 1 9000000000000'));
    await until(async () => (await host.asked('web')).calls.includes('cap 0.5'));
    const pid = await host.pid('web');
    assert.equal(await host.stop('web', 7), true, 'of another generation: nothing is to be done');
    assert.ok(isAlive(pid));
    assert.equal(await host.stop('web', 8), true);
    assert.deepEqual([isAlive(pid), host.machines.list()], [false, []]);
    await assert.rejects(host.partitions.inspect('web'), { code: 'no-such-partition' });
    assert.ok(!host.told.some((one) => one.startsWith('ended web 8')), 'it was told to end');
  });

  test('whose application is ill, whose heart stands still, whose process is killed: each is told as it is', async () => {
    await using world = await oneHost();
    const { host } = world;
    await host.start('web', 1);
    await until(() => host.beats.length > 0);
    await host.type('web', 'ill');
    await until(() => host.beats.at(-1)?.isApplicationWell === false);
    assert.equal(host.machines.costs.measured('web').applicationRestartMs, undefined);
    await host.type('web', 'well still');
    await sleep(1200);
    const before = host.beats.length;
    await sleep(1200);
    assert.equal(host.beats.length, before);
    process.kill(await host.pid('web'), 'SIGKILL');
    await until(() => host.told.includes('ended web 1'));
    assert.deepEqual(host.machines.list(), []);
    assert.equal(await host.start('web', 2), true, 'under another generation it runs again');
  });

  test('starts again in its place, under its generation, and is not said to have ended', async () => {
    await using world = await oneHost();
    const { host } = world;
    await host.start('web', 3);
    const pid = await host.pid('web');
    host.machines.restartGuest('web', 2);
    host.machines.restartGuest('web', 3);
    await until(async () => !isAlive(pid) && (await host.pid('web').catch(() => pid)) !== pid);
    await until(() => host.machines.list().length === 1);
    assert.deepEqual(host.machines.list(), [{ guest: 'web', generation: 3, incarnation: 1 }]);
    assert.deepEqual((await host.asked('web')).made.lease?.generation, 3);
    assert.ok(!host.told.includes('ended web 3'));
  });

  test('hears orders by its agent', async () => {
    const failover = { restartCommand: ['echo', 'again'], takeOverCommand: ['echo', 'mine'] };
    await using world = await oneHost({ web: { ...spec, failover } });
    const { host } = world;
    await host.start('web', 3);
    host.machines.order('web', 'take-over', 3);
    host.machines.order('web', 'restart-application', 2);
    await until(async () => (await host.asked('web')).ran.length > 0);
    host.machines.order('web', 'restart-application', 3);
    await until(() => host.machines.costs.measured('web').applicationRestartMs !== undefined);
    assert.deepEqual((await host.asked('web')).ran[0], ['echo', 'mine']);
  });
});

describe('a start', () => {
  test('that is under way is broken off by its stop, and leaves nothing', async () => {
    await using world = await oneHost({ web: { ...spec, append: 'slow=30000' } });
    const { host, hosts } = world;
    const started = host.start('web', 4);
    await sleep(300);
    assert.equal(await host.stop('web', 4), true);
    assert.equal(await started, false);
    assert.deepEqual(host.machines.list(), []);
    hosts.specs.set('web', spec);
    assert.equal(await host.start('web', 5), true);
    assert.deepEqual(host.machines.list(), [{ guest: 'web', generation: 5, incarnation: 1 }]);
  });

  test('that fails, or of a guest that nobody knows, is answered with no', async () => {
    await using world = await oneHost({ bad: { ...spec, kernel: '/no/kernel' } });
    const { host } = world;
    assert.equal(await host.start('bad', 1), false);
    assert.equal(await host.start('unknown', 1), false);
    assert.ok(host.told.some((one) => one.startsWith('start-failed bad: There is no kernel')));
    assert.deepEqual(host.machines.list(), []);
  });

  test('takes the name from an earlier generation, and leaves a partition of the host alone alone', async () => {
    await using world = await oneHost();
    const { host } = world;
    await host.start('web', 1);
    const pid = await host.pid('web');
    assert.equal(await host.start('web', 2), true);
    assert.ok(!isAlive(pid));
    await host.stop('web', 2);
    await host.partitions.create({ name: 'web', spec: { kernel: '/k' }, start: true });
    assert.equal(await host.start('web', 3), false);
    assert.equal((await host.partitions.inspect('web')).state, 'running');
    await host.partitions.remove('web', { force: true });
  });
});

describe('a daemon that comes back', () => {
  test('has found its machines before anybody asks: those that answer, and one that is stopped', async () => {
    await using world = await oneHost({ web: spec, db: spec, gone: spec });
    const { host } = world;
    for (const [guest, generation] of [
      ['web', 3],
      ['db', 4],
      ['gone', 5],
    ] as const)
      await host.start(guest, generation);
    const [web, db, gone] = [await host.pid('web'), await host.pid('db'), await host.pid('gone')];
    await host.close();
    process.kill(gone, 'SIGKILL');
    process.kill(db, 'SIGSTOP');
    await until(() => !isAlive(gone));
    await host.open();
    const found = [...host.machines.list()].sort((a, b) => a.generation - b.generation);
    assert.deepEqual(found, [
      { guest: 'web', generation: 3, incarnation: 1 },
      { guest: 'db', generation: 4, incarnation: 1 },
    ]);
    host.beats.length = 0;
    await until(() => host.beats.some(({ guest }) => guest === 'web'));
    host.machines.grant(1, 9e12);
    await until(async () => (await host.asked('web')).calls.includes('lease 1 9000000000000'));
    assert.equal(await host.stop('db', 4), true, 'one that does not answer is ended all the same');
    assert.ok(!isAlive(db));
    assert.equal(await host.stop('web', 3), true);
    assert.ok(!isAlive(web));
  });
});

describe('a stop', () => {
  test('asks the guest of an operator who wants it down, and ends others at once', async () => {
    await using world = await oneHost({ web: spec });
    const { host, hosts } = world;
    host.machines.grant(1, hosts.clock.nowMs() + 60_000);
    await host.start('web', 1);
    hosts.wanted.set('web', 'stopped');
    await host.stop('web', 1);
    const [end] = host.partitions.store.events({ partition: 'web' }).filter(({ kind }) => kind === 'ended');
    assert.equal(end?.detail?.['reason'], 'poweroff');
  });
});

describe('a fence', () => {
  test('of a guest without disks of its own is answered; one that no gate answers is not', async () => {
    const drives = [{ file: 'nbd+unix:///web?socket=/nowhere' }];
    await using world = await oneHost({
      web: spec,
      disk: { ...spec, drives },
      told: { ...spec, drives, failover: { gate: 'unix:/nowhere/control.sock' } },
      shared: {
        ...spec,
        drives: [
          { file: 'nbd://10.0.0.9/base', overlay: true },
          { file: 'nbd://10.0.0.9/x', readOnly: true },
        ],
      },
    });
    const { host } = world;
    assert.equal(await host.fence('web', 2), true);
    assert.equal(await host.fence('shared', 2), true);
    assert.equal(await host.fence('disk', 2), false);
    assert.equal(await host.fence('told', 2), false);
    assert.equal(await answerOf((done) => host.machines.fence('unknown', 2, done)), false);
    assert.match(host.told.join('\n'), /fence-failed disk: it is not said which gate.*\n.*no gate answers at/s);
  });
});

/** Warm standbys and pairs between two hosts, over machines that are fakes. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PartitionSpec } from '../schemas/spec.ts';
import { Hosts, type TestHost, until } from './cluster-host.testing.ts';

const spec: PartitionSpec = { kernel: '/k', failover: {} };

function standbyFolder(host: TestHost): string {
  return join(host.state, 'cluster/standbys/web');
}

/** The newest checkpoint that a host has: its number; 0: none. */
function latest(host: TestHost): number {
  const path = join(standbyFolder(host), 'latest');
  return existsSync(path) ? Number(readFileSync(path, 'latin1').split(' ')[0]) : 0;
}

async function twoHosts(guest = spec) {
  const hosts = new Hosts();
  hosts.specs.set('web', guest);
  const [a, b] = [await hosts.host('a'), await hosts.host('b')];
  assert.equal(await a.start('web', 1), true);
  return { hosts, a, b, [Symbol.asyncDispose]: () => hosts[Symbol.asyncDispose]() };
}

describe('a warm standby', () => {
  test('gets checkpoints with what they need, keeps no more, and the guest goes on from the newest', async () => {
    await using world = await twoHosts();
    const { a, b } = world;
    b.machines.keepStandby('web', { method: 'warm', activeHost: 'a' });
    a.machines.replicate('web', 'b', { method: 'warm', everyMs: 900 });
    await until(() => latest(b) >= 2);
    assert.deepEqual(b.machines.readyStandbys(), ['web']);
    const { checkpointMs, checkpointBytes } = a.machines.costs.measured('web');
    assert.deepEqual([checkpointMs, checkpointBytes], [7, 400_000]);
    const [run = ''] = readlinkSync(join(standbyFolder(b), 'latest')).split('/');
    assert.deepEqual(readdirSync(standbyFolder(b)).sort(), [run, 'latest'].sort());
    assert.ok(readdirSync(join(standbyFolder(b), run)).length <= 3, 'the newest, its base, one that is coming');
    process.kill(await a.pid('web'), 'SIGKILL');
    await until(() => a.told.includes('ended web 1'));
    assert.deepEqual(readdirSync(join(a.state, 'cluster/checkpoints')), [], 'where it ran, nothing stays');
    assert.equal(await b.start('web', 2, 'warm'), true);
    const { made, calls } = await b.asked('web');
    assert.match(calls[0] ?? '', new RegExp(`^restored ${standbyFolder(b)}/${run}/web-00000\\d.kage$`));
    assert.deepEqual([made.lease?.generation, made.heartbeatMs], [2, 1000]);
    assert.ok((b.machines.costs.measured('web').restoreMs ?? 0) > 0);
    assert.deepEqual([b.machines.standbys(), existsSync(standbyFolder(b))], [[], false]);
  });

  test('has the last whole one when the connection breaks in the middle, and the next when it is back', async () => {
    await using world = await twoHosts();
    const { hosts, a, b } = world;
    b.machines.keepStandby('web', { method: 'warm', activeHost: 'a' });
    a.machines.replicate('web', 'b', { method: 'warm', everyMs: 600 });
    await until(() => latest(b) >= 1);
    const before = latest(b);
    // It is cut when a file has begun to come.
    const run = () => readdirSync(standbyFolder(b)).filter((name) => name !== 'latest' && !name.startsWith('.'));
    await until(() =>
      run().some((one) => readdirSync(join(standbyFolder(b), one)).some((name) => name.endsWith('.part'))),
    );
    hosts.cut.add('b');
    await until(() => a.told.some((one) => one.startsWith('checkpoint-not-sent web: b')));
    const kept = latest(b);
    assert.ok(kept >= before);
    await sleep(1500);
    assert.deepEqual([latest(b), b.machines.readyStandbys()], [kept, ['web']]);
    const parts = run().flatMap((one) => readdirSync(join(standbyFolder(b), one)));
    assert.ok(!parts.some((name) => name.endsWith('.part')));
    hosts.cut.delete('b');
    await until(() => latest(b) > kept);
  });

  test('is there for a daemon that comes back, takes nothing of older generations or other hosts, and goes whole', async () => {
    await using world = await twoHosts();
    const { a, b } = world;
    b.machines.keepStandby('web', { method: 'warm', activeHost: 'a' });
    a.machines.replicate('web', 'b', { method: 'warm', everyMs: 600 });
    await until(() => latest(b) >= 1);
    a.machines.replicate('web', 'b', undefined);
    await until(() => readdirSync(join(a.state, 'cluster/checkpoints/web')).length === 0);
    await b.close();
    await b.open();
    assert.deepEqual(b.machines.standbys(), [{ guest: 'web', method: 'warm', activeHost: 'a' }]);
    assert.deepEqual(b.machines.readyStandbys(), ['web']);
    const take = b.answers.get('checkpoint');
    assert.ok(take);
    const sent = (from: string, generation: number, more: object = {}) =>
      take({
        ...{
          from,
          name: 'web',
          body: { generation, run: `${generation}-1`, file: 'web-000009.kage', isLatest: true, ...more },
        },
        files: (async function* () {
          yield Buffer.from('9 ');
        })(),
      });
    await assert.rejects(sent('c', 9), { code: 'no-standby' });
    await assert.rejects(sent('a', 5, { base: 'web-000008.kage' }), { code: 'no-base' });
    await assert.rejects(sent('a', 5, { file: '../x.kage' }));
    await assert.rejects(sent('a', 5, { run: '..' }));
    await sent('a', 5);
    assert.equal(latest(b), 9);
    await assert.rejects(sent('a', 4), { code: 'no-standby' });
    b.machines.keepStandby('web', undefined);
    await until(() => !existsSync(standbyFolder(b)));
    assert.deepEqual(b.machines.standbys(), []);
    await assert.rejects(sent('a', 6), { code: 'no-standby' });
  });
});

describe('a pair', () => {
  test('is a second guest here under the lease of this host, which is told to take over', async () => {
    await using world = await twoHosts({ ...spec, failover: { takeOverCommand: ['echo', 'mine'] } });
    const { b } = world;
    b.machines.keepStandby('web', { method: 'pair', activeHost: 'a' });
    await sleep(500);
    await assert.rejects(b.pid('web'), { code: 'no-such-machine' }, 'this host has no lease yet');
    b.machines.grant(1, 9e12);
    await until(() => b.machines.readyStandbys().includes('web'));
    const pid = await b.pid('web');
    const { lease } = (await b.asked('web')).made;
    assert.deepEqual(lease, { incarnation: 1, generation: 0, deadlineMs: 9e12 });
    assert.deepEqual([b.machines.list(), b.beats], [[], []]);
    await b.close();
    await b.open();
    assert.deepEqual(b.machines.standbys(), [{ guest: 'web', method: 'pair', activeHost: 'a' }]);
    assert.equal(await b.start('web', 2, 'pair'), true);
    b.machines.order('web', 'take-over', 2);
    await until(async () => (await b.asked('web')).ran.length > 0);
    assert.equal(await b.pid('web'), pid);
    await until(() => b.beats.some(({ generation }) => generation === 2));
    await b.close();
    await b.open();
    assert.deepEqual(b.machines.list(), [{ guest: 'web', generation: 2, incarnation: 1 }], 'as was written down');
    b.machines.grant(1, 9.1e12);
    await until(async () => (await b.asked('web')).calls.includes('lease 1 9100000000000'));
  });

  test('keeps nothing on a disk of both, and ends when it is kept no more', async () => {
    await using world = await twoHosts();
    const { hosts, b } = world;
    b.machines.grant(1, 9e12);
    hosts.specs.set('web', { ...spec, drives: [{ file: 'nbd://10.0.0.9/web' }] });
    b.machines.keepStandby('web', { method: 'pair', activeHost: 'a' });
    await until(() => b.told.some((one) => one.startsWith('standby-failed web: web writes to a disk')));
    hosts.specs.set('web', spec);
    await until(() => b.machines.readyStandbys().includes('web'));
    b.machines.keepStandby('web', undefined);
    await until(async () => !(await b.partitions.machines.isLive('web')));
    assert.deepEqual(b.machines.standbys(), []);
  });
});

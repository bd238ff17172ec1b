/**
 * Guests that stay up, on real hosts: three daemons in namespaces, a store of three members of etcd, Debian guests on NBD disks behind
 * a gate, and a client on their segment that writes numbered records. One cluster, one hot guest and the client's one TCP connection
 * to it go through all of it. test/long/failover.ts does each of it again and again, and tells distributions.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from '../../src/base/assert.ts';
import { requires } from '../capability.ts';
import { type ClusterHost, ClusterWorld } from './cluster-hosts.testing.ts';
import { heartbeatsOf } from './cluster-traffic.testing.ts';
import type { RecordClient } from './records.testing.ts';

/** Behind these nothing comes any more that has not come. */
const LEASE_AND_MORE_MS = 5000;
const ANSWER_MS = 60_000;

describe('three hosts', { ...requires('root', 'macvtap', 'hosts', 'disks', 'etcd', 'apt'), timeout: 600_000 }, () => {
  let world: ClusterWorld;
  /** To the hot guest, over one connection. */
  let client: RecordClient;
  let webBoot: string;
  before(async () => {
    world = await ClusterWorld.start({ guests: ['web', 'db'] });
    await world.form();
    await world.create('web', 'hot');
    webBoot = await answers('web');
    client = await world.client.records(world.guest('web').address);
    await client.more(5);
    await world.synced('web');
  });
  after(async () => {
    client?.close();
    await world?.[Symbol.asyncDispose]();
  });

  /** It answers; which boot of it that is. */
  async function answers(guest: string): Promise<string> {
    const answer = await world.client.firstAnswer(world.guest(guest).address, ANSWER_MS);
    assert.ok(answer, `${guest} does not answer\n${world.story()}`);
    return answer.boot;
  }

  /** The hot guest is the one that it was: each record that was acknowledged is on its disk, none came twice, the connection lives. */
  async function assertUnhurt(): Promise<void> {
    await client.more(10);
    assert.deepEqual(new Set(client.acknowledged), new Set([1]), 'none came twice');
    const kept = world.storage.records('web', 1, client.acknowledged.length);
    assert.deepEqual(new Set(kept), new Set([1]), 'each is on the disk');
    assert.equal(await answers('web'), webBoot, 'it did not boot');
  }

  /** When that was told of a guest, or of a host, by those who are there (Date.now()). */
  function toldAt(event: string, of: string, sinceMs: number): number {
    return must(world.toldAt(event, of, sinceMs), `${event} of ${of} was not told:\n${world.story(sinceMs)}`);
  }

  async function back(host: ClusterHost): Promise<void> {
    await host.boot();
    await world.synced('web');
  }

  test('heartbeats between hosts are the same with one guest and with two', async () => {
    const one = await heartbeatsOf(world.hosts, 3000);
    await world.create('db', 'cold');
    await answers('db');
    // What they are is asked for once; behind that there is the digest alone.
    await sleep(2000);
    const two = await heartbeatsOf(world.hosts, 3000);
    assert.equal(two.bytesEach, one.bytesEach);
    assert.ok(one.perSecond > 0 && Math.abs(two.perSecond / one.perSecond - 1) < 0.2, JSON.stringify({ one, two }));
    assert.equal(two.toStandbys, 0);
  });

  test('hosts that are cut from each other, and not from the store: nothing moves', async () => {
    const owners = await world.owners();
    const sinceMs = Date.now();
    const [a, b, c] = world.hosts as [ClusterHost, ClusterHost, ClusterHost];
    world.cut(a, [b, c]);
    world.cut(b, [c]);
    await sleep(LEASE_AND_MORE_MS);
    assert.ok(world.toldOf('suspected', sinceMs).length > 0);
    world.heal(a, [b, c]);
    world.heal(b, [c]);
    await client.more(5);
    await world.synced('web');
    const now = await world.owners();
    for (const [guest, { host, generation }] of owners)
      assert.deepEqual([now.get(guest)?.host, now.get(guest)?.generation], [host, generation], world.story(sinceMs));
    await assertUnhurt();
  });

  test('the daemon is killed: its guests go on, and the next one finds them', async () => {
    const { generation, host: name } = must(await world.owner('web'));
    const host = world.host(name);
    const sinceMs = Date.now();
    await host.killDaemon();
    await client.more(1);
    await host.startDaemon();
    await world.until(() => world.toldAt('adopted', name, sinceMs) !== undefined, `${name} goes on with its lease`);
    await world.synced('web');
    await assertUnhurt();
    assert.equal((await world.owner('web'))?.generation, generation, world.story(sinceMs));
  });

  test('the host of a hot guest is killed: it goes on elsewhere, and not before the lease has expired', async () => {
    const { generation, host: name } = must(await world.owner('web'));
    const host = world.host(name);
    const endsMs = await host.leaseEndsMs();
    const killedMs = host.kill();
    await world.ownedAs('web', (owner) => owner.generation > generation);
    await assertUnhurt();
    assert.ok(toldAt('suspected', name, killedMs) - killedMs > 500, 'a silence of moments suspects nobody');
    assert.ok(toldAt('claimed', 'web', killedMs) >= endsMs, world.story(killedMs));
    await back(host);
  });

  test('the host of a cold guest is killed: it boots elsewhere, with all that it had written', async () => {
    const { address } = world.guest('db');
    const boot = await answers('db');
    const writer = await world.client.records(address);
    await writer.more(20);
    const { generation, host: name } = must(await world.owner('db'));
    const host = world.host(name);
    const endsMs = await host.leaseEndsMs();
    const killedMs = host.kill();
    await world.ownedAs('db', (owner) => owner.generation > generation);
    assert.notEqual(await answers('db'), boot);
    assert.ok(toldAt('claimed', 'db', killedMs) >= endsMs, world.story(killedMs));
    const { length } = writer.acknowledged;
    assert.ok(world.storage.records('db', 1, length).every((times) => times > 0));
    assert.match(await world.client.read(address, length), new RegExp(`^record ${length} 1$`));
    writer.close();
    await assertUnhurt();
    await back(host);
  });

  test('a host is frozen, and thawed after the takeover: its late writes and frames go nowhere', async () => {
    const { address } = world.guest('db');
    const writer = await world.client.records(address, 1000);
    await writer.more(20);
    const { generation, host: name } = must(await world.owner('db'));
    const host = world.host(name);
    const { refused } = await world.storage.report();
    const frozenMs = host.stop();
    const { length } = writer.acknowledged;
    const [frames, webFrames] = [world.segment.framesFrom(name, 'db'), world.segment.framesFrom(name, 'web')];
    await world.ownedAs('db', (owner) => owner.generation > generation);
    await answers('db');
    await assertUnhurt();
    host.cont();
    await world.until(async () => (await world.storage.report()).refused > refused, 'the gate refused what was late');
    await world.until(() => world.isIn(host), 'it is in again');
    assert.equal(world.segment.framesFrom(name, 'db'), frames, world.story(frozenMs));
    assert.equal(world.segment.framesFrom(name, 'web'), webFrames, world.story(frozenMs));
    assert.ok(world.storage.records('db', 1000, length).every((times) => times > 0));
    writer.close();
    await world.synced('web');
    await assertUnhurt();
  });

  test('a host is cut from the store: its machines pause by themselves, and then its guests are taken over', async () => {
    const { generation, host: name } = must(await world.owner('web'));
    const host = world.host(name);
    const cutMs = Date.now();
    world.cut(host, 'store');
    const frames = world.watchFrames(name, 'web');
    await world.ownedAs('web', (owner) => owner.generation > generation);
    await assertUnhurt();
    const lastMs = frames.end();
    assert.ok(
      lastMs < toldAt('claimed', 'web', cutMs),
      `frames until ${new Date(lastMs).toISOString()}\n${world.story(cutMs)}`,
    );
    world.heal(host, 'store');
    await world.until(() => world.isIn(host), 'it is in again');
    await world.synced('web');
    await assertUnhurt();
  });

  test('the store has no quorum: guests stand still, nobody takes any, and they go on when it has', async () => {
    const owners = await world.owners();
    const sinceMs = Date.now();
    await Promise.all([world.store.kill(0), world.store.kill(1)]);
    await sleep(LEASE_AND_MORE_MS);
    const { length } = client.acknowledged;
    await sleep(500);
    assert.equal(client.acknowledged.length, length, 'it stands still');
    world.store.begin(0);
    world.store.begin(1);
    await assertUnhurt();
    const now = await world.owners();
    for (const [guest, { host, generation }] of owners)
      assert.deepEqual([now.get(guest)?.host, now.get(guest)?.generation], [host, generation], world.story(sinceMs));
  });
});

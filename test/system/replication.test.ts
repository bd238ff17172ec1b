/**
 * Hot standby, whole: the process that runs a guest is killed again and again, in the middle of its work, and the next one
 * goes on. Whatever a client was told is there, once; its TCP connection knows nothing of it. Then the guest moves, alive.
 * (test/long/replication.ts does it for as long as one likes, and tells distributions.)
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requires } from '../capability.ts';
import { RecordWorld } from './replication.testing.ts';

test('a host dies, twice: every acknowledged record is on the disk, none twice, over one connection; then it moves', {
  ...requires('apt'),
  timeout: 600_000,
}, async () => {
  await using world = await RecordWorld.start();
  const client = await world.client();
  await client.more(20);
  const boot = await world.exec('cat /proc/sys/kernel/random/boot_id; cat /sys/class/net/eth0/address');
  for (let kill = 0; kill < 2; kill++) {
    const standby = await world.protect('--epoch', '25');
    await client.more(40);
    const { epoch } = await world.failover(standby);
    assert.ok(epoch > 1);
    await client.more(20);
  }
  // The same guest, as far as it knows.
  assert.equal(await world.exec('cat /proc/sys/kernel/random/boot_id; cat /sys/class/net/eth0/address'), boot);
  assert.equal(await world.exec('dmesg | grep -c "virtual machine fork"; true'), '0');

  const before = world.active;
  const target = 'moved';
  const address = `unix:${world.folder}/moved.stream`;
  await world.kage('receive', address, '-n', target, '-d');
  const told = await world.kage('migrate', before, address);
  assert.match(told, /runs at unix:.*stood still for \d/);
  world.active = target;
  await client.more(20);
  await client.end();
  assert.deepEqual(new Set(client.acknowledged), new Set([1]), 'none came twice');
  assert.deepEqual(new Set(world.records(client.acknowledged.length)), new Set([1]), 'each is on the disk');
  await world.kage('kill', target);
});

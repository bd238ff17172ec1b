/**
 * A client writes numbered records through a guest's network and disk, while the process that runs the guest is killed again
 * and again: every acknowledged record must be on the disk, none twice, over one TCP connection. Tells how long the client
 * heard nothing (which holds what the command `kage promote` takes to start), and how long standing in took.
 *
 *   node test/long/replication.ts [--kills 50] [--epoch 50] [--cpus 1]        ten seconds a kill
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { RecordWorld } from '../system/replication.testing.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '50' },
    epoch: { type: 'string', default: '50' },
    cpus: { type: 'string', default: '1' },
  },
});
const kills = Number(values.kills);
await using world = await RecordWorld.start({ cpus: Number(values.cpus) });
const client = await world.client();
await client.more(10);
const silences: number[] = [];
const promotions: number[] = [];
for (let kill = 1; kill <= kills; kill++) {
  const standby = await world.protect('--epoch', values.epoch);
  await client.more(20 + Math.floor(Math.random() * 100));
  // Anywhere within an epoch.
  await sleep(Math.random() * Number(values.epoch) * 2);
  client.longestMs = 0;
  const { tookMs } = await world.failover(standby);
  await client.more(20);
  silences.push(client.longestMs);
  promotions.push(tookMs);
  assert.deepEqual(new Set(client.acknowledged), new Set([1]), 'none came twice');
  assert.deepEqual(new Set(world.records(client.acknowledged.length)), new Set([1]), 'each is on the disk');
  process.stdout.write(
    `kill ${kill}: ${client.acknowledged.length} records, silent for ${Math.round(client.longestMs)} ms\n`,
  );
}
await client.end();
assert.deepEqual(new Set(world.records(client.acknowledged.length)), new Set([1]));
await world.kage('kill', world.active);
const told = (name: string, list: readonly number[]): string => {
  const sorted = [...list].sort((a, b) => a - b);
  const at = (share: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
  return `${name}, ms: median ${at(0.5)}, 99 % ${at(0.99)}, most ${at(1)}\n`;
};
process.stdout.write(`${kills} kills, ${client.acknowledged.length} records, all there, none twice, one connection\n`);
process.stdout.write(told('the client heard nothing for', silences) + told('standing in took', promotions));

/** Drills: a guest is failed over in a double of it; machines are fakes, in processes of their own. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownFolders, until } from '../daemon.testing.ts';
import { DaemonHost } from './cluster.testing.ts';

after(async () => {
  await a.client.removePartition('web', { force: true });
  await a.client.leaveCluster();
  await b.client.leaveCluster();
  await a.end();
  await b.end();
});

const folders = ownFolders();
const entry = new URL('./fake-guest-process.testing.ts', import.meta.url);
const program = { entry, flags: [], environment: {} };
const [a, b] = [new DaemonHost(folders.root, 'a', { program }), new DaemonHost(folders.root, 'b', { program })];
const capacity = { cores: 4, memoryBytes: 4 * 2 ** 30, diskBytes: 2 ** 34 };

before(async () => {
  await a.start();
  await b.start();
  const { token } = await a.client.initCluster({ address: a.address, name: 'a', capacity });
  await b.client.joinCluster({ token, address: b.address, name: 'b', capacity });
  await until(async () => (await a.client.getCluster()).hosts.length === 2);
  const failover = { recoveryTimeMs: 60_000, method: 'fixed:cold' as const };
  await a.client.createPartition({ name: 'web', spec: { kernel: '/k', failover }, start: true });
  await until(async () => (await a.guest('web'))?.method !== undefined);
  await until(async () => (await here()).state === 'running');
});

async function owner(): Promise<DaemonHost> {
  return (await a.guest('web'))?.host === 'a' ? a : b;
}

async function here() {
  return await (await owner()).client.getPartition('web');
}

for (const method of ['cold', 'warm', 'hot'] as const)
  test(`${method}: it is taken over elsewhere, and goes on as it was`, async () => {
    const before = await here();
    const own = await owner();
    const asked = own === a ? b : a; // any host may be asked
    const result = await asked.client.drill({ guest: 'web', method });
    assert.deepEqual([result.guest, result.host, result.method, result.isMet], ['web', asked.name, method, true]);
    const steps = { cold: ['answer'], warm: ['snapshot', 'send', 'answer'] };
    const expected = method === 'hot' ? ['snapshot', 'double', 'replicate', 'kill', 'answer'] : steps[method];
    assert.deepEqual(
      result.steps.map(({ step }) => step),
      expected,
    );
    assert.ok(result.recoveryMs > result.takeoverMs && result.takeoverMs > 0);
    const now = await here();
    assert.deepEqual([now.machine?.pid, now.cluster?.generation], [before.machine?.pid, before.cluster?.generation]);
    for (const host of [a, b]) {
      const { partitions } = await host.client.listPartitions();
      assert.deepEqual(
        partitions.map(({ name }) => name),
        ['web'],
      );
      const files = join(host.state, 'cluster/drills');
      assert.deepEqual(existsSync(files) ? readdirSync(files) : [], []);
    }
  });

test('what cannot be drilled is said', async () => {
  await assert.rejects(a.client.drill({ guest: 'nobody' }), { code: 'no-such-partition' });
  await assert.rejects(a.client.drill({ guest: 'web', method: 'pair' }), { code: 'no-double' });
  await assert.rejects(a.client.drill({ guest: 'web', host: 'nobody' }), { code: 'no-target' });
  await assert.rejects(a.client.drill({ guest: 'web', host: (await owner()).name, method: 'hot' }), {
    code: 'no-target',
  });
});

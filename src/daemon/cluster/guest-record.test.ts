/** What the cluster is told of a partition: what it takes of a host, what it needs, what was said of methods. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { decode, put, SPEC } from '../../cluster/index.ts';
import { fakeImages } from '../daemon.testing.ts';
import type { Failover } from '../schemas/failover.ts';
import type { PartitionSpec } from '../schemas/spec.ts';
import { guestSpecOf, newRecord, PARTITION } from './guest-record.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-records-'));
after(() => rmSync(folder, { recursive: true }));

const MIB = 2 ** 20;
const specOf = (spec: PartitionSpec, failover: Failover = {}) =>
  guestSpecOf('web', { ...spec, failover }, 'running', fakeImages);

test('it takes its harts, its memory with its process, and layers over its disks', async () => {
  const { cores, memoryBytes, diskBytes, ...rest } = await specOf({ kernel: '/k' });
  assert.deepEqual([cores, memoryBytes, diskBytes], [1, (512 + 64 + 192) * MIB, 0]);
  assert.deepEqual(rest, {
    ...{ name: 'web', wanted: 'running', methods: ['cold', 'warm', 'hot'] },
    requirements: { recoveryTimeMs: 60_000, performanceFloor: 0.5, priority: 0 },
  });
  assert.equal((await specOf({ kernel: '/k', cpus: 4 })).cores, 4);
  assert.equal((await specOf({ kernel: '/k', cpus: 4, cap: 1.5 })).cores, 1.5);
  assert.equal(
    (await specOf({ kernel: '/k', memoryBytes: 64 * MIB, codeMemoryBytes: 8 * MIB })).memoryBytes,
    264 * MIB,
  );
  const raw = join(folder, 'raw');
  writeFileSync(raw, Buffer.alloc(3 * MIB));
  const head = Buffer.alloc(64);
  head.writeUInt32BE(0x5146_49fb);
  head.writeBigUInt64BE(BigInt(7 * MIB), 24);
  writeFileSync(join(folder, 'qcow2'), head);
  const drives = [
    { file: raw, overlay: true },
    { file: join(folder, 'qcow2'), overlay: true },
    { file: join(folder, 'gone'), overlay: true },
    { file: raw, readOnly: true },
    { file: 'nbd://10.0.0.9/web' },
    { file: 'nbd://10.0.0.9/web', overlay: true },
  ];
  assert.equal((await specOf({ kernel: '/k', drives })).diskBytes, 10 * MIB);
});

test('what it needs is what was said; a pair is used where it was asked for', async () => {
  const failover = { recoveryTimeMs: 5000, dataLossMs: 0, performanceFloor: 1, priority: 7, group: 'web' };
  const said = await specOf({ kernel: '/k' }, failover);
  const { group, ...requirements } = failover;
  assert.deepEqual([said.requirements, said.group], [requirements, group]);
  const fixed = await specOf({ kernel: '/k' }, { method: 'fixed:hot', methods: ['hot', 'cold'] });
  assert.deepEqual([fixed.fixed, fixed.methods], ['hot', ['hot', 'cold']]);
  const pair = await specOf({ kernel: '/k' }, { method: 'fixed:pair' });
  assert.deepEqual([pair.fixed, pair.methods], ['pair', ['cold', 'warm', 'hot', 'pair']]);
  assert.equal((await specOf({ kernel: '/k' }, { method: 'auto' })).fixed, undefined);
});

test('records are read back as they were, and what is none is as good as not there', async () => {
  const spec = await specOf({ kernel: '/k' }, { priority: 3 });
  assert.deepEqual(decode(SPEC, put(SPEC, 'web', spec).value), spec);
  const record = newRecord({ kernel: '/k', failover: {} });
  assert.deepEqual(decode(PARTITION, put(PARTITION, 'web', record).value), record);
  for (const other of [{ ...record, spec: { kernel: 7 } }, { ...record, spec: { kernel: '/k', more: 1 } }, {}])
    assert.equal(decode(PARTITION, JSON.stringify(other)), undefined);
});

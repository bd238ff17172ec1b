/** The metrics' text as others read it: a parser of another hand, and Prometheus's own where it is installed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import parsePrometheus from 'parse-prometheus-text-format';
import { metricsText } from '../src/daemon/api/metrics.ts';
import type { Service } from '../src/daemon/api/service.ts';
import { requires } from './capability.ts';

const stats = {
  vcpus: [
    { id: 0, instructions: 1e15, translated: 5, usedMs: 1500, shadows: { hits: 3, fences: { all: 1, page: 2 } } },
    { id: 1, instructions: 7, nested: { entries: { sret: 1 }, exits: { toHypervisor: { 'virtual "ecall"\\': 4 } } } },
  ],
  exits: { mmio: 7, budget: 0.5 },
  promotion: { mode: 'auto', promoted: 3, bytes: 4096 },
  protection: { domains: { 'device:disk0': { store: 2 } }, rules: 1 },
  paths: { uplinks: { 'web/lan0': { bytesOut: 9, failures: Number.NaN } } },
};

const service = {
  version: '1.2.3',
  startedAt: '2026-01-01T00:00:00.000Z',
  requests: new Map([['getHealth 200', 3]]),
  partitions: {
    list: async () => [
      { name: 'web', state: 'running', restarts: 1, machine: { pid: 1 } },
      { name: 'gone', state: 'exited', restarts: 0 },
    ],
    machines: {
      reach: async () => ({ stats: async () => stats, [Symbol.asyncDispose]: async () => {} }),
    },
  },
} as unknown as Service;

test('is read by a parser, family by family', async () => {
  const families = parsePrometheus(await metricsText(service));
  const family = (name: string) => families.find((one) => one.name === `kagemusha_${name}`);
  for (const { name, type, help } of families) {
    assert.match(name, /^kagemusha_[a-z0-9_]+$/);
    assert.ok(help);
    // What counts is called so, and nothing else is (https://prometheus.io/docs/practices/naming/).
    assert.equal(name.endsWith('_total'), type === 'COUNTER', name);
  }
  assert.deepEqual(family('vcpu_instructions_total')?.metrics, [
    { value: '1000000000000000', labels: { partition: 'web', vcpu: '0' } },
    { value: '7', labels: { partition: 'web', vcpu: '1' } },
  ]);
  assert.deepEqual(family('vcpu_seconds_total')?.metrics[0]?.value, '1.5');
  assert.deepEqual(family('nested_exits_total')?.metrics[0]?.labels, {
    ...{ partition: 'web', vcpu: '1', to: 'toHypervisor', cause: 'virtual "ecall"\\' },
  });
  assert.equal(family('uplink_failures_total'), undefined, 'what is no number is no sample');
  assert.deepEqual(
    family('partition_up')?.metrics.map(({ value }) => value),
    ['1', '0'],
  );
});

test('is what promtool accepts', requires('promtool'), async () => {
  const { status, stderr, stdout } = spawnSync('promtool', ['check', 'metrics'], { input: await metricsText(service) });
  assert.deepEqual([status, `${stdout}${stderr}`], [0, '']);
});

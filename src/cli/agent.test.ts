/** `kage agent`, and the flags by which a guest is looked after, with machines of no guest behind them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { kage, optionsOf, ownRuntimeFolder } from './terminal.testing.ts';
import { parseDuration } from './values.ts';

ownRuntimeFolder();

test('times, as docker writes them', () => {
  const cases = { '500ms': 500, '30s': 30_000, '1m30s': 90_000, '2h': 7_200_000, '1.5s': 1500, '0': 0, '0s': 0 };
  for (const [value, ms] of Object.entries(cases)) assert.equal(parseDuration(value, '--x'), ms);
  for (const value of ['', '5', 's', '5x', '-1s', '5s 5s', '1e3s', '5S'])
    assert.throws(() => parseDuration(value, '--x'));
});

test("a guest's health and heart are asked for with docker's flags", async () => {
  const flags = ['--health-cmd', 'curl -f localhost', '--health-interval', '1m', '--health-timeout', '5s'];
  const more = ['--health-retries', '2', '--health-start-period', '1m30s', '--health-start-interval', '2s'];
  const { health, heartbeatMs, agent } = await optionsOf(...flags, ...more, '--heartbeat', '250ms', '--agent', 'qemu');
  assert.deepEqual(health, {
    ...{ command: 'curl -f localhost', intervalMs: 60_000, timeoutMs: 5000 },
    ...{ retries: 2, startPeriodMs: 90_000, startIntervalMs: 2000 },
  });
  assert.deepEqual([heartbeatMs, agent], [250, 'qemu']);
  assert.equal((await optionsOf('--heartbeat', 'off')).heartbeatMs, 0);
  assert.equal((await optionsOf('--no-agent')).agent, false);
  assert.equal((await optionsOf()).agent, undefined);
});

test('what makes no sense is one line with a way out', async () => {
  for (const [args, says] of [
    [['--health-interval', '5s'], /^kage: there is no command to check health by. Add --health-cmd/],
    [['--health-cmd', 'x', '--health-interval', '5'], /^kage: --health-interval 5 is not a time. Write it as/],
    [['--health-cmd', 'x', '--health-interval', '0'], /^kage: health intervalMs is not within/],
    [['--health-cmd', 'x', '--health-retries', '0'], /^kage: --health-retries 0 is not a number/],
    [['--heartbeat', 'often'], /^kage: --heartbeat often is not a time/],
    [['--agent', 'vmware'], /^kage: there is no agent vmware. Choose auto, kagemusha, qemu or off/],
  ] as const) {
    const { code, stdout, stderr } = await kage(['run', '-q', '-d', ...args]);
    assert.deepEqual([code, stdout], [125, '']);
    assert.match(stderr, says);
  }
});

describe('a guest that is looked after', () => {
  test('ps and agent status show it; events are told; the interval is said', async () => {
    await kage(['run', '-q', '-d', '-n', 'web', '--health-cmd', 'true']);
    assert.match((await kage(['ps'])).stdout, /web +running \(healthy\) /);
    const { stdout } = await kage(['agent', 'status', 'web']);
    assert.match(
      stdout,
      /agent +kagemusha 1\nheartbeat +off\nhealth +healthy, failed 0 times in a row\nlast check +exit code 0/,
    );
    const json = JSON.parse((await kage(['agent', 'status', 'web', '--format', 'json'])).stdout);
    assert.deepEqual([json.kind, json.health.status], ['kagemusha', 'healthy']);
    const events = await kage(['agent', 'events', 'web']);
    assert.match(events.stdout, /^2026-\S+ +agent +none -> kagemusha\n2026-\S+ +health +starting -> healthy\n$/);
    assert.deepEqual(await kage(['agent', 'heartbeat', 'web', '2s']), { code: 0, stdout: '', stderr: '' });
    assert.match((await kage(['agent', 'heartbeat', 'web', 'x'])).stderr, /^kage: the interval x is not a time/);
    assert.match(
      (await kage(['snapshot', 'web', '/tmp/web.kage', '--quiesce'])).stdout,
      /stood still for 1 ms, its file systems frozen \(2, but not 1 others\)\n$/,
    );
    await kage(['kill', 'web']);
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OperatorError } from '../../base/errors.ts';
import { checkHealthOptions, HealthMonitor, type HealthOptions } from './health.ts';
import { PausableClock } from './pausable-clock.ts';
import { VirtualClock } from './virtual-clock.testing.ts';

/** A guest whose command ends as the test says, after so long. */
function monitored(options: Partial<HealthOptions>) {
  const world = new VirtualClock();
  const clock = new PausableClock(world);
  const guest = { code: 0, takesMs: 0, runs: 0, argv: [] as readonly string[] };
  const changes: string[] = [];
  const monitor = new HealthMonitor(
    { command: 'curl -f localhost', intervalMs: 10_000, timeoutMs: 3000, ...options },
    {
      clock,
      wallMs: () => world.nowMs(),
      run: async (argv, say, signal) => {
        guest.runs += 1;
        guest.argv = argv;
        say(Buffer.from(`answer ${guest.runs}\n`));
        await new Promise<void>((resolve, reject) => {
          const cancel = clock.after(guest.takesMs, resolve);
          signal.addEventListener('abort', () => {
            cancel();
            reject(signal.reason);
          });
        });
        return guest.code;
      },
      changed: (to, from) => changes.push(`${world.nowMs()} ${from} ${to}`),
    },
  );
  return { world, clock, guest, monitor, changes };
}

describe("docker's rules of health", () => {
  test('the first check comes an interval after the agent; the command is for a shell', async () => {
    const { world, guest, monitor, changes } = monitored({});
    await world.pass(100_000);
    assert.equal(guest.runs, 0);
    monitor.begin();
    monitor.begin();
    await world.pass(9_999);
    assert.equal(guest.runs, 0);
    assert.equal(monitor.report().status, 'starting');
    await world.pass(1);
    assert.deepEqual(changes, ['110000 starting healthy']);
    assert.deepEqual(guest.argv, ['/bin/sh', '-c', 'curl -f localhost']);
    assert.equal(world.alarms, 1);
  });

  test('so many failures in a row make it unhealthy, one success healthy again', async () => {
    const { world, guest, monitor, changes } = monitored({ retries: 3 });
    monitor.begin();
    await world.pass(10_000);
    guest.code = 1;
    await world.pass(20_000);
    guest.code = 0;
    await world.pass(10_000);
    assert.equal(monitor.report().failingStreak, 0);
    guest.code = 7;
    await world.pass(20_000);
    assert.deepEqual([monitor.report().status, monitor.report().failingStreak], ['healthy', 2]);
    await world.pass(10_000);
    await world.pass(10_000);
    guest.code = 0;
    await world.pass(10_000);
    assert.deepEqual(changes, ['10000 starting healthy', '70000 healthy unhealthy', '90000 unhealthy healthy']);
    const { log } = monitor.report();
    assert.deepEqual(
      log.map(({ exitCode }) => exitCode),
      [7, 7, 7, 7, 0],
    );
    assert.deepEqual([log[4]?.output, log[4]?.start], ['answer 9\n', new Date(90_000).toISOString()]);
  });

  test('the interval counts from the end of a check; one that takes too long is ended, and has failed', async () => {
    const { world, guest, monitor, changes } = monitored({ retries: 1 });
    guest.takesMs = 2000;
    monitor.begin();
    await world.pass(24_000);
    assert.equal(guest.runs, 2);
    guest.takesMs = 1e9;
    await world.pass(12_999);
    assert.deepEqual(changes, ['12000 starting healthy']);
    await world.pass(1);
    assert.deepEqual(changes, ['12000 starting healthy', '37000 healthy unhealthy']);
    const { exitCode, output } = monitor.report().log.at(-1) ?? {};
    assert.equal(exitCode, -1);
    assert.match(output ?? '', /answer 3\n.*longer than 3000 ms/);
  });

  test('failures in the start period are not counted; a success ends it', async () => {
    const { world, guest, monitor, changes } = monitored({ retries: 1, startPeriodMs: 60_000, startIntervalMs: 5000 });
    guest.code = 1;
    monitor.begin();
    await world.pass(59_999);
    assert.equal(guest.runs, 11);
    assert.deepEqual([monitor.report().status, monitor.report().failingStreak], ['starting', 0]);
    await world.pass(20_001);
    assert.deepEqual(changes, ['60000 starting unhealthy']);

    const other = monitored({ retries: 1, startPeriodMs: 60_000, startIntervalMs: 5000 });
    other.monitor.begin();
    await other.world.pass(5000);
    other.guest.code = 1;
    await other.world.pass(10_000);
    assert.deepEqual(other.changes, ['5000 starting healthy', '15000 healthy unhealthy']);
  });

  test('while the machine stands still nothing is checked, and no check takes too long', async () => {
    const { world, clock, guest, monitor } = monitored({});
    guest.takesMs = 2000;
    monitor.begin();
    await world.pass(11_000);
    clock.pause();
    await world.pass(1_000_000);
    clock.resume();
    await world.pass(1000);
    assert.equal(monitor.report().status, 'healthy');
    await world.pass(9000);
    assert.equal(guest.runs, 1);
  });

  test('what a check says is kept up to 4096 bytes; the end of the machine ends a check and all others', async () => {
    const { world, guest, monitor, changes } = monitored({ command: ['check', 'me'] });
    guest.takesMs = 2500;
    monitor.begin();
    await world.pass(11_000);
    assert.deepEqual(guest.argv, ['check', 'me']);
    monitor.close();
    await world.pass(100_000);
    assert.deepEqual([changes, guest.runs, world.alarms], [[], 1, 0]);
  });
});

test('options that no guest could be checked with are refused', () => {
  const bad: Partial<HealthOptions>[] = [
    { command: '' },
    { command: [] },
    { intervalMs: 0 },
    { timeoutMs: -1 },
    { retries: 0 },
    { retries: 1.5 },
    { startPeriodMs: -1 },
    { startIntervalMs: Number.NaN },
  ];
  for (const more of bad)
    assert.throws(
      () => checkHealthOptions({ command: 'true', ...more }),
      (error) => error instanceof OperatorError && error.code === 'bad-health',
      JSON.stringify(more),
    );
  checkHealthOptions({ command: 'true', startPeriodMs: 0 });
});

/** `kage replicate`, `migrate` and what belongs to them, with machines of no guest behind them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kage, ownRuntimeFolder } from './terminal.testing.ts';

ownRuntimeFolder();

test('a standby is given, told of, and taken away', async () => {
  await kage(['run', '-q', '-d', '--rm', '-n', 'web']);
  const flags = ['--epoch', '25', '--eager', 'off', '--on-loss', 'wait', '--most-held', '8M', '--compress', 'on'];
  assert.deepEqual(await kage(['replicate', 'web', 'unix:/standby', ...flags]), { code: 0, stdout: '', stderr: '' });
  assert.match((await kage(['replication', 'web'])).stdout, /^active: protected, unix:\/standby; checkpoint 7\n/);
  const report = JSON.parse((await kage(['replication', 'web', '--format', 'json'])).stdout) as { state: string };
  assert.equal(report.state, 'protected');
  assert.equal((await kage(['unreplicate', 'web'])).code, 0);
  assert.match((await kage(['replication', 'web'])).stdout, /^none: unprotected/);
  await kage(['kill', 'web']);
});

test('snapshots into a folder, one after the other; told of, and ended', async () => {
  await kage(['run', '-q', '-d', '--rm', '-n', 'web']);
  assert.equal((await kage(['checkpoint', 'web', '/srv/warm', '--every', '5s', '--keep', '3'])).code, 0);
  assert.match((await kage(['replication', 'web'])).stdout, /3 snapshots into \/srv\/warm, the latest 1M, 40 ms\n/);
  assert.equal((await kage(['checkpoint', 'web', '--stop'])).code, 0);
  assert.equal((await kage(['checkpoint', 'web'])).code, 125);
  await kage(['kill', 'web']);
});

test('a guest moves: how long it stood still is told', async () => {
  await kage(['run', '-q', '-d', '--rm', '-n', 'web']);
  const moved = await kage(['migrate', 'web', 'tcp:127.0.0.1:4711', '--downtime', '20', '--no-throttle']);
  assert.equal(
    moved.stdout,
    'web runs at tcp:127.0.0.1:4711: it stood still for 13 ms; 3 rounds, 16M, 800 ms in all\n',
  );
  const json = await kage(['migrate', 'web', 'tcp:127.0.0.1:4711', '--format', 'json']);
  assert.equal((JSON.parse(json.stdout) as { downtimeMs: number }).downtimeMs, 12.5);
  await kage(['kill', 'web']);
});

test('what cannot be is one line with a way out', async () => {
  await kage(['run', '-q', '-d', '--rm', '-n', 'web']);
  for (const [args, says] of [
    [['replicate', 'web', 'unix:/nobody'], /^kage: nobody can be reached there/],
    [['replicate', 'nobody', 'unix:/standby'], /^kage: No machine named nobody is running/],
    [['replicate', 'web', 'unix:/standby', '--epoch', '0'], /^kage: /],
    [['replicate', 'web', 'unix:/standby', '--on-loss', 'panic'], /^kage: --on-loss panic makes no sense/],
    [['replicate', 'web', 'unix:/standby', '--eager', 'much'], /^kage: --eager much makes no sense/],
    [['migrate', 'web', 'unix:/there', '--compress', 'much'], /^kage: --compress much makes no sense/],
    [['promote', 'web'], /^kage: the machine runs its guest/],
    [['receive', 'unix:/here', '--on-loss', 'panic'], /^kage: --on-loss panic makes no sense/],
    [['receive', 'unix:/here'], /^kage: nobody stands by here/],
  ] as const) {
    const { code, stdout, stderr } = await kage([...args]);
    assert.deepEqual([code, stdout], [125, ''], args.join(' '));
    assert.match(stderr, says);
  }
  await kage(['kill', 'web']);
});

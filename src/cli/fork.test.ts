/** `kage fork`, with machines of no guest behind it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kage, optionsOf, ownRuntimeFolder } from './terminal.testing.ts';

ownRuntimeFolder();

test('twins of a machine that has room for them: their names, a line each', async () => {
  await kage(['run', '-q', '-d', '-n', 'web', '--forks', '10']);
  assert.deepEqual(await kage(['fork', 'web', '-n', 'try']), { code: 0, stdout: 'try\n', stderr: '' });
  const several = await kage(['fork', 'web', '--count', '3', '-n', 'try']);
  assert.equal(several.stdout, 'try-1\ntry-2\ntry-3\n');
  const json = await kage(['fork', 'web', '-p', '8081:80', '--weight', '256', '--format', 'json']);
  const [twin] = JSON.parse(json.stdout) as { name: string; pausedMs: number }[];
  assert.ok(twin && /^twin-/.test(twin.name) && twin.pausedMs >= 0);
  await kage(['rm', '-f', 'web']);
});

test('what cannot be is one line with a way out', async () => {
  await kage(['run', '-q', '-d', '-n', 'alone']);
  for (const [args, says] of [
    [['alone'], /^kage: the machine has no room for a twin. Start it with/],
    [['nobody'], /^kage: There is no partition nobody/],
    [['alone', '--count', '2', '-p', '8081:80'], /^kage: twins cannot have a port in common/],
    [['alone', '--count', '0'], /^kage: /],
    [['alone', '-n', 'a b'], /^kage: /],
  ] as const) {
    const { code, stdout, stderr } = await kage(['fork', ...args]);
    assert.deepEqual([code, stdout], [125, '']);
    assert.match(stderr, says);
  }
  await kage(['rm', '-f', 'alone']);
});

test('room for twins is asked for with the machine', async () => {
  assert.deepEqual((await optionsOf('--forks', '10')).room, { partitions: 11, memoryBytes: 2 * 2 ** 30 });
  assert.deepEqual((await optionsOf('--forks', '200')).room, { partitions: 201, memoryBytes: 1.5 * 2 ** 30 });
  assert.equal((await optionsOf()).room, undefined);
});

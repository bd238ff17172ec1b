/** `kage run --machine`, with machines of no guest behind it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kage, ownRuntimeFolder } from './terminal.testing.ts';

ownRuntimeFolder();

test('what cannot join a machine is one line with a way out', async () => {
  await kage(['run', '-q', '-d', '-n', 'alone']);
  for (const [args, says] of [
    [['nobody', '-d'], /^kage: No machine named nobody is running/],
    [['alone', '-d', '-q'], /^kage: the machine was made for one guest/],
    [['alone', '--processors', '2'], /^kage: processors is the same for all partitions of a machine/],
    [['alone', '--forks', '2'], /^kage: room is the same for all partitions of a machine/],
    [['alone', '-d', '--', 'true'], /^kage: a detached machine runs no command/],
  ] as const) {
    const { code, stdout, stderr } = await kage(['run', '--machine', ...args]);
    assert.deepEqual([code, stdout], [125, '']);
    assert.match(stderr, says);
  }
  await kage(['rm', '-f', 'alone']);
});

test('a guest joins the machine of another one', async () => {
  await kage(['run', '-q', '-d', '-n', 'web', '--forks', '2']);
  const joined = await kage(['run', '-q', '-d', '--machine', 'web', '-n', 'batch', '--weight', '256']);
  assert.deepEqual(joined, { code: 0, stdout: 'batch\n', stderr: '' });
  await kage(['rm', '-f', 'web']);
});

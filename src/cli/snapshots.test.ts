/** `kage snapshot`, `kage restore`, and boots that are kept, with machines of no guest behind them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fakePlatform, kage, optionsOf, ownRuntimeFolder, TestTerminal, until } from './terminal.testing.ts';

ownRuntimeFolder();

describe('snapshots', () => {
  test('of a machine that runs: what was written, and what could not be', async () => {
    await kage(['run', '-q', '-d', '-n', 'web']);
    const { code, stdout, stderr } = await kage(['snapshot', 'web', '/tmp/web.kage']);
    assert.deepEqual([code, stderr], [0, '']);
    assert.equal(stdout, '/tmp/web.kage: 4K with 4K of memory; the guest stood still for 1 ms\n');
    const json = await kage(['snapshot', 'web', 'web.kage', '--base', 'old.kage', '--no-compress', '--format', 'json']);
    assert.equal(
      (JSON.parse(json.stdout) as { file: string }).file,
      join(process.cwd(), 'web.kage'),
      'as seen from here',
    );
    const full = await kage(['snapshot', 'web', '/tmp/web.full']);
    assert.deepEqual(full, { code: 125, stdout: '', stderr: 'kage: the disk is full. Make room.\n' });
    assert.equal((await kage(['snapshot', 'web', '/tmp/web.kage', '--stop'])).code, 0);
    assert.equal((await kage(['ps', '-q'])).stdout, '');
    assert.match((await kage(['snapshot', 'web', '/tmp/web.kage'])).stderr, /^kage: The partition web does not run/);
  });

  test('restored: in the background, or with its console here', async () => {
    const detached = await kage(['restore', 'web.kage', '-n', 'twin', '-p', '8081:80', '-d']);
    assert.deepEqual(detached, { code: 0, stdout: 'twin\n', stderr: '' });
    assert.match((await kage(['ps'])).stdout, /twin +running .* 8081:80/);
    await kage(['stop', 'twin']);

    const { platform, machines } = fakePlatform();
    const terminal = new TestTerminal();
    const args = ['restore', 'web.kage', '-q', '-n', 'here', '--translate', 'off', '--gdb', '0'];
    const running = kage(args, terminal, platform);
    await until(() => machines.length === 1);
    machines[0]?.say('and on');
    machines[0]?.end({ reason: 'poweroff', code: 0 });
    assert.equal((await running).code, 0);
    assert.equal(terminal.printed, 'and on');
    assert.deepEqual(machines[0]?.calls[0], `restored ${join(process.cwd(), 'web.kage')}`);
    assert.deepEqual(machines[0]?.options, { name: 'here', translate: false, gdbPort: 0 });
  });

  test('what is no snapshot is one line with a way out', async () => {
    for (const [args, says] of [
      [['/nowhere.kage'], /^kage: there is no snapshot \/nowhere.kage\. Name a file/],
      [[import.meta.filename], /^kage: .*snapshots.test.ts is not a snapshot of a machine\. Name a file/],
      [['x.kage', '-d', '--', 'ls'], /^kage: a detached machine runs no command/],
      [['x.kage', '-p', 'x'], /^kage: /],
    ] as const) {
      const { code, stdout, stderr } = await kage(['restore', ...args]);
      assert.deepEqual([code, stdout], [125, '']);
      assert.match(stderr, says);
    }
  });

  test('of boots: asked for, or not, or refused', async () => {
    assert.equal((await optionsOf()).bootSnapshot, undefined, 'in a clone');
    assert.equal((await optionsOf('--boot-snapshot', 'on')).bootSnapshot, true);
    assert.equal((await optionsOf('--boot-snapshot', 'off')).bootSnapshot, undefined);
    for (const more of [['--seed', '1'], ['--gdb', '0'], ['--drive', 'd.img'], ['--no-agent'], ['--trap', 'wfi']]) {
      const { code, stderr } = await kage(['run', '-q', '--boot-snapshot', 'on', ...more]);
      assert.equal(code, 125);
      assert.match(stderr, /^kage: --boot-snapshot on does not go with /);
    }
  });
});

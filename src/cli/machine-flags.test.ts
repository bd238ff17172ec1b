import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { MACHINE_ENVIRONMENT, MACHINE_FLAGS, startWithMachineFlags } from './machine-flags.ts';

describe('the process of a machine', () => {
  const of = (given: { execArgv?: string[]; connected?: boolean; env?: NodeJS.ProcessEnv }) => {
    const calls: unknown[] = [];
    startWithMachineFlags({
      ...{
        execPath: '/n',
        execArgv: given.execArgv ?? [],
        argv: ['/n', 'kage.js', 'run', '-q'],
        env: { A: 'b', ...given.env },
      },
      ...(given.connected === undefined ? {} : { connected: given.connected }),
      execve: (...call) => void calls.push(call) as never,
    });
    return calls;
  };

  test('starts over with the flags, its own flags, its arguments and its environment', () => {
    const args = ['/n', '--no-warnings', ...MACHINE_FLAGS, 'kage.js', 'run', '-q'];
    assert.deepEqual(of({ execArgv: ['--no-warnings'] }), [['/n', args, { ...MACHINE_ENVIRONMENT, A: 'b' }]]);
  });

  test('leaves the operator what he has set', () => {
    const [call] = of({ env: { MALLOC_ARENA_MAX: '4' } });
    assert.equal((call as unknown as [string, string[], NodeJS.ProcessEnv])[2]['MALLOC_ARENA_MAX'], '4');
  });

  test('does so once', () => assert.deepEqual(of({ execArgv: [...MACHINE_FLAGS] }), []));
  test('keeps a channel that it has', () => assert.deepEqual(of({ connected: true }), []));
  test('goes on where the system cannot replace a process', () => {
    startWithMachineFlags({ execPath: '/n', execArgv: [], argv: ['/n', 'kage.js'], env: {} });
  });

  test('is started by this Node with these flags, in which they have their effect', () => {
    const code = 'console.log(require("v8").getHeapSpaceStatistics().length, process.execArgv.join())';
    const { stdout, status } = spawnSync(process.execPath, [...MACHINE_FLAGS, '-e', code], { encoding: 'utf8' });
    assert.equal(status, 0);
    assert.match(stdout, new RegExp(`^\\d+ ${MACHINE_FLAGS.join()}`));
  });
});

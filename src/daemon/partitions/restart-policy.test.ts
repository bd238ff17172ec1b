import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RestartPolicy } from '../schemas/partition.ts';
import { afterEnd, atDaemonStart, type Ended } from './restart-policy.ts';

const ended = (name: RestartPolicy['name'], more: Partial<Ended> & { most?: number } = {}): Ended => {
  const { most, ...rest } = more;
  const policy = most === undefined ? { name } : { name, most };
  return { policy, wanted: 'running', exit: { code: 1 }, failures: 0, ranMs: 50, ...rest };
};

describe('after an end', () => {
  for (const [what, given, kind] of [
    ['no', ended('no'), 'stay'],
    ['on-failure, and it failed', ended('on-failure'), 'restart'],
    ['on-failure, and all was well', ended('on-failure', { exit: { code: 0 } }), 'stay'],
    ['always', ended('always', { exit: { code: 0 } }), 'restart'],
    ['unless-stopped', ended('unless-stopped', { exit: { code: 0 } }), 'restart'],
    ['always, but it was stopped', ended('always', { wanted: 'stopped' }), 'stay'],
    ['unless-stopped, and it was', ended('unless-stopped', { wanted: 'stopped' }), 'stay'],
    ['on-failure:2, once', ended('on-failure', { most: 2, failures: 1 }), 'restart'],
    ['on-failure:2, twice', ended('on-failure', { most: 2, failures: 2 }), 'give-up'],
    ['on-failure:2, twice, long ago', ended('on-failure', { most: 2, failures: 2, ranMs: 10_000 }), 'restart'],
  ] as const) {
    test(`${what}: ${kind}`, () => assert.equal(afterEnd(given).kind, kind));
  }

  test('pauses double up to a minute, and begin anew with what ran for long', () => {
    const delays: number[] = [];
    let failures = 0;
    for (let i = 0; i < 12; i++) {
      const decision = afterEnd(ended('always', { failures }));
      assert.ok(decision.kind === 'restart');
      delays.push(decision.delayMs);
      failures = decision.failures;
    }
    assert.deepEqual(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
    assert.deepEqual(afterEnd(ended('always', { failures, ranMs: 10_000 })), {
      kind: 'restart',
      delayMs: 100,
      failures: 1,
    });
  });
});

describe('when the daemon starts', () => {
  for (const [name, wanted, code, expected] of [
    ['no', 'running', 1, false],
    ['on-failure', 'running', 1, true],
    ['on-failure', 'running', 0, false],
    ['on-failure', 'stopped', 1, false],
    ['unless-stopped', 'running', 0, true],
    ['unless-stopped', 'stopped', 0, false],
    ['always', 'running', 0, true],
    ['always', 'stopped', 0, true],
    ['always', 'stopped', undefined, false],
  ] as const) {
    test(`${name}, ${wanted}, ${code === undefined ? 'never begun' : `ended with ${code}`}: ${expected}`, () => {
      const exit = code === undefined ? {} : { exit: { code } };
      assert.equal(atDaemonStart({ policy: { name }, wanted, ...exit }), expected);
    });
  }
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Condition } from '../heartbeat/digest.ts';
import { UNKNOWN_COSTS } from '../planner/estimate.ts';
import { chooseStep, type Failure, type Step } from './choose-step.ts';
import { FORGIVEN_MS, type GuestNeeds, Reactions } from './reactions.ts';

const NEVER: Record<Step, number> = {
  'restart-application': 0,
  'restart-guest': 0,
  'restart-machine': 0,
  elsewhere: 0,
};
const TAKES: Record<Step, number> = {
  'restart-application': 1000,
  'restart-guest': 8000,
  'restart-machine': 9000,
  elsewhere: 1200,
};

describe('the smallest step that is sufficient', () => {
  const rows: [Failure, Partial<Record<Step, number>>, number, Step][] = [
    // failure, tried, time left, step
    ['application', {}, 60_000, 'restart-application'],
    ['application', { 'restart-application': 1 }, 60_000, 'restart-application'],
    ['application', { 'restart-application': 2 }, 60_000, 'restart-guest'],
    ['application', { 'restart-application': 2, 'restart-guest': 1 }, 60_000, 'restart-machine'],
    ['application', { 'restart-application': 2, 'restart-guest': 1, 'restart-machine': 1 }, 60_000, 'elsewhere'],
    ['guest', {}, 60_000, 'restart-guest'],
    ['machine', {}, 60_000, 'restart-machine'],
    ['host', {}, 60_000, 'elsewhere'],
    // A boot would take longer than there is time; a standby takes over sooner.
    ['guest', {}, 5000, 'elsewhere'],
    ['application', { 'restart-application': 2 }, 5000, 'elsewhere'],
    // Nothing is in time: the quickest.
    ['guest', {}, 100, 'elsewhere'],
    ['application', {}, 0, 'restart-application'],
  ];
  for (const [failure, tried, leftMs, step] of rows)
    test(`${failure}, after ${JSON.stringify(tried)}, ${leftMs} ms left: ${step}`, () => {
      assert.equal(chooseStep({ failure, tried: { ...NEVER, ...tried }, takesMs: TAKES, leftMs }), step);
    });

  test('without another place there is none', () => {
    const takesMs = { ...TAKES, elsewhere: Number.POSITIVE_INFINITY };
    assert.equal(chooseStep({ failure: 'guest', tried: NEVER, takesMs, leftMs: 100 }), 'restart-guest');
  });
});

describe('reactions', () => {
  const needs: GuestNeeds = {
    costs: { ...UNKNOWN_COSTS, applicationRestartMs: 1000, bootMs: 4000 },
    recoveryTimeMs: 120_000,
    elsewhereMs: 5000,
  };

  function run(conditions: readonly [number, Condition][]): string[] {
    const reactions = new Reactions();
    return conditions.flatMap(([ms, condition]) => {
      const reaction = reactions.look('web', condition, ms, () => needs);
      return reaction === undefined ? [] : [`${ms} ${reaction.step}`];
    });
  }

  test('a step has its time before the next', () => {
    const every = Array.from({ length: 80 }, (_, i): [number, Condition] => [i * 250, 'application-failed']);
    assert.deepEqual(run(every), [
      '0 restart-application',
      '4000 restart-application',
      '8000 restart-guest',
      '18000 restart-machine',
    ]);
  });

  test('what is well again has its history for a minute', () => {
    const failed = (ms: number): [number, Condition] => [ms, 'application-failed'];
    const well = (ms: number): [number, Condition] => [ms, 'well'];
    assert.deepEqual(run([failed(0), failed(4000), well(5000), failed(10_000)]), [
      ...['0 restart-application', '4000 restart-application', '10000 restart-guest'],
    ]);
    assert.deepEqual(run([failed(0), failed(4000), well(5000), well(5001 + FORGIVEN_MS), failed(70_000)]), [
      ...['0 restart-application', '4000 restart-application', '70000 restart-application'],
    ]);
  });

  test('a machine that ends while its guest is restarted is not waited for', () => {
    assert.deepEqual(
      run([
        [0, 'silent'],
        [500, 'silent'],
        [1000, 'gone'],
      ]),
      ['0 restart-guest', '1000 restart-machine'],
    );
  });

  test('a guest that starts is left alone', () => {
    assert.deepEqual(
      run([
        [0, 'starting'],
        [60_000, 'starting'],
      ]),
      [],
    );
  });
});

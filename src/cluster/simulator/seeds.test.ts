import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RULE_NAMES, ruleOf } from './rules.ts';
import { runScenario } from './scenario.ts';

const SEEDS = Number(process.env['KAGE_CLUSTER_SEEDS'] ?? 500);

describe('the simulated cluster', () => {
  test(`${SEEDS} seeds: whatever fails, never two that act, no limit passed, and all is well again afterwards`, () => {
    let [takeovers, events] = [0, 0];
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const result = runScenario(seed);
      assert.equal(result.violation, undefined, `node test/long/cluster.ts --from ${seed} --seeds 1 --trace`);
      takeovers += result.takeovers;
      events += result.events;
    }
    assert.ok(takeovers > 5 * SEEDS && events > 5000 * SEEDS, `${takeovers} changes of owner, ${events} events`);
  });

  test('a seed gives the same run again, event by event', () => {
    const run = (): { lines: string[]; result: unknown } => {
      const lines: string[] = [];
      return { result: runScenario(4, { trace: (line) => lines.push(line) }), lines };
    };
    const [first, second] = [run(), run()];
    assert.ok(first.lines.length > 50);
    assert.deepEqual(first, second);
  });
});

describe('a rule that is broken is noticed, and replays', () => {
  for (const rule of RULE_NAMES)
    test(`${rule}: ${ruleOf(rule).what}`, () => {
      const { faults, noticed } = ruleOf(rule);
      for (let seed = 1; seed <= 60; seed += 1) {
        const { violation } = runScenario(seed, { broken: rule });
        if (violation === undefined) continue;
        assert.match(violation, noticed);
        assert.equal(runScenario(seed, { broken: rule }).violation, violation);
        const sound = runScenario(seed, faults === undefined ? {} : { faults });
        assert.equal(sound.violation, undefined, 'with the rule in force, the same seed and faults are borne');
        return;
      }
      assert.fail('60 seeds noticed nothing');
    });
});

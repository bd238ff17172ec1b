import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Association, GuestSpec, Placement, Requirements } from '../model.ts';
import type { Costs } from '../ports.ts';
import { DEFAULT_SETTINGS } from '../settings.ts';
import { Ledger } from '../takeover/ledger.ts';
import { type ChoiceQuestion, chooseMethod } from './choose-method.ts';
import { estimate, misses } from './estimate.ts';
import { replan, type Thought } from './replan.ts';

const GIB = 2 ** 30;
const COSTS: Costs = {
  ...{ bootMs: 12_000, restoreMs: 800, checkpointMs: 40, checkpointBytes: 64e6 },
  ...{ dirtyBytesPerS: 20e6, applicationRestartMs: 500 },
};
const SETTINGS = DEFAULT_SETTINGS;

function spec(requirements: Partial<Requirements>, more: Partial<GuestSpec> = {}): GuestSpec {
  return {
    ...{
      name: 'web',
      cores: 2,
      memoryBytes: 2 * GIB,
      diskBytes: 0,
      methods: ['cold', 'warm', 'hot'],
      wanted: 'running',
    },
    requirements: { recoveryTimeMs: 60_000, performanceFloor: 0.5, priority: 1, ...requirements },
    ...more,
  };
}

function question(of: GuestSpec, more: Partial<ChoiceQuestion> = {}): ChoiceQuestion {
  const capacity = { cores: 8, memoryBytes: 16 * GIB, diskBytes: 100 * GIB };
  const ledger = new Ledger(
    ['a', 'b', 'c'].map((name) => ({ name, capacity })),
    1,
  );
  return { spec: of, costs: COSTS, home: 'a', hosts: ['b', 'c'], ledger, present: undefined, ...more };
}

describe('the method', () => {
  const rows: [Partial<Requirements>, string][] = [
    [{}, 'cold'],
    [{ recoveryTimeMs: 30_000 }, 'cold'],
    [{ recoveryTimeMs: 7000 }, 'warm'],
    [{ recoveryTimeMs: 4500 }, 'hot'],
    [{ dataLossMs: 30_000 }, 'warm'],
    [{ dataLossMs: 0 }, 'hot'],
  ];
  for (const [requirements, method] of rows)
    test(`${JSON.stringify(requirements)}: ${method}, the cheapest that meets them`, () => {
      const choice = chooseMethod(question(spec(requirements)), SETTINGS);
      assert.equal(choice.inForce?.method, method);
      assert.deepEqual(choice.missed, []);
    });

  test('says why, in words', () => {
    const { reason } = chooseMethod(question(spec({ dataLossMs: 0 })), SETTINGS);
    assert.equal(reason, 'hot on b: cold may lose its memory, dataLoss is 0 s; warm may lose 1 s, dataLoss is 0 s');
  });

  test('says plainly when nothing meets the needs, and takes what misses least', () => {
    const choice = chooseMethod(question(spec({ recoveryTimeMs: 1000, dataLossMs: 0 })), SETTINGS);
    assert.equal(choice.inForce?.method, 'hot');
    assert.deepEqual(choice.missed, ['hot takes 4 s, recoveryTime is 1 s']);
    assert.match(choice.reason, /nothing meets its needs/);
  });

  test('has room: where hot does not fit, the next is taken, and what is missed is said', () => {
    const capacity = { cores: 8, memoryBytes: 2.5 * GIB, diskBytes: 100 * GIB };
    const ledger = new Ledger([{ name: 'b', capacity }], 1);
    ledger.take('b', { cores: 0, memoryBytes: GIB, diskBytes: 0 });
    const choice = chooseMethod(question(spec({ recoveryTimeMs: 4500 }), { ledger, hosts: ['b'] }), SETTINGS);
    assert.equal(choice.inForce, undefined, 'two GiB do not come to it in any way');
    assert.deepEqual(choice.missed, ['hot has room nowhere', 'cold has room nowhere', 'warm has room nowhere']);
  });

  test('fixed is taken as it is', () => {
    const choice = chooseMethod(question(spec({ dataLossMs: 0 }, { fixed: 'cold' })), SETTINGS);
    assert.deepEqual([choice.inForce?.method, choice.reason], ['cold', 'cold on b: fixed']);
    assert.equal(choice.missed.length, 1);
  });

  test('has others to fall back on, cold among them', () => {
    assert.deepEqual(chooseMethod(question(spec({ dataLossMs: 0 })), SETTINGS).others, [
      { host: 'c', method: 'cold' },
      { host: 'b', method: 'cold' },
    ]);
  });

  test('a warm one takes checkpoints as seldom as the loss that is allowed permits', () => {
    const every = (dataLossMs: number): number => estimate('warm', spec({ dataLossMs }), COSTS, SETTINGS).everyMs;
    assert.deepEqual([every(10_000), every(30_000), every(600_000), every(500)], [9960, 29_960, 60_000, 1000]);
    assert.deepEqual(
      misses(estimate('warm', spec({ dataLossMs: 10_000 }), COSTS, SETTINGS), spec({ dataLossMs: 10_000 })),
      [],
    );
  });

  test('a guest that dirties much is too slow under a hot standby', () => {
    const busy = { ...COSTS, checkpointMs: 400, dirtyBytesPerS: 1e9 };
    const one = estimate('hot', spec({}), busy, SETTINGS);
    assert.ok(one.speed < 0.5);
    assert.match(misses(one, spec({}))[0] ?? '', /leaves \d+ % of its speed/);
  });
});

describe('changes of mind', () => {
  /** A placement that is thought over each second. */
  class Mind {
    nowMs = 0;
    placement: Placement | undefined;
    readonly thought: Thought = { sinceMs: 0, better: '', changedMs: 0 };
    readonly history: string[] = [];

    pass(seconds: number, asked: (ms: number) => ChoiceQuestion, isNextReady = () => true): this {
      for (let i = 0; i < seconds; i += 1) {
        this.nowMs += 1000;
        const present: Association | undefined = this.placement?.associations[0];
        const made = replan(
          {
            ...{ question: { ...asked(this.nowMs), present }, placement: this.placement, thought: this.thought },
            ...{ isNextReady: isNextReady(), nowMs: this.nowMs },
          },
          SETTINGS,
        );
        if (made === undefined) continue;
        this.placement = made;
        const [first] = made.associations;
        this.history.push(
          `${this.nowMs / 1000}: ${first?.method} on ${first?.host}${made.next === undefined ? '' : `, then ${made.next.method}`}`,
        );
      }
      return this;
    }
  }

  test('the first choice is made at once, and stays', () => {
    const mind = new Mind().pass(600, () => question(spec({})));
    assert.deepEqual(mind.history, ['1: cold on b']);
  });

  test('other requirements: the new standby is made before the old choice is given up', () => {
    const mind = new Mind().pass(60, () => question(spec({})));
    let isReady = false;
    mind.pass(
      30,
      () => question(spec({ dataLossMs: 0 })),
      () => isReady,
    );
    isReady = true;
    mind.pass(
      30,
      () => question(spec({ dataLossMs: 0 })),
      () => isReady,
    );
    assert.deepEqual(mind.history, ['1: cold on b', '71: cold on b, then hot', '91: hot on b']);
  });

  test('a need that is met again does not take away what is there, unless that lasts and saves much', () => {
    const mind = new Mind().pass(60, () => question(spec({ recoveryTimeMs: 4500 })));
    mind.pass(5, () => question(spec({})));
    mind.pass(60, () => question(spec({ recoveryTimeMs: 4500 })));
    assert.deepEqual(mind.history, ['1: hot on b']);
    mind.pass(60, () => question(spec({})));
    assert.equal(mind.history.at(-1)?.split(': ')[1], 'cold on b');
  });

  test('figures that go up and down change nothing', () => {
    const asked = (ms: number): ChoiceQuestion => {
      const factor = 1 + 0.8 * Math.sin(ms / 3000);
      return question(spec({ dataLossMs: 3000 }), {
        costs: {
          ...COSTS,
          dirtyBytesPerS: COSTS.dirtyBytesPerS * factor,
          checkpointBytes: COSTS.checkpointBytes * factor,
        },
      });
    };
    assert.ok(new Mind().pass(3600, asked).history.length <= 1);
  });

  test('a host that is gone is left at once', () => {
    const mind = new Mind().pass(5, () => question(spec({})));
    mind.pass(5, () => question(spec({}), { hosts: ['c'] }));
    assert.deepEqual(mind.history, ['1: cold on b', '6: cold on c']);
    mind.pass(5, () => question(spec({}), { hosts: [] }));
    assert.deepEqual(mind.placement?.missed, ['there is no other host']);
  });

  test('a standby that cannot be made any more is given up, and the old choice stays', () => {
    const mind = new Mind().pass(60, () => question(spec({})));
    mind.pass(
      15,
      () => question(spec({ dataLossMs: 0 })),
      () => false,
    );
    assert.equal(mind.placement?.next?.method, 'hot');
    mind.pass(
      1,
      () => question(spec({}, { methods: ['cold'] })),
      () => false,
    );
    assert.deepEqual([mind.placement?.next, mind.placement?.associations[0]?.method], [undefined, 'cold']);
  });
});

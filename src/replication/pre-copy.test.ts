import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide, PRE_COPY, type Round } from './pre-copy.ts';

const round = (pages: number, left: number, tookMs = 100): Round => ({ pages, left, tookMs });

const cases: readonly {
  readonly of: string;
  readonly rounds: Round[];
  readonly throttles?: number;
  readonly is: string;
}[] = [
  { of: 'nothing was copied yet', rounds: [], is: 'again' },
  { of: 'much is left', rounds: [round(65_536, 40_000)], is: 'again' },
  {
    of: 'what is left is sent within the downtime',
    rounds: [round(65_536, 20_000)].concat(round(20_000, 9000)),
    is: 'stop',
  },
  { of: 'hardly anything is left, on a slow connection', rounds: [round(65_536, 60, 60_000)], is: 'stop' },
  { of: 'it shrinks', rounds: [round(9e4, 5e4, 900), round(5e4, 3e4, 900), round(3e4, 2e4, 900)], is: 'again' },
  {
    of: 'it does not shrink',
    rounds: [round(5e4, 5e4, 900), round(5e4, 5e4, 900), round(5e4, 5e4, 900)],
    is: 'throttle 0.5',
  },
  {
    ...{ of: 'it does not shrink, slowed down once', throttles: 1, is: 'throttle 0.25' },
    rounds: [round(5e4, 5e4, 900), round(5e4, 5e4, 900), round(5e4, 5e4, 900)],
  },
  {
    ...{ of: 'it does not shrink, slowed down as far as may be', throttles: 3, is: 'stop' },
    rounds: [round(5e4, 5e4, 900), round(5e4, 5e4, 900), round(5e4, 5e4, 900)],
  },
  {
    of: 'there were many rounds',
    rounds: Array.from({ length: 30 }, (_, i) => round(9e6 / 2 ** i, 5e6 / 2 ** i, 1e9)),
    is: 'stop',
  },
];

for (const { of, rounds, throttles = 0, is } of cases)
  test(`${of}: ${is}`, () => {
    const decision = decide(rounds, throttles, PRE_COPY);
    assert.equal(decision.kind === 'throttle' ? `throttle ${decision.cap}` : decision.kind, is);
  });

test('where it may not be slowed down, it is stopped', () => {
  const stuck = [round(5e4, 5e4, 900), round(5e4, 5e4, 900), round(5e4, 5e4, 900)];
  assert.equal(decide(stuck, 0, { ...PRE_COPY, mayThrottle: false }).kind, 'stop');
});

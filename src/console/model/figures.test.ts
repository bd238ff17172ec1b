import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Stats } from '../../client/index.ts';
import { History, levelSeries, meanRate, numbersIn, pathsBelow, rateSeries, sampleOf } from './figures.ts';

const stats: Stats = {
  exits: { mmio: 7, wait: 3, call: 0 },
  promotion: { mode: 'auto', promoted: 2, demoted: 1, bytes: 96, peakBytes: 128, executions: 5, accesses: 4, calls: 1 },
  vcpus: [
    { id: 0, instructions: 100, translated: 60, shadows: { hits: 2, misses: 1, roots: [{ number: 0, entries: 9 }] } },
    { id: 1, instructions: 50, translated: 50, shadows: { hits: 3, misses: 0, roots: [] } },
  ],
  interrupts: { relay: 'on', interrupts: 4, polls: 0, pollsAvoided: 8, requesters: { '01:00.0': { interrupts: 4 } } },
};

describe('samples', () => {
  const { values } = sampleOf(stats, 0);
  for (const [path, value] of [
    ['exits', 10],
    ['exits.mmio', 7],
    ['promotion.promoted', 2],
    ['instructions.translated', 110],
    ['instructions.interpreted', 40],
    ['shadows.hits', 5],
    ['requesters.01:00.0', 4],
    ['relay.pollsAvoided', 8],
  ] as const)
    test(`${path} is ${value}`, () => assert.equal(values.get(path), value));

  test('of loose reports what is no number is not there', () => {
    const loose = { a: 'text', b: { c: Number.NaN, d: 1, e: null }, f: [2] };
    assert.deepEqual(
      [...numbersIn(loose)],
      [
        ['b.d', 1],
        ['f.0', 2],
      ],
    );
    const odd = { vcpus: [{ id: 0, instructions: 1, translated: 0, shadows: 'none', nested: 7 }], interrupts: null };
    assert.equal(sampleOf(odd, 0).values.get('instructions.interpreted'), 1);
  });
});

describe('series', () => {
  const sample = (atMs: number, exits: number) => ({ atMs, values: new Map([['exits.mmio', exits]]) });
  const samples = [sample(0, 10), sample(1000, 30), sample(3000, 30)];

  test('rates are growth for each second', () =>
    assert.deepEqual(
      rateSeries(samples, 'exits.mmio').points.map(({ value }) => value),
      [20, 0],
    ));
  test('a counter that began anew did not shrink', () =>
    assert.equal(rateSeries([sample(0, 9), sample(1000, 1)], 'exits.mmio').points[0]?.value, 0));
  test('levels are as they stood', () =>
    assert.deepEqual(
      levelSeries(samples, 'exits.mmio').points.map(({ value }) => value),
      [10, 30, 30],
    ));
  test('the mean of a span', () => {
    assert.equal(meanRate(samples, 'exits.mmio', 0), 20 / 3);
    assert.equal(meanRate(samples, 'exits.mmio', 2000), undefined);
  });
  test('the busiest paths come first, and those of nothing not at all', () => {
    assert.deepEqual(pathsBelow([sampleOf(stats, 0)], 'exits', 5), ['exits.mmio', 'exits.wait']);
    assert.deepEqual(pathsBelow([sampleOf(stats, 0)], 'exits', 1), ['exits.mmio']);
  });
});

describe('a history', () => {
  const sample = (atMs: number, count: number) => ({ atMs, values: new Map([['instructions.translated', count]]) });

  test('is bounded', () => {
    const history = new History(3);
    for (let i = 0; i < 10; i++) history.push(sample(i, i));
    assert.deepEqual(
      history.samples.map(({ atMs }) => atMs),
      [7, 8, 9],
    );
  });

  test('forgets an earlier run', () => {
    const history = new History();
    for (const [atMs, count] of [
      [0, 5],
      [1, 9],
      [2, 1],
    ] as const)
      history.push(sample(atMs, count));
    assert.deepEqual(
      history.samples.map(({ atMs }) => atMs),
      [2],
    );
  });
});

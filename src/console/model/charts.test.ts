import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chartRows, linePath, niceTop, topOf } from './charts.ts';
import { sampleOf } from './figures.ts';

describe('charts', () => {
  for (const [value, top] of [
    [0, 1],
    [0.3, 0.5],
    [1, 1],
    [11, 20],
    [99, 100],
    [4_100_000, 5_000_000],
  ] as const)
    test(`the axis of ${value} ends at ${top}`, () => assert.equal(niceTop(value), top));

  test('a line ends at the right edge, and its highest stays inside', () => {
    const series = { name: 'n', points: [0, 500, 1000].map((atMs) => ({ atMs, value: atMs / 100 })) };
    const path = linePath(series, { width: 100, height: 50 }, { nowMs: 1000, windowMs: 1000, top: topOf([series]) });
    assert.equal(path, 'M0.0 50.0L50.0 25.0L100.0 0.0');
  });

  test('what is older than the window is not drawn', () => {
    const series = {
      name: 'n',
      points: [
        { atMs: 0, value: 1 },
        { atMs: 900, value: 1 },
      ],
    };
    const path = linePath(series, { width: 100, height: 50 }, { nowMs: 1000, windowMs: 200, top: 1 });
    assert.equal(path, 'M50.0 0.0');
  });

  for (const row of chartRows)
    test(`${row.title}: without counters it has no line that goes anywhere`, () => {
      const series = row.series([sampleOf({}, 0), sampleOf({}, 1000)]);
      assert.ok(series.every(({ points }) => points.every(({ value }) => value === 0)));
    });
});

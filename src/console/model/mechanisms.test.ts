import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import type { Sample } from './figures.ts';
import { BEFORE_MS, SETTLE_MS, since, thrown } from './measurement.ts';
import { difference, formatOf, type MechanismSwitch, mechanisms } from './mechanisms.ts';

describe('mechanisms', () => {
  const put = (of: MechanismSwitch, position: string): string | undefined => {
    switch (of.kind) {
      case 'live':
        return of.of(of.change(position));
      case 'at-start':
        return of.of(of.change(position));
      case 'declared':
        return of.of(of.change(position, { failover: { priority: 3 } }));
      case 'heartbeats':
        return of.positions.find((one) => one === position);
    }
  };

  test('are nine', () =>
    assert.deepEqual(
      mechanisms.map(({ number }) => number),
      [1, 2, 3, 4, 5, 6, 7, 8, 9],
    ));

  for (const { id, number, title, text, switch: of } of mechanisms) {
    test(`${title} has a document of that number, an explanation and a switch`, () => {
      const document = readFileSync(new URL(`../../../docs/mechanisms/${id}.md`, import.meta.url), 'utf8');
      assert.match(document, new RegExp(`^# .*\\(mechanism ${number}\\)`));
      assert.ok(text.length >= 1 && of.positions.length >= 2);
    });

    test(`the switch of ${title} is in the position that it was put to`, () => {
      for (const position of of.positions) assert.equal(put(of, position), position);
    });
  }
});

test('another method leaves what else the failover of a guest is', () => {
  const of = mechanisms.find(({ id }) => id === 'failover-methods')?.switch;
  assert.ok(of?.kind === 'declared');
  const spec = { failover: { priority: 3, group: 'web' } };
  assert.deepEqual(of.change('fixed:hot', spec), { failover: { ...spec.failover, method: 'fixed:hot' } });
  assert.equal(of.of({}), undefined);
});

describe('the difference that a switch makes', () => {
  const figure = { title: 'Exits', path: 'exits', as: 'rate' } as const;
  const polls = (fromMs: number, toMs: number, perMs: number, from = 0): Sample[] =>
    Array.from({ length: (toMs - fromMs) / 1000 + 1 }, (_, i) => ({
      atMs: fromMs + i * 1000,
      values: new Map([['exits', from + i * 1000 * perMs]]),
    }));

  test('is measured on both sides, without what throwing it costs', () => {
    const before = polls(0, 10_000, 1);
    const change = thrown(before, [figure], { from: 'auto', to: 'off', atMs: 10_000 });
    assert.equal(change.before.get(figure), 1000);
    const soon = [...before, ...polls(11_000, 11_000, 1)];
    assert.equal(since(change, soon, figure), undefined);
    const later = [...before, ...polls(10_000 + SETTLE_MS, 20_000, 5, 10_000)];
    assert.equal(since(change, later, figure), 5000);
  });

  test('looks no further back than the mean of rates', () => {
    const samples = [...polls(0, 10_000, 100), ...polls(11_000, 11_000 + BEFORE_MS, 0, 1e6)];
    const change = thrown(samples, [figure], { from: 'on', to: 'off', atMs: 11_000 + BEFORE_MS });
    assert.equal(change.before.get(figure), 0);
  });

  for (const [before, after, text] of [
    [undefined, 1, ''],
    [5, 5, 'the same'],
    [0, 5, 'from nothing'],
    [100, 135, '+35 %'],
    [100, 50, '−50 %'],
    [10, 32, '3.2 times as much'],
    [10, 1000, '100 times as much'],
  ] as const)
    test(`from ${before} to ${after}: ${text}`, () => assert.equal(difference(before, after), text));

  test('figures have their units', () => {
    assert.equal(formatOf(figure)(1234), '1.23 k/s');
    assert.equal(formatOf({ ...figure, as: 'bytes' })(4096), '4 KiB');
    assert.equal(formatOf({ ...figure, as: 'level' })(7), '7');
  });
});

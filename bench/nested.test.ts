import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Sample } from './measure.ts';
import { nestedBounds, nestedFigures, nestedReport, type SideFigures } from './nested-report.ts';

function sample(workload: string, seconds: number, iterations = 1): Sample {
  return { workload, iterations, checksum: '0', seconds, wholeSeconds: seconds, cpuSeconds: 0 };
}

const boots = [sample('boot/linux', 2), sample('2/boot/linux', 5)];

describe('figures of two levels', () => {
  test("a speed is the first level's least time over the second's, a rate a median", () => {
    const figures = nestedFigures([
      ...boots,
      ...[sample('1/integer/mix', 3), sample('1/integer/mix', 2)],
      ...[sample('2/integer/mix', 9), sample('2/integer/mix', 4)],
      ...[sample('1/integer/crc32', 8), sample('2/integer/crc32', 1)],
      ...[sample('2/exits/null', 2, 100), sample('2/exits/null', 1, 100), sample('2/exits/null', 4, 100)],
    ]);
    assert.deepEqual(figures.workloads, { 'integer/mix': 0.5, 'integer/crc32': 8 });
    assert.equal(figures.speeds['integer']?.toFixed(6), '2.000000');
    assert.deepEqual(figures.rates, { null: 50 });
    assert.deepEqual(figures.boot, { first: 2, second: 5 });
    assert.match(nestedReport(new Map([['qemu', figures]])), /linux: level 2 over level 1 +2\.50\n/);
  });

  test('a workload that ran at one level only is an error', () => {
    assert.throws(() => nestedFigures([...boots, sample('1/integer/mix', 3)]), /2\/integer\/mix did not run/);
  });
});

describe('bounds of the second level', () => {
  const figures = (change: Partial<SideFigures> = {}): SideFigures => ({
    speeds: { integer: 0.97 },
    workloads: {},
    rates: { null: 100, timer: 100 },
    boot: { first: 1, second: 2 },
    ...change,
  });
  const broken = (ours: SideFigures, walks = figures({ boot: { first: 1, second: 9 } })): string[] =>
    nestedBounds(
      new Map([
        ['qemu', figures()],
        ['ours', ours],
        ['walks', walks],
      ]),
    )
      .filter(({ holds }) => !holds)
      .map(({ sentence }) => sentence.split(' ')[0] ?? '');

  test('hold at their limits', () => assert.deepEqual(broken(figures({ boot: { first: 1, second: 3 } })), []));
  test('break beyond them', () => {
    assert.deepEqual(broken(figures({ speeds: { integer: 0.949 } })), ['integer']);
    assert.deepEqual(broken(figures({ rates: { null: 99, timer: 100 } })), ['null']);
    assert.deepEqual(broken(figures({ rates: { null: 100, timer: 99 } })), ['timer']);
    assert.deepEqual(broken(figures({ boot: { first: 1, second: 3.1 } })), ['a']);
  });
  test('break where the switch changes nothing', () => assert.deepEqual(broken(figures(), figures()), ['without']));
  test('are none where our machine did not run', () =>
    assert.deepEqual(nestedBounds(new Map([['qemu', figures()]])), []));
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { clockEpoch, offsetNs, ticksSince } from './thread-clock.ts';

describe("a thread's clock", () => {
  /** Two clocks, the second 5 ms behind the first; a reading takes 100 ns, and some are interrupted for a while. */
  function clocks(interruptions: readonly number[]) {
    let time = 7_000_000;
    let readings = 0;
    const read = (): number => {
      time += 100 + (interruptions[readings++] ?? 0);
      return time;
    };
    return { ns: () => BigInt(read()), ms: () => (read() - 5_000_000) / 1e6, readings: () => readings };
  }
  const within = (found: bigint, ns: number): boolean => Math.abs(Number(found) - 5_000_000) <= ns;

  test('is set by one reading that is not interrupted', () => {
    const { ns, ms, readings } = clocks([]);
    assert.ok(within(offsetNs(ns, ms), 100));
    assert.equal(readings(), 3);
  });

  test('does not lag behind by an interruption between its readings', () => {
    for (const interruptions of [
      [0, 3_000_000],
      [0, 0, 3_000_000],
      [0, 40_000, 0, 0, 900_000, 0, 0, 0, 70_000],
    ]) {
      const { ns, ms } = clocks(interruptions);
      assert.ok(within(offsetNs(ns, ms), 1000), `${interruptions}`);
    }
  });

  test('takes the closest readings where all are interrupted, and comes to an end', () => {
    const always = Array.from({ length: 10_000 }, (_, i) => (i === 700 ? 0 : 30_000));
    const { ns, ms } = clocks(always);
    assert.ok(within(offsetNs(ns, ms), 31_000));
  });

  test('counts ticks of 100 ns from the epoch', () => {
    const ticks = ticksSince(clockEpoch() - 1_000_000_000n, { clockShiftMs: 0 });
    const [first, second] = [ticks(), ticks()];
    assert.ok(first >= 10_000_000 && second >= first);
  });
});

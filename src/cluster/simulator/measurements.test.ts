import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compareMethods, heartbeatTraffic, massFailover, standbySilence } from './measurements.ts';

describe('constant heartbeats', () => {
  test('traffic between hosts is the same with 1, 10, 100 and 1000 guests; direct ones grow', () => {
    const constant = [1, 10, 100, 1000].map((guests) => heartbeatTraffic(guests, 'constant', 5));
    for (const { packetsPerS, bytesPerS, toStandbys, packets } of constant) {
      assert.deepEqual([packetsPerS, bytesPerS, toStandbys], [24, 24 * 64, 0]);
      assert.deepEqual([packets.pull, packets.details, packets.direct], [0, 0, 0]);
    }
    const direct = [1, 10, 100].map((guests) => heartbeatTraffic(guests, 'direct', 5).packetsPerS);
    assert.deepEqual(direct, [28, 64, 424]);
  });

  test('a standby’s slave hears nothing while its active is well, and exactly the order to take over then', () => {
    const { before, orders, takeovers } = standbySilence(30);
    assert.equal(before, 0);
    assert.ok(takeovers > 0);
    assert.equal(orders, takeovers);
  });
});

describe('a thousand guests that fail over at once', () => {
  test('no limit is passed, nobody competes, the most urgent are in time', () => {
    const { failed, rows, violation, conflicts } = massFailover();
    assert.deepEqual([failed, violation, conflicts], [1000, undefined, 0]);
    assert.deepEqual(
      rows.map(({ late }) => late),
      [0, 0, 0],
    );
    const [first, second, third] = rows;
    assert.ok((first?.medianMs ?? 0) < (second?.medianMs ?? 0) && (second?.medianMs ?? 0) < (third?.medianMs ?? 0));
  });
});

describe('methods', () => {
  test('selected ones meet every need that all-hot meets, with a fraction of its memory; all-cold misses half', () => {
    const [hot, cold, selected] = (['hot', 'cold', 'selected'] as const).map((choice) => compareMethods(choice));
    assert.ok(hot && cold && selected);
    assert.deepEqual([hot.missed, selected.missed, hot.late, selected.late], [0, 0, 0, 0]);
    assert.ok(cold.missed > cold.guests / 3 && cold.late > 0);
    assert.ok(selected.memoryGib < hot.memoryGib / 5 && selected.cores < hot.cores / 2);
  });
});

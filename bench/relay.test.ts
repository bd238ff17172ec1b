import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type RelayRound, relayBounds, relayMarkdown, relayReport, type StormRound } from './relay-report.ts';

function round(relay: 'on' | 'off', change: Partial<RelayRound> = {}): RelayRound {
  return {
    ...{ functions: 16, mode: 'intx', relay, seconds: 2, rates: { disk: 1000, net: 50 }, interrupts: 400 },
    ...{ polls: relay === 'on' ? 0 : 12_800, isWhole: true, latencies: { disk: { half: 1.6, most99: 6.4 } } },
    ...change,
  };
}

function storm(relay: 'on' | 'off', change: Partial<StormRound> = {}): StormRound {
  return { relay, alone: 1000, beside: 500, asked: 100_000, given: 30_000, deferrals: 0, ...change };
}

const storms = [storm('on'), storm('off', { beside: 250 })];

const held = (...rounds: RelayRound[]): boolean[] => relayBounds({ rounds, storms: [] }).map(({ holds }) => holds);

describe('figures of the relay with a guest', () => {
  test('are medians of the rounds of each machine', () => {
    const rounds = [round('on'), round('on', { rates: { disk: 4000, net: 10 } }), round('on'), round('off')];
    const text = relayReport({ rounds, storms });
    assert.match(text, /^16 +intx +on +1000\/s +50 MiB\/s +200\/s +0\.0 +disk 1\.6, 6\.4$/m);
    assert.match(text, /^on +1000\/s +500\/s +0\.50 +100000\/s +30000\/s +0$/m);
    assert.match(text, /^16 +intx +off .* 32\.0 /m);
    assert.match(
      relayMarkdown({ rounds, storms }),
      /\| 16 \| intx \| off \| 1000\/s \| 50 MiB\/s \| {2}\| 200\/s \| 32\.0 \|/,
    );
  });

  test('keep their bounds', () => assert.deepEqual(held(round('on'), round('off')), [true, true, true]));

  test('break them where an interrupt is lost, where the relay polls, where the switch does nothing, where it is slow', () => {
    assert.deepEqual(held(round('on'), round('off', { isWhole: false })), [false, true, true]);
    assert.deepEqual(held(round('on', { polls: 1 }), round('off')), [true, false, true]);
    assert.deepEqual(held(round('on'), round('off', { polls: 0 })), [true, false, true]);
    assert.deepEqual(held(round('on', { rates: { disk: 890, net: 44 } }), round('off')), [true, true, false]);
  });

  test('break them where a storm holds another guest back, or costs more than on a plain wire', () => {
    const of = (...all: readonly StormRound[]) => relayBounds({ rounds: [], storms: all }).map(({ holds }) => holds);
    assert.deepEqual(of(...storms), [true, true, true]);
    assert.deepEqual(of(storm('on', { deferrals: 1 }), storm('off')), [true, false, true]);
    assert.deepEqual(of(storm('on', { beside: 400 }), storm('off')), [true, false, true]);
    assert.deepEqual(of(storm('on', { given: 100_000 }), storm('off')), [true, true, false]);
  });

  test('are compared with their like alone', () => {
    assert.deepEqual(held(round('on'), round('off', { mode: 'msix' })), [true]);
  });
});

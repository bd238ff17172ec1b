/** On threads of the host no interrupt is lost or doubled: some hundred thousand; test/long/interrupt-relay.ts sends millions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stress } from './relay-threads.testing.ts';

for (const { relay, threads, throttle } of [
  { relay: true, threads: 3 },
  { relay: false, threads: 2 },
  { relay: true, threads: 2, throttle: { most: 3, windowTicks: 500 } },
] as const) {
  test(`${threads} threads, ${relay ? 'relay' : 'plain wire'}${throttle ? ', throttled' : ''}: counted exactly`, async (t) => {
    const result = await stress({
      relay,
      threads,
      interrupts: 30_000,
      ...(throttle && { throttle }),
    });
    t.diagnostic(JSON.stringify(result));
    assert.equal(result.lost, 0);
    assert.equal(result.sent, threads * 30_000);
    assert.equal(result.done, result.sent, 'all work was done, none twice');
    assert.equal(
      result.delivered + result.merged,
      result.sent,
      'each interrupt was delivered once, or with an equal one',
    );
    assert.equal(result.dropped, 0);
    assert.equal(result.wrongLines, 0);
    assert.equal(result.polls === 0, relay, 'only a plain wire has functions polled');
    assert.equal(result.deferrals > 0, throttle !== undefined);
  });
}

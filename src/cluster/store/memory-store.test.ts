import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WatchEvent } from './cluster-store.ts';
import { MemoryState } from './memory-state.ts';
import { MemoryStore } from './memory-store.ts';
import { decode, HOST, LEASE, OWNER, PLAN, put, type RecordKind, SPEC } from './records.ts';
import { storeSuite } from './store-suite.testing.ts';

const timers = {
  after(delayMs: number, run: () => void) {
    const timer = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

storeSuite('memory', async () => {
  const store = new MemoryStore(timers);
  return { store, other: new MemoryStore(timers, store.state), close: async () => undefined };
});

test('a watch from a revision that is forgotten is lost', () => {
  const state = new MemoryState();
  for (let i = 0; i < 10_000; i += 1) state.commit({ compares: [], puts: [{ key: 'a/x', value: `${i}` }] });
  const events: WatchEvent[] = [];
  state.watch('a/', 5, (event) => events.push(event));
  assert.deepEqual(events, [{ kind: 'lost', reason: 'compacted' }]);
  state.watch('a/', 9_999, (event) => events.push(event));
  assert.equal(events.length, 2);
});

test('records of another shape are as good as not there', () => {
  const lease = { incarnation: 1, state: 'held', boot: 'b', renewal: 0, durationMs: 2500 } as const;
  assert.deepEqual(decode(LEASE, put(LEASE, 'a', lease).value), lease);
  const bad: [Pick<RecordKind<unknown>, 'prefix' | 'shape'>, string | undefined][] = [
    [LEASE, undefined],
    [LEASE, '{'],
    [LEASE, 'null'],
    [LEASE, '[]'],
    [LEASE, '{"incarnation":-1,"state":"held","boot":"b","renewal":0,"durationMs":2500}'],
    [LEASE, '{"incarnation":1,"state":"mine","boot":"b","renewal":0,"durationMs":2500}'],
    [OWNER, '{"host":"a","incarnation":1,"generation":1.5,"phase":"held"}'],
    [OWNER, '{"host":"a","incarnation":1,"generation":1,"phase":"held","sync":3}'],
    [HOST, '{"name":"a","incarnation":1,"state":"active","address":"","capacity":{"cores":1},"labels":{},"fences":0}'],
    [PLAN, '{"source":"a","term":1,"assignments":[{"guest":"g"}],"unplaced":{}}'],
    [SPEC, '{"name":"g","cores":1,"memoryBytes":1,"diskBytes":0,"requirements":{},"methods":[],"wanted":"running"}'],
  ];
  for (const [kind, value] of bad) assert.equal(decode<unknown>(kind, value), undefined, value ?? 'not there');
});

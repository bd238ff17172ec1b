/** What every store must do, whatever is behind it: run against each implementation. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ClusterStore, CommitOutcome, Query, ReadOutcome, Transaction, WatchEvent } from './cluster-store.ts';

const DEADLINE_MS = 5000;

/** `make`: a store with nothing in it, and a second connection to the same. */
export function storeSuite(
  name: string,
  make: () => Promise<{ store: ClusterStore; other: ClusterStore; close(): Promise<void> }>,
): void {
  describe(`store: ${name}`, () => {
    const withStore = (what: string, run: (store: ClusterStore, other: ClusterStore) => Promise<void>): void => {
      test(what, async () => {
        const { store, other, close } = await make();
        try {
          await run(store, other);
        } finally {
          await close();
        }
      });
    };

    withStore('an entry is created once, and read by all', async (store, other) => {
      const first = await commit(store, put('a/x', 'one', 0));
      assert.equal(first.kind, 'committed');
      assert.deepEqual(await commit(other, put('a/x', 'two', 0)), { kind: 'conflict' });
      const found = await read(other, { keys: ['a/x', 'a/none'] });
      assert.deepEqual(found.entries, [{ key: 'a/x', value: 'one', revision: revisionOf(first) }]);
      assert.ok(found.revision >= revisionOf(first));
    });

    withStore('a write compares the revision of the last one', async (store) => {
      const first = revisionOf(await commit(store, put('a/x', 'one', 0)));
      const second = revisionOf(await commit(store, put('a/x', 'two', first)));
      assert.ok(second > first);
      assert.deepEqual(await commit(store, put('a/x', 'three', first)), { kind: 'conflict' });
      assert.deepEqual((await read(store, { keys: ['a/x'] })).entries, [
        { key: 'a/x', value: 'two', revision: second },
      ]);
    });

    withStore('a transaction is done whole, under one revision, or not at all', async (store) => {
      const compares = [
        { key: 'a/x', revision: 0 },
        { key: 'b/y', revision: 0 },
      ];
      const puts = [
        { key: 'a/x', value: '1' },
        { key: 'b/y', value: '2' },
      ];
      const done = revisionOf(await commit(store, { compares, puts }));
      const { entries } = await read(store, { prefixes: ['a/', 'b/'] });
      assert.deepEqual(
        entries.map(({ revision }) => revision),
        [done, done],
      );
      const refused = {
        compares: [
          { key: 'a/x', revision: done },
          { key: 'b/y', revision: 0 },
        ],
        deletes: ['a/x', 'b/y'],
      };
      assert.deepEqual(await commit(store, refused), { kind: 'conflict' });
      assert.equal((await read(store, { prefixes: ['a/', 'b/'] })).entries.length, 2);
    });

    withStore('what is deleted is not there, and can be created again', async (store) => {
      const first = revisionOf(await commit(store, put('a/x', 'one', 0)));
      await commit(store, { compares: [{ key: 'a/x', revision: first }], deletes: ['a/x'] });
      assert.deepEqual((await read(store, { keys: ['a/x'] })).entries, []);
      assert.ok(revisionOf(await commit(store, put('a/x', 'again', 0))) > first);
    });

    withStore('a prefix names what starts with it, and nothing else', async (store) => {
      for (const key of ['a/1', 'a/2', 'ab/1', 'b/1', 'a']) await commit(store, put(key, key, 0));
      const keys = (await read(store, { prefixes: ['a/'], keys: ['b/1'] })).entries.map(({ key }) => key);
      assert.deepEqual(keys.sort(), ['a/1', 'a/2', 'b/1']);
    });

    withStore('of many who write at once, one succeeds', async (store, other) => {
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) => commit(i % 2 === 0 ? store : other, put('a/x', `${i}`, 0))),
      );
      assert.equal(outcomes.filter(({ kind }) => kind === 'committed').length, 1);
    });

    withStore('a watch tells every change after its revision, in order, from whoever made it', async (store, other) => {
      const before = revisionOf(await commit(store, put('a/x', '1', 0)));
      const events: WatchEvent[] = [];
      const heard = new Promise<void>((done) => {
        const watch = store.watch('a/', before - 1, (event) => {
          events.push(event);
          if (events.length < 4) return;
          watch.cancel();
          done();
        });
      });
      const second = revisionOf(await commit(other, put('a/x', '2', before)));
      await commit(other, put('b/x', 'not here', 0));
      const third = revisionOf(await commit(store, put('a/y', '3', 0)));
      const fourth = revisionOf(
        await commit(store, { compares: [{ key: 'a/x', revision: second }], deletes: ['a/x'] }),
      );
      await heard;
      assert.deepEqual(events, [
        { kind: 'change', key: 'a/x', value: '1', revision: before },
        { kind: 'change', key: 'a/x', value: '2', revision: second },
        { kind: 'change', key: 'a/y', value: '3', revision: third },
        { kind: 'change', key: 'a/x', value: undefined, revision: fourth },
      ]);
    });

    withStore('nothing answers within the call', async (store) => {
      let isIn = true;
      const answered = new Promise<void>((done) => {
        store.read({ keys: ['a'] }, DEADLINE_MS, () => {
          assert.ok(!isIn);
          done();
        });
      });
      isIn = false;
      await answered;
    });
  });
}

function put(key: string, value: string, revision: number): Transaction {
  return { compares: [{ key, revision }], puts: [{ key, value }] };
}

function commit(store: ClusterStore, transaction: Transaction): Promise<CommitOutcome> {
  return new Promise((done) => store.commit(transaction, DEADLINE_MS, done));
}

async function read(store: ClusterStore, query: Query): Promise<Extract<ReadOutcome, { kind: 'read' }>> {
  const outcome = await new Promise<ReadOutcome>((done) => store.read(query, DEADLINE_MS, done));
  if (outcome.kind === 'failed') assert.fail(outcome.reason);
  return outcome;
}

function revisionOf(outcome: CommitOutcome): number {
  if (outcome.kind !== 'committed') assert.fail(outcome.kind);
  return outcome.revision;
}

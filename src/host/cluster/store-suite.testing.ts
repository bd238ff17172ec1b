/** What any store of a cluster must do; run against each. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type {
  ClusterStore,
  CommitOutcome,
  Query,
  ReadOutcome,
  Transaction,
  WatchEvent,
} from '../../cluster/store/cluster-store.ts';

export const read = (store: ClusterStore, query: Query, deadlineMs = 5000): Promise<ReadOutcome> =>
  new Promise((done) => store.read(query, deadlineMs, done));
export const commit = (store: ClusterStore, transaction: Transaction, deadlineMs = 5000): Promise<CommitOutcome> =>
  new Promise((done) => store.commit(transaction, deadlineMs, done));

/** Keys and values of what is under the prefix. */
export async function listed(store: ClusterStore, prefix: string): Promise<Record<string, string>> {
  const outcome = await read(store, { prefixes: [prefix] });
  assert.equal(outcome.kind, 'read');
  return Object.fromEntries(outcome.kind === 'read' ? outcome.entries.map(({ key, value }) => [key, value]) : []);
}

/** Events of a watch as they come, and a wait for so many. */
export function watched(store: ClusterStore, prefix: string, revision: number) {
  const events: WatchEvent[] = [];
  let wake = (): void => undefined;
  const watch = store.watch(prefix, revision, (event) => {
    events.push(event);
    wake();
  });
  const count = async (wanted: number): Promise<WatchEvent[]> => {
    const limit = AbortSignal.timeout(10_000);
    while (events.length < wanted) {
      limit.throwIfAborted();
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, 100);
      });
    }
    return events.slice(0, wanted);
  };
  return { events, count, cancel: () => watch.cancel() };
}

/** `open` gives another client of the same store, each time. */
export function storeSuite(name: string, open: () => ClusterStore): void {
  describe(name, () => {
    test('a transaction is done if all compares hold, else nothing of it', async () => {
      const store = open();
      const first = await commit(store, {
        compares: [{ key: 'a/1', revision: 0 }],
        puts: [
          { key: 'a/1', value: 'one' },
          { key: 'a/2', value: '' },
        ],
      });
      assert.equal(first.kind, 'committed');
      const revision = first.kind === 'committed' ? first.revision : 0;
      const outcome = await read(store, { keys: ['a/1', 'a/3'], prefixes: ['a/2'] });
      assert.deepEqual(outcome, {
        kind: 'read',
        revision,
        entries: [
          { key: 'a/1', value: 'one', revision },
          { key: 'a/2', value: '', revision },
        ],
      });
      const refused = {
        compares: [
          { key: 'a/1', revision },
          { key: 'a/2', revision: 0 },
        ],
        puts: [{ key: 'a/1', value: 'x' }],
      };
      assert.deepEqual(await commit(store, refused), { kind: 'conflict' });
      assert.deepEqual(await listed(open(), 'a/'), { 'a/1': 'one', 'a/2': '' });
      const second = await commit(store, {
        compares: [{ key: 'a/1', revision }],
        puts: [{ key: 'a/1', value: 'ünï “two”' }],
        deletes: ['a/2', 'a/9'],
      });
      assert.ok(second.kind === 'committed' && second.revision > revision);
      assert.deepEqual(await listed(open(), 'a/'), { 'a/1': 'ünï “two”' });
    });

    test('of many that want the same key, one gets it each time', async () => {
      const stores = [open(), open(), open()];
      let increments = 0;
      await Promise.all(
        stores.map(async (store) => {
          for (let i = 0; i < 20; ) {
            const found = await read(store, { keys: ['counter'] });
            const [entry] = found.kind === 'read' ? found.entries : [];
            const value = String(Number(entry?.value ?? 0) + 1);
            const compares = [{ key: 'counter', revision: entry?.revision ?? 0 }];
            const outcome = await commit(store, { compares, puts: [{ key: 'counter', value }] });
            if (outcome.kind !== 'committed') continue;
            i += 1;
            increments += 1;
          }
        }),
      );
      assert.deepEqual(await listed(open(), 'counter'), { counter: String(increments) });
    });

    test('a watch tells every change behind its revision, in order, of its prefix alone', async () => {
      const [writer, reader] = [open(), open()];
      const put = (key: string, value: string) => commit(writer, { compares: [], puts: [{ key, value }] });
      const before = await put('w/a', '1');
      assert.ok(before.kind === 'committed');
      await put('w/b', '2');
      await put('wx', 'other');
      const { events, count, cancel } = watched(reader, 'w/', before.revision);
      await count(1);
      await put('w/a', '3');
      await commit(writer, { compares: [], deletes: ['w/b'] });
      await put('v', 'other');
      await put('w/c', '4');
      const seen = (await count(4)).map((event) => (event.kind === 'change' ? [event.key, event.value] : event));
      assert.deepEqual(seen, [
        ['w/b', '2'],
        ['w/a', '3'],
        ['w/b', undefined],
        ['w/c', '4'],
      ]);
      const revisions = events.map((event) => (event.kind === 'change' ? event.revision : 0));
      assert.deepEqual(
        revisions,
        [...revisions].sort((a, b) => a - b),
      );
      cancel();
      await put('w/d', '5');
      await listed(reader, 'w/');
      assert.equal(events.length, 4);
    });

    test('more keys than a request holds are read as of one revision', async () => {
      const store = open();
      const keys = Array.from({ length: 230 }, (_, i) => `many/${String(i).padStart(3, '0')}`);
      for (let i = 0; i < keys.length; i += 100)
        await commit(store, { compares: [], puts: keys.slice(i, i + 100).map((key) => ({ key, value: key })) });
      const outcome = await read(store, { keys });
      assert.ok(outcome.kind === 'read');
      assert.deepEqual(
        outcome.entries.map(({ key }) => key),
        keys,
      );
    });
  });
}

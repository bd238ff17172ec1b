/** What is asked of stores on this host beside the suite of the cluster (src/cluster/store), and words to ask it in. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ClusterStore, CommitOutcome, Query, ReadOutcome, Transaction, WatchEvent } from '../../cluster/index.ts';

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

/** All that is there under these first letters is gone. */
export async function emptied(store: ClusterStore): Promise<void> {
  const found = await read(store, { prefixes: [...'abcdefghijklmnopqrstuvwxyz'] });
  assert.ok(found.kind === 'read');
  const keys = found.entries.map(({ key }) => key);
  for (let i = 0; i < keys.length; i += 100) await commit(store, { compares: [], deletes: keys.slice(i, i + 100) });
}

/** `open` gives another client of the same store, each time. */
export function furtherSuite(name: string, open: () => ClusterStore): void {
  describe(name, () => {
    test('values are text of any kind, and may be empty', async () => {
      const store = open();
      const values = { 'text/1': 'ünï “two”\n\0', 'text/2': '' };
      await commit(store, { compares: [], puts: Object.entries(values).map(([key, value]) => ({ key, value })) });
      assert.deepEqual(await listed(open(), 'text/'), values);
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

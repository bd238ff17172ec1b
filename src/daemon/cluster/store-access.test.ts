/** Transactions and followers over a store that is slow, refuses, forgets to answer, or loses its watches. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  ClusterStore,
  CommitOutcome,
  Query,
  ReadOutcome,
  StoreEntry,
  Transaction,
  Watch,
  WatchEvent,
} from '../../cluster/index.ts';
import { readStore, transact } from './store-access.ts';
import { StoreMirror } from './store-mirror.ts';

/** Entries of one revision each; what happens to commits is said beforehand. */
class TestStore implements ClusterStore {
  readonly entries = new Map<string, StoreEntry>();
  readonly commits: ('committed' | 'conflict' | 'lost' | 'late')[] = [];
  readonly watchers = new Set<{ readonly prefix: string; readonly on: (event: WatchEvent) => void }>();
  isAway = false;
  revision = 1;

  put(key: string, value: string | undefined): void {
    this.revision += 1;
    const { revision } = this;
    if (value === undefined) this.entries.delete(key);
    else this.entries.set(key, { key, value, revision });
    for (const { prefix, on } of this.watchers)
      if (key.startsWith(prefix)) on({ kind: 'change', key, value, revision });
  }

  read({ keys = [], prefixes = [] }: Query, _: number, done: (outcome: ReadOutcome) => void): void {
    const isAsked = (key: string): boolean => keys.includes(key) || prefixes.some((prefix) => key.startsWith(prefix));
    const entries = [...this.entries.values()].filter(({ key }) => isAsked(key));
    const { revision } = this;
    setImmediate(() => done(this.isAway ? { kind: 'failed', reason: 'away' } : { kind: 'read', revision, entries }));
  }

  commit({ puts = [] }: Transaction, _: number, done: (outcome: CommitOutcome) => void): void {
    const fate = this.commits.shift() ?? 'committed';
    if (fate === 'committed' || fate === 'late') for (const { key, value } of puts) this.put(key, value);
    const { revision } = this;
    const answers = { committed: { kind: 'committed', revision }, conflict: { kind: 'conflict' } } as const;
    const answer =
      fate === 'committed' || fate === 'conflict' ? answers[fate] : ({ kind: 'unknown', reason: fate } as const);
    setImmediate(() => done(answer));
  }

  watch(prefix: string, _: number, on: (event: WatchEvent) => void): Watch {
    const watcher = { prefix, on };
    this.watchers.add(watcher);
    return { cancel: () => this.watchers.delete(watcher) };
  }

  lose(): void {
    for (const { on } of [...this.watchers]) on({ kind: 'lost', reason: 'its member left' });
  }
}

const wish = (entries: readonly StoreEntry[]): Transaction | undefined =>
  entries[0]?.value === 'mine' ? undefined : { compares: [], puts: [{ key: 'one', value: 'mine' }] };

test('a wish is fulfilled once, whatever is not known of a commit', async () => {
  for (const [fates, commits] of [
    [['committed'], 1],
    [['conflict', 'committed'], 2],
    [['lost', 'committed'], 2],
    [['late'], 1], // committed, and nobody said so
  ] as const) {
    const store = new TestStore();
    store.commits.push(...fates);
    let asked = 0;
    await transact(store, { keys: ['one'] }, (entries) => {
      const transaction = wish(entries);
      if (transaction !== undefined) asked += 1;
      return transaction;
    });
    assert.deepEqual([store.entries.get('one')?.value, asked], ['mine', commits], fates.join());
  }
});

test('a store that does not answer, or never takes it, is told of', async () => {
  const store = new TestStore();
  store.commits.push(...Array<'conflict'>(100).fill('conflict'));
  await assert.rejects(transact(store, { keys: ['one'] }, wish), { code: 'store-unreachable' });
  store.isAway = true;
  await assert.rejects(readStore(store, { keys: ['one'] }), { code: 'store-unreachable', message: /away/ });
  await assert.rejects(transact(store, { keys: ['one'] }, wish), { code: 'store-unreachable' });
});

test('a mirror hears of changes, shows what it knew while the store is away, and catches up behind that', async () => {
  const store = new TestStore();
  store.put('a/1', 'old');
  store.put('c/1', 'not asked for');
  const told: (string | undefined)[][] = [];
  using mirror = new StoreMirror(store, ['a/', 'b/'], (...change) => told.push(change));
  assert.equal(await mirror.until(() => mirror.isComplete, 1000), true);
  store.put('b/1', 'x');
  store.put('b/1', 'x'); // written again, and nothing is other than before
  assert.deepEqual(told.splice(0), [
    ['a/1', 'old', undefined],
    ['b/1', 'x', undefined],
  ]);
  assert.equal(mirror.get('b/1')?.revision, store.revision);
  store.isAway = true;
  store.lose();
  store.put('a/1', undefined);
  store.put('b/1', 'y');
  assert.equal(mirror.problem, 'its member left');
  assert.equal(mirror.get('a/1')?.value, 'old');
  store.isAway = false;
  assert.equal(await mirror.until(() => mirror.problem === undefined, 5000), true);
  assert.deepEqual(told, [
    ['a/1', undefined, 'old'],
    ['b/1', 'y', 'x'],
  ]);
  assert.equal(store.watchers.size, 2);
  const left = new AbortController();
  const waiting = mirror.until(() => false, 60_000, left.signal);
  left.abort();
  assert.equal(await waiting, false);
});

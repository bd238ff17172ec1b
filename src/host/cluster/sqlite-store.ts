/**
 * The cluster's store of a single host, in a file: for a cluster of one, which several processes of the host may use at
 * once. SQLite's transactions are the compare-and-swap; others' changes are found by a counter of the database that any
 * commit moves.
 */
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
import { type DatabaseKind, OwnDatabase } from '../sqlite/index.ts';

/** Changes that are kept for watches that start from an earlier revision. */
const KEPT_CHANGES = 10_000;
const LOOK_MS = 50;

const TABLES = `
  CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE changes (id INTEGER PRIMARY KEY AUTOINCREMENT, revision INTEGER NOT NULL, key TEXT NOT NULL, value TEXT) STRICT;
  CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL, forgotten INTEGER NOT NULL) STRICT;
  INSERT INTO state VALUES (1, 0, 0);`;

const code = 'bad-store';
const STORE: DatabaseKind = {
  application: 0x4b474353, // 'KGCS'
  migrations: [TABLES],
  busyMs: 1000,
  refusals: {
    damaged: { code, fix: 'Restore it from a copy, or name another file.' },
    newer: { code, fix: 'Use the kage that made it.' },
    foreign: { code, fix: 'Name another file.' },
    closed: { code, fix: 'See that you may write to it, or name another file.' },
  },
  failure: code,
};

interface Watcher {
  readonly prefix: string;
  revision: number;
  readonly on: (event: WatchEvent) => void;
}

export class SqliteStore implements ClusterStore {
  readonly #database: OwnDatabase;
  readonly #watchers = new Set<Watcher>();
  #timer: NodeJS.Timeout | undefined;
  #seenVersion = -1;
  #isClosed = false;

  /** Makes the file if it is not there. Throws OperatorError `bad-store`: not ours, newer, or damaged; it stays as it is. */
  constructor(file: string) {
    this.#database = new OwnDatabase(file, STORE);
  }

  read(query: Query, _deadlineMs: number, done: (outcome: ReadOutcome) => void): void {
    this.#answer(
      done,
      () => this.#database.together(() => this.#read(query), 'read'),
      (reason): ReadOutcome => ({ kind: 'failed', reason }),
    );
  }

  commit(transaction: Transaction, _deadlineMs: number, done: (outcome: CommitOutcome) => void): void {
    this.#answer(
      done,
      () => this.#database.together(() => this.#commit(transaction)),
      (reason): CommitOutcome => ({ kind: 'unknown', reason }),
    );
  }

  watch(prefix: string, revision: number, on: (event: WatchEvent) => void): Watch {
    const watcher: Watcher = { prefix, revision, on };
    this.#watchers.add(watcher);
    this.#seenVersion = -1;
    setImmediate(() => this.#look());
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS);
    return {
      cancel: () => {
        this.#watchers.delete(watcher);
        if (this.#watchers.size > 0) return;
        clearInterval(this.#timer);
        this.#timer = undefined;
      },
    };
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    for (const watcher of [...this.#watchers]) this.#lose(watcher, 'closed');
    this.#database.close();
  }

  #answer<T>(done: (outcome: T) => void, work: () => T, failure: (reason: string) => T): void {
    setImmediate(() => {
      let outcome: T;
      try {
        outcome = work();
      } catch (error) {
        outcome = failure(error instanceof Error ? error.message : String(error));
      }
      done(outcome);
      this.#look();
    });
  }

  #read({ keys = [], prefixes = [] }: Query): ReadOutcome {
    const entries = [
      ...keys.flatMap((key) => this.#database.all('SELECT key, value, revision FROM entries WHERE key = ?', key)),
      ...prefixes.flatMap((prefix) =>
        this.#database.all(
          'SELECT key, value, revision FROM entries WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 ORDER BY key',
          prefix,
        ),
      ),
    ] as unknown as StoreEntry[];
    return { kind: 'read', revision: this.#revision, entries: entries.map((entry) => ({ ...entry })) };
  }

  #commit({ compares, puts = [], deletes = [] }: Transaction): CommitOutcome {
    for (const { key, revision } of compares) {
      const [found] = this.#database.all('SELECT revision FROM entries WHERE key = ?', key);
      if ((found?.['revision'] ?? 0) !== revision) return { kind: 'conflict' };
    }
    if (puts.length + deletes.length === 0) return { kind: 'committed', revision: this.#revision };
    const revision = this.#revision + 1;
    this.#database.run('UPDATE state SET revision = ?', revision);
    for (const { key, value } of puts) {
      this.#database.run('INSERT OR REPLACE INTO entries VALUES (?, ?, ?)', key, value, revision);
      this.#database.run('INSERT INTO changes (revision, key, value) VALUES (?, ?, ?)', revision, key, value);
    }
    for (const key of deletes) {
      const { changes } = this.#database.run('DELETE FROM entries WHERE key = ?', key);
      if (changes > 0)
        this.#database.run('INSERT INTO changes (revision, key, value) VALUES (?, ?, NULL)', revision, key);
    }
    if (revision % 1000 === 0) this.#forget();
    return { kind: 'committed', revision };
  }

  /** Within a transaction. */
  #forget(): void {
    const [last] = this.#database.all(
      'SELECT id, revision FROM changes ORDER BY id DESC LIMIT 1 OFFSET ?',
      KEPT_CHANGES,
    );
    if (last === undefined) return;
    this.#database.run('DELETE FROM changes WHERE revision <= ?', last['revision'] as number);
    this.#database.run('UPDATE state SET forgotten = ?', last['revision'] as number);
  }

  #look(): void {
    if (this.#isClosed || this.#watchers.size === 0) return;
    try {
      const version = this.#dataVersion;
      if (version === this.#seenVersion) return;
      this.#seenVersion = version;
      for (const watcher of [...this.#watchers]) this.#tell(watcher);
    } catch (error) {
      for (const watcher of [...this.#watchers])
        this.#lose(watcher, error instanceof Error ? error.message : String(error));
    }
  }

  #tell(watcher: Watcher): void {
    const [state] = this.#database.all('SELECT revision, forgotten FROM state');
    if (watcher.revision < (state?.['forgotten'] as number)) {
      this.#lose(watcher, 'compacted');
      return;
    }
    const changes = this.#database.all(
      'SELECT revision, key, value FROM changes WHERE revision > ?1 AND substr(key, 1, length(?2)) = ?2 ORDER BY id',
      watcher.revision,
      watcher.prefix,
    );
    watcher.revision = Math.max(watcher.revision, state?.['revision'] as number);
    for (const { revision, key, value } of changes) {
      if (!this.#watchers.has(watcher)) return;
      watcher.on({
        ...{ kind: 'change', key: key as string, revision: revision as number },
        value: value === null ? undefined : (value as string),
      });
    }
  }

  #lose(watcher: Watcher, reason: string): void {
    if (this.#watchers.delete(watcher)) watcher.on({ kind: 'lost', reason });
  }

  /** Moves with every commit: others' by SQLite's own counter, ours by the revision. */
  get #dataVersion(): number {
    const [{ data_version: version } = {}] = this.#database.all('PRAGMA data_version');
    return (version as number) * 2 ** 32 + this.#revision;
  }

  get #revision(): number {
    return this.#database.all('SELECT revision FROM state')[0]?.['revision'] as number;
  }
}

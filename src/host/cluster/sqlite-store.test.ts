import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, test } from 'node:test';
import { storeSuite } from '../../cluster/store/store-suite.testing.ts';
import { SqliteStore } from './sqlite-store.ts';
import { commit, furtherSuite, listed, watched } from './store-suite.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-store-'));
const opened: SqliteStore[] = [];
const open = (file: string): SqliteStore => {
  const store = new SqliteStore(join(folder, file));
  opened.push(store);
  return store;
};
after(() => {
  for (const store of opened) store.close();
  rmSync(folder, { recursive: true, force: true });
});

let suites = 0;
storeSuite('SQLite', async () => {
  const file = `suite${suites++}`;
  return { store: open(file), other: open(file), close: async () => undefined };
});
furtherSuite('SQLite', () => open('further'));

describe('a file', () => {
  test('keeps what was committed', async () => {
    const store = new SqliteStore(join(folder, 'kept'));
    await commit(store, { compares: [], puts: [{ key: 'k', value: 'v' }] });
    store.close();
    assert.deepEqual(await listed(open('kept'), ''), { k: 'v' });
  });

  test('of somebody else, of a later version, or damaged is refused and not touched', () => {
    const refused = (name: string, what: RegExp) => {
      const file = join(folder, name);
      const before = readFileSync(file);
      assert.throws(() => new SqliteStore(file), { code: 'bad-store', message: what });
      assert.ok(readFileSync(file).equals(before));
    };
    const other = new DatabaseSync(join(folder, 'other'));
    other.exec('CREATE TABLE t (x)');
    other.close();
    refused('other', /another program/);
    const later = new SqliteStore(join(folder, 'later'));
    later.close();
    const changed = new DatabaseSync(join(folder, 'later'));
    changed.exec('PRAGMA user_version = 9');
    changed.close();
    refused('later', /version 9/);
    writeFileSync(join(folder, 'damaged'), 'SQLite format 3\0'.padEnd(8192, 'x'));
    refused('damaged', /damaged/);
  });

  test('forgets old changes: a watch from before them is lost, and says so', async () => {
    const store = open('long');
    for (let i = 0; i < 2000; i++)
      await commit(store, {
        compares: [],
        puts: [0, 1, 2, 3, 4, 5, 6, 7].map((n) => ({ key: `k${n}`, value: `${i}` })),
      });
    const { count } = watched(store, 'k', 0);
    assert.deepEqual(await count(1), [{ kind: 'lost', reason: 'compacted' }]);
  });
});

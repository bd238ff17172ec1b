/** Files of ours: made, brought forward, refused. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { type DatabaseKind, OwnDatabase } from './own-database.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-own-database-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;
const fresh = (): string => join(folder, `${count++}.db`);

const fix = 'a way out';
const first: DatabaseKind = {
  ...{ application: 0x74657374, busyMs: 5000, failure: 'failed' },
  migrations: ['CREATE TABLE things (name TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT'],
  refusals: {
    damaged: { code: 'is-damaged', fix },
    newer: { code: 'is-newer', fix },
    foreign: { code: 'is-foreign', fix },
    closed: { code: 'is-closed', fix },
  },
};
const second: DatabaseKind = {
  ...first,
  migrations: [...first.migrations, `ALTER TABLE things ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'`],
};

function withOne(file: string, kind = first): string {
  const database = new OwnDatabase(file, kind);
  database.run('INSERT INTO things (name, count) VALUES (?, ?)', 'one', 1);
  database.close();
  return file;
}

/** What is refused stays as it is. */
function refuses(file: string, code: string, kind = first): void {
  const before = readFileSync(file);
  assert.throws(() => new OwnDatabase(file, kind), { code, fix });
  assert.ok(readFileSync(file).equals(before));
}

test('a new one is for this user alone, says whose it is, and keeps what it was told', () => {
  const file = withOne(fresh());
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const database = new OwnDatabase(file, first);
  assert.deepEqual(
    database.all('SELECT * FROM things').map((row) => ({ ...row })),
    [{ name: 'one', count: 1 }],
  );
  assert.deepEqual({ ...database.all('PRAGMA application_id')[0] }, { application_id: 0x74657374 });
  database.close();
  database.close();
});

test('an older one is brought forward, by whoever comes first; an empty file is as good as none', () => {
  const file = withOne(fresh());
  const [one, other] = [new OwnDatabase(file, second), new OwnDatabase(file, second)];
  for (const database of [one, other]) {
    assert.equal(database.all('SELECT colour FROM things')[0]?.['colour'], 'red');
    database.close();
  }
  const empty = fresh();
  writeFileSync(empty, '');
  withOne(empty, second);
});

test('a step that fails leaves the file at the version that it had', () => {
  const file = withOne(fresh());
  const broken = { ...first, migrations: [...first.migrations, 'CREATE TABLE more (x); CREATE TABLE things (y)'] };
  assert.throws(() => new OwnDatabase(file, broken), { code: 'failed' });
  const database = new OwnDatabase(file, second);
  assert.deepEqual(database.all(`SELECT name FROM sqlite_schema WHERE name = 'more'`), []);
  database.close();
});

test('of another program, of a later version, damaged, cut off, closed: refused, and left alone', () => {
  const foreign = fresh();
  const other = new DatabaseSync(foreign);
  other.exec('CREATE TABLE theirs (x); PRAGMA user_version = 9');
  other.close();
  refuses(foreign, 'is-foreign');
  refuses(withOne(fresh(), second), 'is-newer');
  const text = fresh();
  writeFileSync(text, 'this is no database, and long enough to be one '.repeat(100));
  refuses(text, 'is-damaged');
  const cut = withOne(fresh());
  truncateSync(cut, 5000);
  refuses(cut, 'is-damaged');
  const spoiled = withOne(fresh());
  writeFileSync(spoiled, readFileSync(spoiled).fill(0xa5, 4096, 8192));
  refuses(spoiled, 'is-damaged');
  assert.throws(() => new OwnDatabase(join(folder, 'none', 'a.db'), first), { code: 'is-closed' });
  assert.equal(readdirSync(folder).includes('none'), false);
});

test('changes belong together or are not made, those within others too', () => {
  const database = new OwnDatabase(withOne(fresh()), first);
  const add = (name: string) => database.run('INSERT INTO things VALUES (?, 2)', name);
  assert.throws(
    () =>
      database.together(() => {
        add('two');
        database.together(() => add('three'));
        add('one');
      }),
    { code: 'failed', message: /UNIQUE/ },
  );
  assert.equal(
    database.together(() => database.all('SELECT * FROM things').length, 'read'),
    1,
  );
  assert.deepEqual(
    database.together(() => add('two')),
    { changes: 1, lastRow: 2 },
  );
  database.close();
});

test('it is made, and written, by several at once', async () => {
  const file = fresh();
  const code = `
    const { workerData } = require('node:worker_threads');
    import(workerData.module).then(({ OwnDatabase }) => {
      const database = new OwnDatabase(workerData.file, workerData.kind);
      for (let i = 0; i < 25; i++)
        database.run('INSERT INTO things (name, count) VALUES (?, ?)', workerData.name + i, i);
      database.close();
    });`;
  await Promise.all(
    ['a', 'b', 'c', 'd'].map(async (name) => {
      const module = new URL('./own-database.ts', import.meta.url).href;
      const worker = new Worker(code, { eval: true, workerData: { module, file, kind: second, name } });
      await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    }),
  );
  const database = new OwnDatabase(file, second);
  assert.equal(database.all('SELECT * FROM things').length, 100);
  database.close();
});

test('what fails while it is in use is told in the same words', () => {
  const database = new OwnDatabase(withOne(fresh()), first);
  assert.throws(() => database.all('SELECT * FROM nowhere'), { code: 'failed', message: /no such table/ });
  database.close();
});

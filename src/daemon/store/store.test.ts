import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, describe, test } from 'node:test';
import { STATE_VERSION } from './database.ts';
import { stateFolder } from './state-folder.ts';
import { Store } from './store.ts';

const root = mkdtempSync(join(tmpdir(), 'kagemusha-store-'));
after(() => rmSync(root, { recursive: true, force: true }));
let number = 0;

function folder(): string {
  const path = join(root, String(number++));
  mkdirSync(path);
  return path;
}

const given = { spec: { kernel: '/k', cpus: 2 }, policy: { name: 'always' }, removeAtEnd: false } as const;

describe('declarations', () => {
  test('are kept as they were given, over an end of the process', () => {
    const path = folder();
    {
      using store = new Store(path);
      store.create({ name: 'web', ...given });
      store.update('web', { pid: 4711, startedAt: '2026-01-01T00:00:00.000Z', restarts: 3, wanted: 'running' });
      store.update('web', { exit: { reason: 'lost', code: 137, at: '2026-01-01T00:00:00.000Z' }, pid: undefined });
    }
    using store = new Store(path);
    const { createdAt, ...rest } = store.get('web') ?? { createdAt: '' };
    assert.ok(Date.parse(createdAt) > 0);
    assert.deepEqual(rest, {
      ...{ name: 'web', ...given, wanted: 'running', restarts: 3, failures: 0, pid: undefined },
      startedAt: '2026-01-01T00:00:00.000Z',
      exit: { reason: 'lost', code: 137, at: '2026-01-01T00:00:00.000Z' },
    });
    assert.equal(statSync(join(path, 'state.db')).mode & 0o777, 0o600);
  });

  test('have names of their own', () => {
    using store = new Store(folder());
    store.create({ name: 'web', ...given });
    assert.throws(() => store.create({ name: 'web', ...given }), { code: 'name-in-use' });
    assert.equal(store.remove('web'), true);
    assert.equal(store.remove('web'), false);
    assert.equal(store.get('web'), undefined);
  });

  test('of a change that is broken off nothing stays', () => {
    using store = new Store(folder());
    assert.throws(() =>
      store.together(() => {
        store.create({ name: 'web', ...given });
        throw new Error('broken off');
      }),
    );
    assert.deepEqual(store.list(), []);
  });

  test('that nobody can read are told of, and can be removed', () => {
    const path = folder();
    using store = new Store(path);
    store.create({ name: 'web', ...given });
    const other = new DatabaseSync(join(path, 'state.db'));
    other.exec(`UPDATE partitions SET spec = '{"kernel":7}'`);
    other.close();
    assert.throws(() => store.list(), /a declaration of web that cannot be read/);
    assert.equal(store.remove('web'), true);
  });
});

describe('events', () => {
  test('are told, kept, asked for behind a number and of a partition', () => {
    using store = new Store(folder());
    const told: string[] = [];
    const remove = store.onEvent(({ kind }) => told.push(kind));
    store.add('created', 'web');
    store.add('started', 'web', { pid: 1 });
    store.add('created', 'other');
    store.tell({ id: 0, at: '2026-01-01T00:00:00.000Z', kind: 'path', partition: 'web', detail: {} });
    remove();
    store.add('ended', 'web');
    assert.deepEqual(told, ['created', 'started', 'created', 'path']);
    assert.deepEqual(
      store.events({ partition: 'web', since: 1 }).map(({ id, kind, detail }) => [id, kind, detail]),
      [
        [2, 'started', { pid: 1 }],
        [4, 'ended', undefined],
      ],
    );
    assert.deepEqual(
      store.events({ most: 1 }).map(({ id }) => id),
      [4],
    );
  });

  test('are bounded: the oldest go, and numbers go on', () => {
    using store = new Store(folder());
    store.together(() => {
      for (let i = 0; i < 10_600; i++) store.add('started', 'web');
    });
    const all = store.events({ most: 20_000 });
    assert.ok(all.length >= 10_000 && all.length < 10_300, String(all.length));
    assert.equal(all.at(-1)?.id, 10_600);
  });
});

describe('the file', () => {
  /** What is refused is left as it is. */
  function refuses(path: string, code: string): void {
    const file = join(path, 'state.db');
    const before = readFileSync(file);
    assert.throws(() => new Store(path), { code });
    assert.deepEqual(readFileSync(file), before);
  }

  test('that is something else, damaged or cut off is refused, and not touched', () => {
    for (const [what, spoil, code] of [
      [
        'text',
        (file: string) => writeFileSync(file, 'this is no database, and long enough to be one '.repeat(100)),
        'state-damaged',
      ],
      ['cut off', (file: string) => truncateSync(file, 5000), 'state-damaged'],
      [
        'other pages',
        (file: string) => writeFileSync(file, readFileSync(file).fill(0xa5, 4096, 8192)),
        'state-damaged',
      ],
    ] as const) {
      const path = folder();
      new Store(path)[Symbol.dispose]();
      spoil(join(path, 'state.db'));
      refuses(path, code);
      assert.ok(what);
    }
  });

  test('of another program is refused', () => {
    const path = folder();
    const other = new DatabaseSync(join(path, 'state.db'));
    other.exec('CREATE TABLE theirs (x); PRAGMA user_version = 1');
    other.close();
    refuses(path, 'state-not-ours');
  });

  test('of a later version is refused, an earlier one is brought forward', () => {
    const path = folder();
    new Store(path)[Symbol.dispose]();
    const file = join(path, 'state.db');
    const later = new DatabaseSync(file);
    later.exec(`PRAGMA user_version = ${STATE_VERSION + 1}`);
    later.close();
    refuses(path, 'state-newer');

    const empty = folder();
    writeFileSync(join(empty, 'state.db'), ''); // version 0: nothing yet
    using store = new Store(empty);
    store.create({ name: 'web', ...given });
    assert.equal(store.list().length, 1);
  });
});

test('the folder is for this user alone, or it is refused', () => {
  const home = join(root, 'home');
  mkdirSync(join(home, 'kagemusha'), { recursive: true, mode: 0o755 });
  assert.throws(() => stateFolder({ XDG_STATE_HOME: home }), { code: 'state-folder-unsafe' });
  const path = stateFolder({ XDG_STATE_HOME: join(root, 'fresh') });
  assert.equal(statSync(path).mode & 0o777, 0o700);
});

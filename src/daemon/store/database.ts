/**
 * The file of declarations: SQLite, embedded in Node, with a write-ahead log, so that `kage` and its daemon read while one of
 * them writes. Its version is `user_version`; what is older is brought forward, step by step, in one transaction. A file that
 * is not ours, damaged or of a later version is refused before anything is written to it.
 */
import { chmodSync, existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { HostError, OperatorError } from '../../base/errors.ts';

/** 'kage' (https://sqlite.org/fileformat.html, "Application ID"). */
const APPLICATION = 0x6b616765;
/** How long one process waits for another's write. */
const BUSY_MS = 10_000;

/** Each brings a file of the version before to the next one: never edited, only added to. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE partitions (
     name TEXT PRIMARY KEY,
     spec TEXT NOT NULL,
     policy TEXT NOT NULL,
     remove_at_end INTEGER NOT NULL,
     wanted TEXT NOT NULL CHECK (wanted IN ('running', 'stopped')),
     restarts INTEGER NOT NULL DEFAULT 0,
     failures INTEGER NOT NULL DEFAULT 0,
     created_at TEXT NOT NULL,
     started_at TEXT,
     pid INTEGER,
     exit TEXT
   ) STRICT;
   CREATE TABLE events (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     at TEXT NOT NULL,
     kind TEXT NOT NULL,
     partition TEXT,
     detail TEXT
   ) STRICT;
   CREATE INDEX events_of_partition ON events (partition, id);`,
];
export const STATE_VERSION = MIGRATIONS.length;

/** Errors: `state-damaged`, `state-newer`, `state-not-ours`, `state-folder`. */
export function openDatabase(file: string): DatabaseSync {
  const isThere = existsSync(file);
  if (isThere) check(file);
  const database = guarded(file, () => new DatabaseSync(file, { timeout: BUSY_MS }));
  try {
    if (!isThere) chmodSync(file, 0o600);
    guarded(file, () => {
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON');
      migrate(database, file);
    });
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** By reading alone. */
function check(file: string): void {
  guarded(file, () => {
    const database = new DatabaseSync(file, { readOnly: true, timeout: BUSY_MS });
    try {
      const { quick_check: verdict } = database.prepare('PRAGMA quick_check(1)').get() as { quick_check: unknown };
      if (verdict !== 'ok') throw damaged(file, String(verdict));
      const version = pragma(database, 'user_version');
      if (version > STATE_VERSION) throw newer(file, version);
      const tables = database.prepare('SELECT count(*) AS count FROM sqlite_schema').get() as { count: number };
      if (pragma(database, 'application_id') !== APPLICATION && tables.count > 0)
        throw new OperatorError('state-not-ours', `${file} is a database of something else`, 'Move it away');
    } finally {
      database.close();
    }
  });
}

/** Another process may be at it, too: who comes second finds it done. */
function migrate(database: DatabaseSync, file: string): void {
  if (pragma(database, 'user_version') === STATE_VERSION) return;
  database.exec('BEGIN IMMEDIATE');
  try {
    const version = pragma(database, 'user_version');
    if (version > STATE_VERSION) throw newer(file, version);
    for (const step of MIGRATIONS.slice(version)) database.exec(step);
    database.exec(`PRAGMA application_id = ${APPLICATION}; PRAGMA user_version = ${STATE_VERSION}; COMMIT`);
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

function pragma(database: DatabaseSync, name: 'user_version' | 'application_id'): number {
  return (database.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[name] ?? 0;
}

/** What SQLite says of the file, in our words. */
export function guarded<T>(file: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof Error && 'errcode' in error)) throw error;
    const code = Number(error.errcode) & 0xff;
    if (code === SQLITE.corrupt || code === SQLITE.notADatabase) throw damaged(file, error.message, error);
    if (code === SQLITE.cannotOpen || code === SQLITE.readOnly || code === SQLITE.permission)
      throw new OperatorError(
        'state-folder',
        `${file} cannot be opened: ${error.message}`,
        'See that you may write to it, or set XDG_STATE_HOME to another folder',
        { cause: error },
      );
    throw new HostError('state', `${file}: ${error.message}`, { cause: error });
  }
}

/** https://sqlite.org/rescode.html */
const SQLITE = { permission: 3, readOnly: 8, corrupt: 11, cannotOpen: 14, notADatabase: 26 } as const;

function damaged(file: string, what: string, cause?: unknown): OperatorError {
  const fix = 'Restore it from a copy, or move it away: partitions that run go on, and are found by their sockets';
  return new OperatorError('state-damaged', `${file} is damaged: ${what}`, fix, { cause });
}

function newer(file: string, version: number): OperatorError {
  const message = `${file} was written by a later kage (version ${version} of it; this one knows ${STATE_VERSION})`;
  return new OperatorError('state-newer', message, 'Use that one, or set XDG_STATE_HOME to another folder');
}

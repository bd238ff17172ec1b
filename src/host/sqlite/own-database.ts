/**
 * A file of ours in SQLite, embedded in Node, with a write-ahead log, so that some read while one writes. It says whose it is
 * (`application_id`) and of which version (`user_version`); what is older is brought forward, step by step, in one transaction. A file
 * that is not ours, damaged, or of a later version is refused before anything is written to it.
 */
import { chmodSync, existsSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { HostError, OperatorError } from '../../base/errors.ts';

const BUSY_STEP_MS = 5;

export interface DatabaseKind {
  /** Four letters (https://sqlite.org/fileformat.html, "Application ID"). */
  readonly application: number;
  /** Each brings a file of the version before to the next one: never edited, only added to. */
  readonly migrations: readonly string[];
  /** How long one process waits for another's write. */
  readonly busyMs: number;
  /** What an operator is told of a file that cannot be used: the code, and a way out. */
  readonly refusals: Readonly<Record<'damaged' | 'newer' | 'foreign' | 'closed', Refusal>>;
  /** The code of a HostError, for everything else. */
  readonly failure: string;
}

interface Refusal {
  readonly code: string;
  readonly fix: string;
}

export type Value = string | number | null;
export type Row = Record<string, unknown>;

export class OwnDatabase {
  readonly file: string;
  readonly #kind: DatabaseKind;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** Makes the file, for this user alone, where it is missing. Errors: the kind's. */
  constructor(file: string, kind: DatabaseKind) {
    this.file = file;
    this.#kind = kind;
    const isThere = existsSync(file);
    if (isThere) guarded(file, kind, () => patiently(kind, () => check(file, kind)));
    this.#database = guarded(file, kind, () => openFile(file, kind, false));
    try {
      if (!isThere) chmodSync(file, 0o600);
      guarded(file, kind, () => patiently(kind, () => begin(this.#database, file, kind)));
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  all(sql: string, ...values: readonly Value[]): Row[] {
    return this.#statement(sql, (one) => one.all(...values) as Row[]);
  }

  run(sql: string, ...values: readonly Value[]): { readonly changes: number; readonly lastRow: number } {
    return this.#statement(sql, (one) => {
      const { changes, lastInsertRowid } = one.run(...values);
      return { changes: Number(changes), lastRow: Number(lastInsertRowid) };
    });
  }

  /** One change of several, whole or not at all; within another it is a part of that. `read`: nothing is written. */
  together<T>(body: () => T, use: 'read' | 'write' = 'write'): T {
    if (this.#database.isTransaction) return body();
    guarded(this.file, this.#kind, () => this.#database.exec(use === 'read' ? 'BEGIN' : 'BEGIN IMMEDIATE'));
    try {
      const result = body();
      guarded(this.file, this.#kind, () => this.#database.exec('COMMIT'));
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  #statement<T>(sql: string, use: (statement: StatementSync) => T): T {
    return guarded(this.file, this.#kind, () => {
      const statement = this.#statements.get(sql) ?? this.#database.prepare(sql);
      this.#statements.set(sql, statement);
      return use(statement);
    });
  }
}

/** Node's SQLite is loaded when there is a file to open: not everybody who loads this room has one. */
function openFile(file: string, { busyMs }: DatabaseKind, readOnly: boolean): DatabaseSync {
  const { DatabaseSync: Database } = process.getBuiltinModule('node:sqlite');
  return new Database(file, { readOnly, timeout: busyMs });
}

/** SQLite does not wait where a file that others open, too, is given its log: it says at once that it is busy. */
function patiently<T>(kind: DatabaseKind, body: () => T): T {
  const until = performance.now() + kind.busyMs;
  for (;;) {
    try {
      return body();
    } catch (error) {
      if (errorNumber(error) !== SQLITE.busy || performance.now() > until) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_STEP_MS);
    }
  }
}

/** By reading alone. */
function check(file: string, kind: DatabaseKind): void {
  const database = openFile(file, kind, true);
  try {
    const { quick_check: verdict } = database.prepare('PRAGMA quick_check(1)').get() as { quick_check: unknown };
    if (verdict !== 'ok') throw refusal(kind, 'damaged', `${file} is damaged: ${String(verdict)}`);
    const tables = database.prepare('SELECT count(*) AS count FROM sqlite_schema').get() as { count: number };
    if (pragma(database, 'application_id') !== kind.application && tables.count > 0)
      throw refusal(kind, 'foreign', `${file} is a database of another program`);
    refuseLater(file, kind, pragma(database, 'user_version'));
  } finally {
    database.close();
  }
}

/** Another process may be at it, too: who comes second finds it done. */
function begin(database: DatabaseSync, file: string, kind: DatabaseKind): void {
  const { application, migrations } = kind;
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON');
  if (pragma(database, 'user_version') === migrations.length) return;
  database.exec('BEGIN IMMEDIATE');
  try {
    const version = pragma(database, 'user_version');
    refuseLater(file, kind, version);
    for (const step of migrations.slice(version)) database.exec(step);
    database.exec(`PRAGMA application_id = ${application}; PRAGMA user_version = ${migrations.length}; COMMIT`);
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

function pragma(database: DatabaseSync, name: 'user_version' | 'application_id'): number {
  return (database.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[name] ?? 0;
}

/** What SQLite says of the file, in our words. */
function guarded<T>(file: string, kind: DatabaseKind, body: () => T): T {
  try {
    return body();
  } catch (error) {
    const code = errorNumber(error);
    if (code === undefined || !(error instanceof Error)) throw error;
    if (code === SQLITE.corrupt || code === SQLITE.notADatabase)
      throw refusal(kind, 'damaged', `${file} is damaged: ${error.message}`, error);
    if (code === SQLITE.cannotOpen || code === SQLITE.readOnly || code === SQLITE.permission)
      throw refusal(kind, 'closed', `${file} cannot be opened: ${error.message}`, error);
    throw new HostError(kind.failure, `${file}: ${error.message}`, { cause: error });
  }
}

/** Undefined: not of SQLite. */
function errorNumber(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : undefined;
}

/** https://sqlite.org/rescode.html */
const SQLITE = { permission: 3, busy: 5, readOnly: 8, corrupt: 11, cannotOpen: 14, notADatabase: 26 } as const;

function refuseLater(file: string, kind: DatabaseKind, version: number): void {
  const known = kind.migrations.length;
  if (version <= known) return;
  throw refusal(
    kind,
    'newer',
    `${file} was written by a later kage (version ${version} of it; this one knows ${known})`,
  );
}

function refusal(kind: DatabaseKind, what: keyof DatabaseKind['refusals'], message: string, cause?: unknown) {
  const { code, fix } = kind.refusals[what];
  return new OperatorError(code, message, fix, { cause });
}

/** The file of declarations: `kage` and its daemon read while one of them writes. */
import { type DatabaseKind, OwnDatabase } from '../../host/index.ts';

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

const STATE: DatabaseKind = {
  application: 0x6b616765, // 'kage'
  migrations: MIGRATIONS,
  busyMs: 10_000,
  refusals: {
    damaged: {
      code: 'state-damaged',
      fix: 'Restore it from a copy, or move it away: partitions that run go on, and are found by their sockets',
    },
    newer: { code: 'state-newer', fix: 'Use that one, or set XDG_STATE_HOME to another folder' },
    foreign: { code: 'state-not-ours', fix: 'Move it away' },
    closed: {
      code: 'state-folder',
      fix: 'See that you may write to it, or set XDG_STATE_HOME to another folder',
    },
  },
  failure: 'state',
};

/** Errors: `state-damaged`, `state-newer`, `state-not-ours`, `state-folder`. */
export function openDatabase(file: string): OwnDatabase {
  return new OwnDatabase(file, STATE);
}

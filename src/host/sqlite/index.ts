/** The door of SQLite: files of ours, opened in one way. */
export { type DatabaseKind, OwnDatabase, type Row } from './own-database.ts';

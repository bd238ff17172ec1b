/**
 * What the cluster needs of a distributed store, and no more: entries with revisions, linearizable reads,
 * transactions that compare revisions, watches from a revision. etcd, SQLite and a map in memory can all be that; the
 * suite in store-suite.testing.ts is run against each.
 *
 * Every write is a transaction with compares, since one that timed out may be committed later.
 */
export interface StoreEntry {
  readonly key: string;
  readonly value: string;
  /** The store's revision of the last write to this key. */
  readonly revision: number;
}

/** Keys whole, or all that start with a prefix. */
export interface Query {
  readonly keys?: readonly string[];
  readonly prefixes?: readonly string[];
}

export type ReadOutcome =
  /** All of it as it was at one revision, which is not older than when the read was sent. */
  | { readonly kind: 'read'; readonly revision: number; readonly entries: readonly StoreEntry[] }
  /** No answer in time, no quorum, no leader. */
  | { readonly kind: 'failed'; readonly reason: string };

export interface Transaction {
  /** Each key must have this revision; 0: must not be there. */
  readonly compares: readonly { readonly key: string; readonly revision: number }[];
  readonly puts?: readonly { readonly key: string; readonly value: string }[];
  readonly deletes?: readonly string[];
}

export type CommitOutcome =
  /** What was put has this revision. */
  | { readonly kind: 'committed'; readonly revision: number }
  /** A compare failed, and nothing was changed. */
  | { readonly kind: 'conflict' }
  /** No answer in time. It was committed, or will be, or never. */
  | { readonly kind: 'unknown'; readonly reason: string };

export type WatchEvent =
  /** `value` undefined: deleted. In order, none left out. */
  | { readonly kind: 'change'; readonly key: string; readonly value: string | undefined; readonly revision: number }
  /** Nothing more will come: read again, and watch from there. */
  | { readonly kind: 'lost'; readonly reason: string };

export interface Watch {
  cancel(): void;
}

export interface ClusterStore {
  /** `done` is called once, never within the call, at the latest after the deadline (and what the timer is late by). */
  read(query: Query, deadlineMs: number, done: (outcome: ReadOutcome) => void): void;
  commit(transaction: Transaction, deadlineMs: number, done: (outcome: CommitOutcome) => void): void;
  /** Changes after `revision`. */
  watch(prefix: string, revision: number, on: (event: WatchEvent) => void): Watch;
}

/** A transaction may have so many puts and deletes, and so many compares: etcd's `--max-txn-ops` is 128 by default, for each. */
export const MOST_OPERATIONS = 100;

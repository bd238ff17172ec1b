/** The state behind a store in memory: entries, a revision that rises with each transaction, watchers. */
import type { Query, ReadOutcome, StoreEntry, Transaction, Watch, WatchEvent } from './cluster-store.ts';

type Change = Extract<WatchEvent, { kind: 'change' }>;

/** How many changes are kept for watchers that start from an earlier revision. */
const KEPT_CHANGES = 4096;

export class MemoryState {
  readonly #entries = new Map<string, StoreEntry>();
  /** Keys by their first part, so that a prefix is not looked for among all. */
  readonly #folders = new Map<string, Set<string>>();
  readonly #watchers = new Set<{ readonly prefix: string; readonly on: (event: WatchEvent) => void }>();
  #changes: Change[] = [];
  /** Changes up to this revision are forgotten. */
  #forgottenTo = 0;
  revision = 0;

  get(key: string): StoreEntry | undefined {
    return this.#entries.get(key);
  }

  read({ keys = [], prefixes = [] }: Query): ReadOutcome {
    const entries: StoreEntry[] = [];
    for (const key of keys) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) entries.push(entry);
    }
    for (const prefix of prefixes) this.#range(prefix, entries);
    return { kind: 'read', revision: this.revision, entries };
  }

  /** The new revision, or undefined when a compare fails. */
  commit({ compares, puts = [], deletes = [] }: Transaction): number | undefined {
    for (const { key, revision } of compares)
      if ((this.#entries.get(key)?.revision ?? 0) !== revision) return undefined;
    if (puts.length + deletes.length === 0) return this.revision;
    this.revision += 1;
    const { revision } = this;
    const changes: Change[] = [];
    for (const { key, value } of puts) {
      this.#put({ key, value, revision });
      changes.push({ kind: 'change', key, value, revision });
    }
    for (const key of deletes) if (this.#remove(key)) changes.push({ kind: 'change', key, value: undefined, revision });
    this.#tell(changes);
    return revision;
  }

  watch(prefix: string, revision: number, on: (event: WatchEvent) => void): Watch {
    if (revision < this.#forgottenTo) {
      on({ kind: 'lost', reason: 'compacted' });
      return { cancel: () => undefined };
    }
    for (const change of this.#changes) if (change.revision > revision && change.key.startsWith(prefix)) on(change);
    const watcher = { prefix, on };
    this.#watchers.add(watcher);
    return { cancel: () => this.#watchers.delete(watcher) };
  }

  #range(prefix: string, into: StoreEntry[]): void {
    const folder = prefix.indexOf('/') < 0 ? undefined : this.#folders.get(folderOf(prefix));
    for (const key of folder ?? (prefix.includes('/') ? [] : this.#entries.keys())) {
      const entry = key.startsWith(prefix) ? this.#entries.get(key) : undefined;
      if (entry !== undefined) into.push(entry);
    }
  }

  #put(entry: StoreEntry): void {
    const folder = folderOf(entry.key);
    const keys = this.#folders.get(folder);
    if (keys === undefined) this.#folders.set(folder, new Set([entry.key]));
    else keys.add(entry.key);
    this.#entries.set(entry.key, entry);
  }

  #remove(key: string): boolean {
    this.#folders.get(folderOf(key))?.delete(key);
    return this.#entries.delete(key);
  }

  #tell(changes: readonly Change[]): void {
    this.#changes.push(...changes);
    if (this.#changes.length > 2 * KEPT_CHANGES) {
      const kept = this.#changes.slice(-KEPT_CHANGES);
      this.#forgottenTo = this.#changes[this.#changes.length - KEPT_CHANGES - 1]?.revision ?? 0;
      this.#changes = kept;
    }
    for (const watcher of [...this.#watchers])
      for (const change of changes) if (change.key.startsWith(watcher.prefix)) watcher.on(change);
  }
}

function folderOf(key: string): string {
  return key.slice(0, key.indexOf('/') + 1);
}

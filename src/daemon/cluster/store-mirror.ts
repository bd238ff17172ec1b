/**
 * What stands in a few folders of the cluster's store, as far as it was heard of: read once, then followed. When a watch ends all is
 * read anew. What it shows may be a moment old, and stays there while the store cannot be reached; who must know reads the store.
 */
import type { ClusterStore, StoreEntry, Watch } from '../../cluster/index.ts';

const READ_MS = 2000;
const AGAIN_MS = 500;

/** `value` undefined: it is gone; `before` undefined: it was not there. */
export type Changed = (key: string, value: string | undefined, before: string | undefined) => void;

export class StoreMirror implements Disposable {
  readonly #store: ClusterStore;
  readonly #prefixes: readonly string[];
  readonly #changed: Changed;
  readonly #entries = new Map<string, StoreEntry>();
  readonly #waiters = new Set<() => void>();
  #watches: Watch[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** All was read once. */
  isComplete = false;
  /** Undefined: changes are heard of as they happen. Else why not. */
  problem: string | undefined = 'it was not read yet';

  constructor(store: ClusterStore, prefixes: readonly string[], changed: Changed) {
    this.#store = store;
    this.#prefixes = prefixes;
    this.#changed = changed;
    this.#read();
  }

  get entries(): readonly StoreEntry[] {
    return [...this.#entries.values()];
  }

  get(key: string): StoreEntry | undefined {
    return this.#entries.get(key);
  }

  /** Resolves when it is so, or, false, when the time is over. */
  async until(condition: () => boolean, withinMs: number, signal?: AbortSignal): Promise<boolean> {
    const end = performance.now() + withinMs;
    while (!condition()) {
      const leftMs = end - performance.now();
      if (leftMs <= 0 || this.#isClosed || signal?.aborted === true) return false;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', wake);
          this.#waiters.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, leftMs);
        signal?.addEventListener('abort', wake, { once: true });
        this.#waiters.add(wake);
      });
    }
    return true;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#stop();
    this.#wake();
  }

  #read(): void {
    this.#store.read({ prefixes: this.#prefixes }, READ_MS, (outcome) => {
      if (this.#isClosed) return;
      if (outcome.kind === 'failed') {
        this.#again(outcome.reason);
        return;
      }
      const found = new Set(outcome.entries.map(({ key }) => key));
      for (const key of this.#entries.keys()) if (!found.has(key)) this.#take(key, undefined);
      for (const entry of outcome.entries) this.#take(entry.key, entry);
      this.isComplete = true;
      this.problem = undefined;
      this.#watches = this.#prefixes.map((prefix) => this.#follow(prefix, outcome.revision));
      this.#wake();
    });
  }

  #follow(prefix: string, revision: number): Watch {
    return this.#store.watch(prefix, revision, (event) => {
      if (this.#isClosed) return;
      if (event.kind === 'lost') {
        this.#again(event.reason);
        return;
      }
      const { key, value } = event;
      this.#take(key, value === undefined ? undefined : { key, value, revision: event.revision });
      this.#wake();
    });
  }

  #take(key: string, entry: StoreEntry | undefined): void {
    const before = this.#entries.get(key)?.value;
    if (entry === undefined) this.#entries.delete(key);
    else this.#entries.set(key, entry);
    if (before !== entry?.value) this.#changed(key, entry?.value, before);
  }

  #again(reason: string): void {
    this.problem = reason;
    this.#stop();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#read(), AGAIN_MS);
  }

  #stop(): void {
    const watches = this.#watches;
    this.#watches = [];
    for (const watch of watches) watch.cancel();
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}

/**
 * A lock in shared memory: one int32, 0 free, 1 held, 2 held and somebody waits. Held for microseconds, by threads
 * that never sleep while holding it. Where Atomics.wait is not allowed (a browser's main thread) it spins.
 */

/** Who does not wait for ever looks again so often. */
const LOOK_AGAIN_MS = 0.1;

export class SharedLock {
  readonly #word: Int32Array;
  readonly #index: number;
  #canWait = true;

  /** `index`: of the word in `words`. */
  constructor(words: Int32Array, index: number) {
    this.#word = words;
    this.#index = index;
  }

  acquire(): void {
    if (Atomics.compareExchange(this.#word, this.#index, 0, 1) === 0) return;
    for (let spins = 0; spins < 200; spins++) if (Atomics.compareExchange(this.#word, this.#index, 0, 1) === 0) return;
    while (Atomics.exchange(this.#word, this.#index, 2) !== 0) this.#wait();
  }

  /** False: somebody else holds it. */
  tryAcquire(): boolean {
    return Atomics.compareExchange(this.#word, this.#index, 0, 1) === 0;
  }

  /** As acquire, but gives up when `isOff` says so while somebody else holds it; false then. */
  acquireUnless(isOff: () => boolean): boolean {
    for (let spins = 0; ; spins++) {
      const found = Atomics.compareExchange(this.#word, this.#index, 0, 1);
      if (found === 0) return true;
      if (isOff()) return false;
      if (spins > 200) this.#wait(found, LOOK_AGAIN_MS);
    }
  }

  release(): void {
    if (Atomics.exchange(this.#word, this.#index, 0) === 2) Atomics.notify(this.#word, this.#index, 1);
  }

  with<T>(body: () => T): T {
    this.acquire();
    try {
      return body();
    } finally {
      this.release();
    }
  }

  #wait(value = 2, mostMs = 10): void {
    if (!this.#canWait) return;
    try {
      Atomics.wait(this.#word, this.#index, value, mostMs);
    } catch {
      this.#canWait = false;
    }
  }
}

/** What is done to one partition is done in turn. */
export class NameLocks {
  readonly #tails = new Map<string, Promise<unknown>>();

  isHeld(name: string): boolean {
    return this.#tails.has(name);
  }

  async withName<T>(name: string, body: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name) ?? Promise.resolve();
    const mine = before.then(body, body);
    const tail = mine.catch(() => {});
    this.#tails.set(name, tail);
    try {
      return await mine;
    } finally {
      if (this.#tails.get(name) === tail) this.#tails.delete(name);
    }
  }
}

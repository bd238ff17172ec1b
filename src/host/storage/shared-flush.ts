/** Flushes that are asked for at once share one; one that is asked for while another runs covers what that may have missed. */
export class SharedFlush {
  readonly #flush: () => Promise<void>;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(flush: () => Promise<void>) {
    this.#flush = flush;
  }

  run(): Promise<void> {
    this.#next ??= this.#running.then(() => {
      const flush = this.#flush();
      this.#next = undefined;
      // The next one waits for this one, whatever becomes of it.
      this.#running = flush.catch(() => undefined);
      return flush;
    });
    return this.#next;
  }
}

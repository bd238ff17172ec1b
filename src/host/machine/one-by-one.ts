/** Runs what it is given one after the other, in the order of asking, whatever becomes of each. */
export class OneByOne {
  #last: Promise<unknown> = Promise.resolve();

  async one<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#last.then(act);
    this.#last = result.catch(() => undefined);
    return await result;
  }
}

/** One after the other: whoever asks while another is inside waits for its turn, in the order of asking. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /** The body's outcome; a body that fails keeps nobody out. */
  run<T>(body: () => Promise<T>): Promise<T> {
    const result = this.#last.then(body);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** Messages of a socket on their way to the one who reads them, in order, until the socket ends. */
type Message = string | Uint8Array;

export class MessageQueue implements AsyncIterable<Message> {
  readonly #messages: Message[] = [];
  #isEnded = false;
  #wake: (() => void) | undefined;
  /** Told of each that was taken. */
  onTaken: () => void = () => {};

  get length(): number {
    return this.#messages.length;
  }

  push(message: Message): void {
    this.#messages.push(message);
    this.#wake?.();
  }

  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) {
        this.onTaken();
        yield message;
      } else if (this.#isEnded) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

/** Bytes on their way into a guest's port: order kept, back-pressure held, dropped when the guest closes it. */
import type { ConsolePort } from '../../devices/index.ts';

export class PortWriter {
  readonly #port: ConsolePort;
  #waiting: Uint8Array[] = [];

  constructor(port: ConsolePort) {
    this.#port = port;
  }

  /** What the guest has not been given yet. */
  get waiting(): readonly Uint8Array[] {
    return this.#waiting;
  }

  /** In the place of what waits. */
  set waiting(pieces: readonly Uint8Array[]) {
    this.#waiting = pieces.filter((bytes) => bytes.length > 0).map((bytes) => bytes.slice());
  }

  /** Nothing, while the guest has the port closed. */
  write(bytes: Uint8Array): void {
    if (!this.#port.guestOpen) return;
    this.#waiting.push(bytes);
    this.flush();
  }

  flush(): void {
    for (;;) {
      const [first] = this.#waiting;
      if (!first) return;
      const taken = this.#port.send(first);
      if (taken < first.length) {
        this.#waiting[0] = first.subarray(taken);
        return;
      }
      this.#waiting.shift();
    }
  }
}

/** Joins the guest agent's session to its virtio-console port: order kept, back-pressure held, closings noticed. */
import { randomBytes } from 'node:crypto';
import type { ConsolePort } from '../../devices/index.ts';
import { AgentSession } from '../agent/index.ts';

export class AgentLink {
  readonly session: AgentSession;
  readonly #port: ConsolePort;
  #waiting: Uint8Array[] = [];

  constructor(port: ConsolePort) {
    this.#port = port;
    this.session = new AgentSession(
      { write: (bytes) => this.#write(bytes) },
      {
        nonce: randomBytes(12).toString('hex'),
        clock: {
          after: (delayMs, callback) => {
            const timer = setTimeout(callback, delayMs);
            timer.unref();
            return () => clearTimeout(timer);
          },
        },
      },
    );
    port.onData = (bytes) => this.session.onData(bytes.slice());
    port.onDrain = () => this.#flush();
    // What was under way is lost with the guest's side; hellos are repeated.
    port.onClose = () => {
      this.#waiting = [];
    };
  }

  #write(bytes: Uint8Array): void {
    if (!this.#port.guestOpen) return;
    this.#waiting.push(bytes);
    this.#flush();
  }

  #flush(): void {
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

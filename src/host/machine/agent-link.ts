/** Joins the guest agent's session to its virtio-console port: order kept, back-pressure held, closings noticed. */
import { randomBytes } from 'node:crypto';
import type { ConsolePort } from '../../devices/index.ts';
import { AgentSession, KagemushaAgent } from '../agent/index.ts';
import type { GuestOutputs } from './guest-outputs.ts';
import { nodeClock } from './node-clock.ts';
import { PortWriter } from './port-writer.ts';

/** What a snapshot says of the conversation that it cut. */
export interface SavedConversation {
  readonly nextId: number;
  /** The end of what the guest has begun to read. */
  readonly waiting: Uint8Array;
}

const ENTROPY_BYTES = 64;
/** Its agent's answer keeps a guest busy for some 30 ms: whoever restored it to have its console waits the less. */
const RESTORED_HELLO_MS = 300;

export class AgentLink {
  readonly session: AgentSession;
  readonly agent: KagemushaAgent;
  readonly #writer: PortWriter;

  /**
   * `saved`: of a guest that goes on. One that is `restored` is not spoken to at once, unless somebody wants to; one that is
   * the `same` has its time and its random numbers. What it says is output as any other.
   */
  constructor(
    port: ConsolePort,
    saved: SavedConversation | undefined,
    {
      isRestored,
      isSame,
      outputs,
    }: { readonly isRestored: boolean; readonly isSame: boolean; readonly outputs: Pick<GuestOutputs, 'send'> },
  ) {
    this.#writer = new PortWriter(port);
    if (saved !== undefined) this.#writer.waiting = [saved.waiting];
    this.session = new AgentSession(this.#writer, {
      nonce: randomBytes(12).toString('hex'),
      ...(isRestored ? { firstHelloMs: RESTORED_HELLO_MS } : {}),
      ...(saved === undefined ? {} : { firstId: saved.nextId }),
      ...(saved === undefined || isSame ? {} : { firstWords: () => [{ verb: 'restored', ...restoredNow() } as const] }),
      clock: nodeClock,
    });
    this.agent = new KagemushaAgent(this.session);
    if (saved !== undefined && !isSame) this.#tellTimeAgain();
    port.onData = (bytes) => {
      const copy = bytes.slice();
      outputs.send(copy.length, () => this.session.onData(copy));
    };
    port.onDrain = () => this.#writer.flush();
    port.onOpen = () => {
      this.#writer.flush();
      this.session.greet();
    };
    // What was under way is lost with the guest's side; hellos are repeated.
    port.onClose = () => {
      this.#writer.waiting = [];
      this.session.cut();
    };
  }

  /** The twin of a guest that had not been given these bytes yet. */
  goOnFrom(waiting: readonly Uint8Array[]): void {
    this.#writer.waiting = waiting;
  }

  /** What the guest has not been given yet. */
  get waiting(): readonly Uint8Array[] {
    return this.#writer.waiting;
  }

  /** The agent sets clocks to whole seconds: once more when the next one begins. */
  #tellTimeAgain(): void {
    const again = (): void => {
      const timer = setTimeout(
        () => this.session.tell({ verb: 'restored', ...restoredNow() }),
        1000 - (Date.now() % 1000),
      );
      timer.unref();
    };
    this.session.answered.then(again, () => {});
  }
}

/** The guest's clock stood still, and whoever has the same snapshot would draw the same numbers. */
export function restoredNow(): { readonly wallMs: number; readonly entropy: Uint8Array } {
  return { wallMs: Date.now(), entropy: randomBytes(ENTROPY_BYTES) };
}

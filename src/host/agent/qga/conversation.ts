/**
 * A conversation with QEMU's guest agent: one command at a time, each answered or given up; whatever goes wrong, the two
 * are synchronized anew (guest-sync-delimited) before the next.
 *
 *   closed --the guest opens its port--> synchronizing --the number comes back--> ready --late, or nonsense--,
 *                                          ^   '--each second anew--'                                        |
 *                                          '-----------------------------------------------------------------'
 */
import { HostError } from '../../../base/errors.ts';
import type { Shape } from '../../control/shape.ts';
import { ShapeError } from '../../control/shape.ts';
import type { AgentClock, AgentPort } from '../session.ts';
import { QgaProtocolError, type QgaReply, ReplyReader } from './reply-reader.ts';

export type QgaArguments = Readonly<Record<string, string | number | bigint | boolean | readonly string[]>>;

export interface CallOptions {
  readonly timeoutMs?: number;
  /** Of the reply's line. */
  readonly limitBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface ConversationOptions {
  readonly clock: AgentClock;
  /** A whole number below 2^31 that nobody guesses. */
  readonly random: () => number;
  /** Said when the two are synchronized for the first time, before anything else. */
  readonly first?: (call: QgaConversation['call']) => Promise<void>;
}

const SYNC_AGAIN_MS = 1000;
const TIMEOUT_MS = 15_000;
const LINE_BYTES = 1 << 20;

interface Pending {
  resolve(reply: QgaReply): void;
  reject(error: unknown): void;
}

export class QgaConversation {
  readonly #port: AgentPort;
  readonly #options: ConversationOptions;
  readonly #reader = new ReplyReader();
  #state: 'closed' | 'synchronizing' | 'greeting' | 'ready' | 'ended' = 'closed';
  #number = 0;
  #cancelSync: (() => void) | undefined;
  #pending: Pending | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #hasGreeted = false;
  #waiting = new Set<Pending & { resolve(): void }>();
  #reason = new HostError('agent-closed', "the conversation with the guest's agent has ended");
  readonly counters = { protocolErrors: 0, timeouts: 0 };
  /** The agent is there, or is no more. */
  onPresence: (() => void) | undefined;

  constructor(port: AgentPort, options: ConversationOptions) {
    this.#port = port;
    this.#options = options;
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  /** The guest has opened its side of the port: somebody is there. */
  opened(): void {
    if (this.#state === 'closed') this.#synchronize();
  }

  /** The guest has closed it: whatever was asked is not answered any more. */
  closed(): void {
    if (this.#state === 'ended' || this.#state === 'closed') return;
    this.#state = 'closed';
    this.#cancelSync?.();
    this.#fail(new HostError('agent-restarted', "the guest's agent has ended, or was started anew"));
    this.onPresence?.();
  }

  /** No more of it. */
  end(): void {
    this.#cancelSync?.();
    this.#state = 'ended';
    this.#fail(this.#reason);
    for (const { reject } of this.#waiting) reject(this.#reason);
    this.#waiting.clear();
  }

  /** Bytes from the guest, cut anywhere. Never throws. */
  onData(bytes: Uint8Array): void {
    try {
      this.#reader.limitBytes = this.#state === 'synchronizing' ? LINE_BYTES : this.#limitBytes;
      this.#reader.push(bytes, (reply) => this.#take(reply));
    } catch (error) {
      if (!(error instanceof QgaProtocolError)) throw error;
      this.#broken(error);
    }
  }

  /** Resolves when the agent has answered; rejects on abort, and when the conversation ends. */
  async ready(signal?: AbortSignal): Promise<void> {
    if (this.#state === 'ready') return;
    if (this.#state === 'ended') throw this.#reason;
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { resolve: () => resolve(), reject };
    const onAbort = (): void => reject(signal?.reason);
    this.#waiting.add(waiter);
    signal?.addEventListener('abort', onAbort, { once: true });
    await promise.finally(() => {
      this.#waiting.delete(waiter);
      signal?.removeEventListener('abort', onAbort);
    });
  }

  /**
   * Asks, when those that came before have been answered; the result, checked. HostError: `agent-refused` with what the
   * agent says, `agent-silent`, `agent-protocol`, `agent-restarted`.
   */
  async call<T>(command: string, args: QgaArguments, shape: Shape<T>, options: CallOptions = {}): Promise<T> {
    const turn = this.#last.then(async () => {
      await this.ready(options.signal);
      return await this.#ask(command, args, shape, options);
    });
    this.#last = turn.catch(() => undefined);
    return await turn;
  }

  /** Asks for what is not answered if it is done: guest-shutdown. */
  async tell(command: string, args: QgaArguments, signal?: AbortSignal): Promise<void> {
    await this.ready(signal);
    this.#port.write(encode(command, args));
  }

  #limitBytes = LINE_BYTES;

  async #ask<T>(command: string, args: QgaArguments, shape: Shape<T>, options: CallOptions): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<QgaReply>();
    this.#pending = { resolve, reject };
    this.#limitBytes = options.limitBytes ?? LINE_BYTES;
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    const giveUp = (error: unknown): void => {
      reject(error);
      // Its answer may come yet, and would be taken for another's.
      this.#synchronize();
    };
    const cancel = this.#options.clock.after(timeoutMs, () => {
      this.counters.timeouts += 1;
      giveUp(new HostError('agent-silent', `the guest's agent did not answer ${command} within ${timeoutMs} ms`));
    });
    const onAbort = (): void => giveUp(options.signal?.reason);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      this.#port.write(encode(command, args));
      const reply = await promise;
      if (reply.kind === 'error')
        throw new HostError(
          'agent-refused',
          `the guest's agent says: ${reply.description || reply.class || 'an error'}`,
        );
      return shape(reply.value, command);
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      this.counters.protocolErrors += 1;
      throw new HostError('agent-protocol', `the guest's agent answers what makes no sense: ${error.message}`);
    } finally {
      cancel();
      options.signal?.removeEventListener('abort', onAbort);
      this.#pending = undefined;
      this.#limitBytes = LINE_BYTES;
    }
  }

  #synchronize(): void {
    if (this.#state === 'ended') return;
    this.#state = 'synchronizing';
    this.#cancelSync?.();
    this.#reader.reset();
    this.#number = this.#options.random();
    // The byte before it ends whatever the agent had begun to read.
    const ask = encode('guest-sync-delimited', { id: this.#number });
    this.#port.write(Buffer.concat([Uint8Array.of(0xff), ask]));
    this.#cancelSync = this.#options.clock.after(SYNC_AGAIN_MS, () => this.#synchronize());
  }

  #take(reply: QgaReply): void {
    if (this.#state === 'synchronizing') {
      if (reply.kind === 'return' && reply.value === this.#number) void this.#greet();
      return;
    }
    const pending = this.#pending;
    this.#pending = undefined; // what comes behind the answer is nobody's
    pending?.resolve(reply);
  }

  async #greet(): Promise<void> {
    this.#cancelSync?.();
    if (!this.#hasGreeted && this.#options.first !== undefined) {
      this.#hasGreeted = true;
      this.#state = 'greeting';
      try {
        await this.#options.first((command, args, shape, options = {}) => this.#ask(command, args, shape, options));
      } catch {
        // What it could not do, it could not do; it is there all the same, unless it was lost meanwhile.
      }
      if (this.#state !== 'greeting') return;
    }
    this.#state = 'ready';
    for (const { resolve } of this.#waiting) resolve();
    this.onPresence?.();
  }

  #broken(error: QgaProtocolError): void {
    this.counters.protocolErrors += 1;
    this.#fail(new HostError('agent-protocol', `of the guest's agent: ${error.message}`, { cause: error }));
    // Not at once: a guest that says nothing but nonsense is not to keep the host busy.
    if (this.#state === 'synchronizing') return;
    this.#state = 'synchronizing';
    this.#reader.reset();
    this.#cancelSync?.();
    this.#cancelSync = this.#options.clock.after(SYNC_AGAIN_MS, () => this.#synchronize());
  }

  #fail(reason: HostError): void {
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.reject(reason);
  }
}

/** A line of JSON; whole numbers of any size are digits. */
function encode(command: string, args: QgaArguments): Uint8Array {
  const members = Object.entries(args).map(
    ([name, value]) => `${JSON.stringify(name)}:${typeof value === 'bigint' ? `${value}` : JSON.stringify(value)}`,
  );
  return new TextEncoder().encode(`{"execute":${JSON.stringify(command)},"arguments":{${members.join()}}}\n`);
}

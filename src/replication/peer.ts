/**
 * The other end of a checkpoint stream, as either end has it: messages both ways, beats while there is nothing to say, and
 * the end: because the connection is gone, because the peer said nothing for too long, or because it broke the rules.
 */
import { OperatorError } from '../base/errors.ts';
import { badStream, type Message, type MessageKind, refusalOf } from './messages.ts';
import type { ReplicationPorts } from './source-guest.ts';
import { type ByteSink, MessageReader, MessageWriter, type StreamCodecs } from './stream.ts';

/** The connection. */
export interface Wire extends ByteSink {
  /** Ends it; what was written before is sent if it can be. */
  close(): void;
}

export interface PeerEvents {
  message(message: Message): void;
  /** Once; nothing is received any more. */
  lost(error: Error): void;
}

export interface PeerOptions {
  readonly packs: boolean;
  /** So long without a word, and the peer is taken for lost. */
  readonly silenceMs: number;
}

export const BEAT_MS = 250;
/** Timers on a loaded host are late by half a second (measured on two cores): below a second, well peers would be lost. */
export const SILENCE_MS = 2000;

export class Peer {
  readonly writer: MessageWriter;
  readonly #wire: Wire;
  readonly #reader: MessageReader;
  readonly #ports: ReplicationPorts;
  readonly #events: PeerEvents;
  readonly #silenceMs: number;
  #heardMs: number;
  #stopBeats = (): void => {};
  /** Nothing is heard any more; nothing can be said. */
  #isLost = false;
  #isShut = false;

  constructor(wire: Wire, codecs: StreamCodecs, ports: ReplicationPorts, options: PeerOptions, events: PeerEvents) {
    this.#wire = wire;
    this.#ports = ports;
    this.#events = events;
    this.#silenceMs = options.silenceMs;
    this.#reader = new MessageReader(codecs);
    this.#heardMs = ports.nowMs();
    this.writer = new MessageWriter(
      { write: (pieces) => (this.#isShut ? Promise.reject(gone()) : wire.write(pieces)) },
      codecs,
      options,
    );
    this.#beat();
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  say(kind: MessageKind, value: unknown = {}): void {
    this.writer.say(kind, value).catch((error: unknown) => this.fail(asError(error)));
  }

  /** Bytes have come. */
  push(bytes: Uint8Array): void {
    if (this.#isLost) return;
    this.#heardMs = this.#ports.nowMs();
    try {
      for (const message of this.#reader.push(bytes)) {
        if (message.kind === 'refusal') throw refused(message);
        if (message.kind !== 'beat') this.#events.message(message);
        if (this.#isLost) return;
      }
    } catch (error) {
      // What it did wrong, it is told; what it refused, it knows.
      if (error instanceof Refused) this.fail(error);
      else {
        this.refuse(error);
        this.#events.lost(asError(error));
      }
    }
  }

  /** The connection is gone. */
  disconnected(cause?: unknown): void {
    this.fail(new OperatorError('peer-lost', `the connection to the peer is lost${because(cause)}`, LOST_FIX));
  }

  /** Ends it, as the error says. */
  fail(error: Error): void {
    if (this.#isLost) return;
    this.#end();
    this.#events.lost(error);
  }

  /** Tells the peer why it ends, and ends it. */
  refuse(error: unknown): void {
    this.sayLast('refusal', refusalOf(error));
  }

  /** Says that yet, and ends it. */
  sayLast(kind: MessageKind, value: unknown = {}): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#stopBeats();
    const shut = (): void => this.#shut();
    this.writer.say(kind, value).then(shut, shut);
  }

  /** Ends it without a word. */
  close(): void {
    if (!this.#isLost) this.#end();
  }

  #end(): void {
    this.#isLost = true;
    this.#stopBeats();
    this.#shut();
  }

  #shut(): void {
    this.#isShut = true;
    this.#wire.close();
  }

  #beat(): void {
    this.#stopBeats = this.#ports.after(BEAT_MS, () => {
      if (this.#isLost) return;
      const silentMs = this.#ports.nowMs() - this.#heardMs;
      if (silentMs > this.#silenceMs) {
        const text = `the peer has said nothing for ${Math.round(silentMs)} ms`;
        this.fail(new OperatorError('peer-lost', text, LOST_FIX));
        return;
      }
      this.say('beat');
      this.#beat();
    });
  }
}

const LOST_FIX = 'See whether its process and the network are well.';

class Refused extends OperatorError {}

/** JSON of a message: an object. Throws OperatorError `stream-damaged`. */
export function jsonOf({ data }: Pick<Message, 'data'>): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Told below.
  }
  throw badStream('a message is no JSON object');
}

/** A number that counts something. Throws OperatorError `stream-damaged`. */
export function countOf(value: Readonly<Record<string, unknown>>, name: string): number {
  const count = value[name];
  if (typeof count === 'number' && Number.isSafeInteger(count) && count >= 0) return count;
  throw badStream(`${name} is no number`);
}

function refused(message: Message): Refused {
  const { code, message: text, fix } = jsonOf(message);
  const word = (value: unknown, most: number): string => (typeof value === 'string' ? value.slice(0, most) : '');
  return new Refused(word(code, 64) || 'refused', word(text, 1000) || 'the peer refuses', word(fix, 1000));
}

function because(cause: unknown): string {
  return cause instanceof Error ? `: ${cause.message}` : '';
}

function gone(): OperatorError {
  return new OperatorError('peer-lost', 'the connection to the peer is lost', LOST_FIX);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/**
 * The wire format of the guest agent's protocol (docs/agent.md): a frame is a line of words, at most 256 bytes
 * with its newline, and those that carry data name their length in the last word and are followed by so many
 * bytes. What comes from the guest is hostile: every length and number is bounded before anything is kept.
 */
import { assert } from '../../base/assert.ts';

export const protocolVersion = 1;
/** The most data in one frame, by direction and verb. */
export const limits = { outputBytes: 65536, inputBytes: 32768, scriptBytes: 1048576, lineBytes: 256 } as const;
/** Input frames that may be on the way to one command before it is acknowledged that the first was taken. */
export const inputSlots = 8;

/** A guest that speaks of more file systems is not believed. */
const mostFileSystems = 100_000;

/** What the host says. */
export type Request =
  | { verb: 'hello'; nonce: string }
  | { verb: 'ping'; nonce: string }
  | { verb: 'exec'; id: number; data: Uint8Array }
  | { verb: 'in'; id: number; data: Uint8Array }
  | { verb: 'eof'; id: number }
  | { verb: 'kill'; id: number; signal: string }
  | { verb: 'shutdown'; how: 'poweroff' | 'reboot' | 'halt' }
  /** The guest was restored from a snapshot: what time it is (ms since 1970), and what no other guest has. */
  | { verb: 'restored'; wallMs: number; entropy: Uint8Array }
  /** Beat at this interval; 0: no more. */
  | { verb: 'beat'; intervalMs: number }
  /** A word that beats are to carry from now on. */
  | { verb: 'health'; word: string }
  /** Freeze the file systems on disks, and thaw them by itself after so long. */
  | { verb: 'freeze'; id: number; limitMs: number }
  | { verb: 'thaw'; id: number };

/** What the guest says. */
export type Reply =
  | { verb: 'ready'; version: number; nonce: string; bootId: string }
  | { verb: 'pong'; nonce: string }
  | { verb: 'started'; id: number; pid: number }
  | { verb: 'out' | 'err'; id: number; data: Uint8Array }
  | { verb: 'took' | 'held' | 'end'; id: number }
  | { verb: 'exit'; id: number; exitCode: number }
  | { verb: 'stopping'; how: string }
  | ({ verb: 'beat' } & Beat)
  /** `left`: file systems that cannot be frozen, or are the agent's own. */
  | { verb: 'frozen'; id: number; count: number; left: number }
  | { verb: 'thawed'; id: number; count: number }
  /** What was frozen by that order is not any more: its time was over. */
  | { verb: 'expired'; id: number }
  /** `id` is undefined where the request named none that could be read. */
  | { verb: 'error'; id: number | undefined; reason: string };

/** One beat of the guest's heart. */
export interface Beat {
  /** One more with each beat, from 1; begins anew with the agent. */
  sequence: number;
  uptimeSeconds?: number;
  /** The guest's load average over a minute. */
  load?: number;
  /** What the host said last of the guest's health. */
  health?: string;
}

const encoder = new TextEncoder();
const nothing = new Uint8Array(0);

/** The bytes of a request. */
export function encodeRequest(request: Request): Uint8Array {
  switch (request.verb) {
    case 'hello':
      // The empty line ends what an earlier host may have left begun.
      return frame(`\nhello ${protocolVersion} ${request.nonce}`);
    case 'ping':
      return frame(`ping ${request.nonce}`);
    case 'exec':
      assert(request.data.length <= limits.scriptBytes, 'exec frame too long');
      return frame(`exec ${request.id} ${request.data.length}`, request.data);
    case 'in':
      assert(request.data.length > 0 && request.data.length <= limits.inputBytes, 'in frame too long');
      return frame(`in ${request.id} ${request.data.length}`, request.data);
    case 'eof':
      return frame(`eof ${request.id}`);
    case 'kill':
      return frame(`kill ${request.id} ${request.signal}`);
    case 'shutdown':
      return frame(`shutdown ${request.how}`);
    case 'beat':
      return frame(`beat ${request.intervalMs}`);
    case 'health':
      return frame(`health ${request.word}`);
    case 'freeze':
      return frame(`freeze ${request.id} ${request.limitMs}`);
    case 'thaw':
      return frame(`thaw ${request.id}`);
    case 'restored': {
      const { wallMs, entropy } = request;
      assert(entropy.length <= 64, 'a line has no room for more');
      const hex = Array.from(entropy, (byte) => byte.toString(16).padStart(2, '0')).join('');
      return frame(`restored ${Math.floor(wallMs / 1000)} ${String(wallMs % 1000).padStart(3, '0')} ${hex}`);
    }
  }
}

function frame(line: string, data: Uint8Array = nothing): Uint8Array {
  const head = encoder.encode(`${line}\n`);
  const bytes = new Uint8Array(head.length + data.length);
  bytes.set(head);
  bytes.set(data, head.length);
  return bytes;
}

/** Thrown when the guest's bytes are not the protocol's; the reader cannot go on after it. */
export class ProtocolError extends Error {
  override name = 'ProtocolError';
}

/**
 * Cuts the guest's byte stream into replies. Until `synchronized` is set, lines that are no replies are passed
 * over: the port may hold the end of something that an earlier host asked for.
 */
export class ReplyReader {
  synchronized = false;
  #line = '';
  #pending: { verb: 'out' | 'err'; id: number; data: Uint8Array; filled: number } | undefined;

  /** Whoever spoke will not end what it began. */
  cut(): void {
    this.#line = '';
    this.#pending = undefined;
  }

  /** Calls `onReply` for each reply that `bytes` completes; the data it gets is its own. Throws ProtocolError. */
  push(bytes: Uint8Array, onReply: (reply: Reply) => void): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#pending) {
        const pending = this.#pending;
        const part = bytes.subarray(at, at + pending.data.length - pending.filled);
        pending.data.set(part, pending.filled);
        pending.filled += part.length;
        at += part.length;
        if (pending.filled < pending.data.length) return;
        this.#pending = undefined;
        onReply({ verb: pending.verb, id: pending.id, data: pending.data });
        continue;
      }
      const newline = bytes.indexOf(0x0a, at);
      const end = newline === -1 ? bytes.length : newline;
      const room = limits.lineBytes - this.#line.length;
      if (end - at >= room) {
        if (this.synchronized) throw new ProtocolError('a line of the guest agent is too long');
        this.#line = '';
      } else {
        this.#line += latin1(bytes.subarray(at, end));
      }
      at = end + 1;
      if (newline === -1) return;
      const line = this.#line;
      this.#line = '';
      if (line !== '') this.#takeLine(line, onReply);
    }
  }

  #takeLine(line: string, onReply: (reply: Reply) => void): void {
    const parsed = parseLine(line);
    if (parsed === undefined) {
      if (this.synchronized) throw new ProtocolError(`the guest agent said ${JSON.stringify(line.slice(0, 80))}`);
    } else if ('lengthBytes' in parsed) {
      // Data from before the hello is not skipped by its length: a line in other data may only look like one.
      if (!this.synchronized) return;
      const { verb, id } = parsed;
      this.#pending = { verb, id, data: new Uint8Array(parsed.lengthBytes), filled: 0 };
    } else {
      onReply(parsed);
    }
  }
}

type DataLine = { verb: 'out' | 'err'; id: number; lengthBytes: number };

function parseLine(line: string): Reply | DataLine | undefined {
  const words = line.split(' ');
  const [verb, first = '', second = '', third = '', fourth = ''] = words;
  const id = number(first, 999_999_999);
  switch (verb) {
    case 'ready': {
      const version = number(first, 999);
      const sound = words.length === 4 && version !== undefined && isWord(second) && isWord(third);
      return sound ? { verb, version, nonce: second, bootId: third } : undefined;
    }
    case 'pong':
      return words.length === 2 && isWord(first) ? { verb, nonce: first } : undefined;
    case 'started': {
      const pid = number(second, 999_999_999);
      return words.length === 3 && id !== undefined && pid !== undefined ? { verb, id, pid } : undefined;
    }
    case 'out':
    case 'err': {
      const lengthBytes = number(second, limits.outputBytes);
      return words.length === 3 && id !== undefined && lengthBytes ? { verb, id, lengthBytes } : undefined;
    }
    case 'beat': {
      const [uptimeSeconds, load] = [decimal(second), decimal(third)];
      const sound = words.length === 5 && id !== undefined && isWord(fourth);
      if (!sound || uptimeSeconds === undefined || load === undefined) return undefined;
      return { verb, sequence: id, uptimeSeconds, load, ...(fourth === '-' ? {} : { health: fourth }) };
    }
    case 'frozen': {
      const [count, left] = [number(second, mostFileSystems), number(third, mostFileSystems)];
      const sound = words.length === 4 && id !== undefined && count !== undefined && left !== undefined;
      return sound ? { verb, id, count, left } : undefined;
    }
    case 'thawed': {
      const count = number(second, mostFileSystems);
      return words.length === 3 && id !== undefined && count !== undefined ? { verb, id, count } : undefined;
    }
    case 'took':
    case 'held':
    case 'end':
    case 'expired':
      return words.length === 2 && id !== undefined ? { verb, id } : undefined;
    case 'exit': {
      const exitCode = number(second, 255);
      return words.length === 3 && id !== undefined && exitCode !== undefined ? { verb, id, exitCode } : undefined;
    }
    case 'stopping':
      return words.length === 2 && isWord(first) ? { verb, how: first } : undefined;
    case 'error':
      return words.length === 3 && isWord(second) ? { verb, id, reason: second } : undefined;
    default:
      return undefined;
  }
}

function number(word: string, limit: number): number | undefined {
  return /^(0|[1-9]\d{0,8})$/.test(word) && Number(word) <= limit ? Number(word) : undefined;
}

/** As Linux writes uptimes and loads. */
function decimal(word: string): number | undefined {
  return /^\d{1,10}\.\d{2}$/.test(word) ? Number(word) : undefined;
}

function isWord(word: string): boolean {
  return /^[\w.-]{1,64}$/.test(word);
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

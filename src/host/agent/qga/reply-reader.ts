/**
 * What QEMU's guest agent says: a JSON object a line, and the byte 0xFF before one that was asked for by
 * guest-sync-delimited, which resets the reader (qemu-ga-ref(7)). The guest is hostile: a line's length, its nesting and
 * the size of what comes out of it are bounded before anything is made of it.
 */

/** Thrown when the guest's bytes are no reply; the conversation is to be synchronized again. */
export class QgaProtocolError extends Error {
  override name = 'QgaProtocolError';
}

export type QgaReply =
  | { readonly kind: 'return'; readonly value: unknown }
  | { readonly kind: 'error'; readonly class: string; readonly description: string };

const SENTINEL = 0xff;
const NEWLINE = 0x0a;
const MOST_NESTING = 16;
const MOST_DESCRIPTION = 512;

export class ReplyReader {
  /** Bytes that a line may have; for the reply that is waited for. */
  limitBytes = 0;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #waitsForSentinel = true;

  /** Forgets what was begun; nothing is read before the next sentinel. */
  reset(): void {
    this.#clear();
    this.#waitsForSentinel = true;
  }

  /** Calls `onReply` for each reply that `bytes` completes. Throws QgaProtocolError. */
  push(bytes: Uint8Array, onReply: (reply: QgaReply) => void): void {
    let at = 0;
    const sentinel = bytes.lastIndexOf(SENTINEL);
    // No reply in UTF-8 holds this byte.
    if (sentinel >= 0) {
      this.#clear();
      this.#waitsForSentinel = false;
      at = sentinel + 1;
    }
    if (this.#waitsForSentinel) return;
    while (at < bytes.length) {
      const newline = bytes.indexOf(NEWLINE, at);
      const end = newline < 0 ? bytes.length : newline;
      this.#keep(bytes.subarray(at, end));
      if (newline < 0) return;
      at = newline + 1;
      const line = Buffer.concat(this.#parts);
      this.#clear();
      if (line.length > 0) onReply(parseReply(line));
    }
  }

  #keep(part: Uint8Array): void {
    this.#bytes += part.length;
    if (this.#bytes > this.limitBytes) {
      this.reset();
      throw new QgaProtocolError(`it says more than ${this.limitBytes} bytes`);
    }
    this.#parts.push(part.slice());
  }

  #clear(): void {
    this.#parts = [];
    this.#bytes = 0;
  }
}

/** Throws QgaProtocolError. */
export function parseReply(line: Uint8Array): QgaReply {
  checkNesting(line);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line));
  } catch {
    throw new QgaProtocolError('it says what is no JSON');
  }
  if (typeof value === 'object' && value !== null) {
    if (Object.hasOwn(value, 'return')) return { kind: 'return', value: (value as { return: unknown }).return };
    if (Object.hasOwn(value, 'error')) return errorOf((value as { error: unknown }).error);
  }
  throw new QgaProtocolError('it says what is neither a result nor an error');
}

function errorOf(error: unknown): QgaReply {
  const text = (name: string): string => {
    const value =
      typeof error === 'object' && error !== null && Object.hasOwn(error, name) ? Reflect.get(error, name) : '';
    return typeof value === 'string' ? printable(value.slice(0, MOST_DESCRIPTION)) : '';
  };
  return { kind: 'error', class: text('class'), description: text('desc') };
}

/** A guest's words are shown on terminals. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]/g, '?');
}

/** Before the parser, which would go as deep as it is told to. */
function checkNesting(line: Uint8Array): void {
  let depth = 0;
  let isText = false;
  for (let at = 0; at < line.length; at++) {
    const byte = line[at];
    if (isText) {
      if (byte === 0x5c) at += 1;
      else if (byte === 0x22) isText = false;
    } else if (byte === 0x22) {
      isText = true;
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      if (depth > MOST_NESTING) throw new QgaProtocolError('it nests too deep');
    } else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1;
    }
  }
}

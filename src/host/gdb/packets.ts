/**
 * Framing of gdb's remote serial protocol (gdb manual, "Overview" of the appendix): `$payload#checksum`, answered by
 * `+` or `-` unless both sides agreed to leave that out; 0x03 between packets interrupts.
 *
 *   payload: `}` is an escape, the next byte is xored with 0x20; checksum: sum of the bytes as sent, modulo 256
 */

export type Incoming =
  | { readonly kind: 'packet'; readonly payload: Uint8Array }
  | { readonly kind: 'damaged' | 'refused' | 'interrupt' | 'too-long' };

/** Bytes of a payload that we take, escapes included; said to gdb as PacketSize. */
export const longestPayload = 0x4000;

const [dollar, hash, escapeMark, minus, star, interrupt] = [0x24, 0x23, 0x7d, 0x2d, 0x2a, 0x03];

export class PacketReader {
  #state: 'between' | 'payload' | 'checksum' = 'between';
  #payload: number[] = [];
  #checksum: number[] = [];

  /** What the bytes complete, in order; they may be cut anywhere. */
  push(bytes: Uint8Array): Incoming[] {
    const out: Incoming[] = [];
    for (const byte of bytes) {
      if (this.#state === 'between') {
        if (byte === dollar) this.#begin();
        else if (byte === interrupt) out.push({ kind: 'interrupt' });
        else if (byte === minus) out.push({ kind: 'refused' });
      } else if (this.#state === 'payload') {
        if (byte === hash) this.#state = 'checksum';
        else if (this.#payload.length < longestPayload) this.#payload.push(byte);
        else {
          this.#state = 'between';
          out.push({ kind: 'too-long' });
        }
      } else {
        this.#checksum.push(byte);
        if (this.#checksum.length === 2) out.push(this.#finish());
      }
    }
    return out;
  }

  #begin(): void {
    this.#state = 'payload';
    this.#payload = [];
    this.#checksum = [];
  }

  #finish(): Incoming {
    this.#state = 'between';
    const stated = Number.parseInt(String.fromCharCode(...this.#checksum), 16);
    if (stated !== sum(this.#payload)) return { kind: 'damaged' };
    const payload: number[] = [];
    for (let i = 0; i < this.#payload.length; i += 1) {
      const byte = this.#payload[i] ?? 0;
      if (byte === escapeMark) {
        i += 1;
        payload.push((this.#payload[i] ?? 0) ^ 0x20);
      } else payload.push(byte);
    }
    return { kind: 'packet', payload: Uint8Array.from(payload) };
  }
}

/** The packet that carries `payload`. */
export function encodePacket(payload: Uint8Array): Uint8Array {
  const escaped: number[] = [];
  for (const byte of payload) {
    if (byte === dollar || byte === hash || byte === escapeMark || byte === star) escaped.push(escapeMark, byte ^ 0x20);
    else escaped.push(byte);
  }
  const checksum = new TextEncoder().encode(sum(escaped).toString(16).padStart(2, '0'));
  return Uint8Array.from([dollar, ...escaped, hash, ...checksum]);
}

function sum(bytes: readonly number[]): number {
  return bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** Undefined where the text is not an even number of hex digits. */
export function fromHex(text: string): Uint8Array | undefined {
  return text.length % 2 === 0 && /^[0-9a-f]*$/i.test(text) ? new Uint8Array(Buffer.from(text, 'hex')) : undefined;
}

/** A register's 64 bits in the target's byte order. */
export function registerToHex(value: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes.toString('hex');
}

export function registerFromHex(text: string): bigint | undefined {
  const bytes = fromHex(text);
  return bytes?.length === 8 ? Buffer.from(bytes).readBigUInt64LE() : undefined;
}

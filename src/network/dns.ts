/**
 * DNS messages (RFC 1035), as far as a forwarder must look into them: the header, the one question, and answers
 * with addresses. Everything else passes through as bytes. Names in questions may not be compressed (4.1.2 gives
 * them nothing to point to), so decoding never follows a pointer.
 */
import type { Ipv4 } from './addresses.ts';

export const DNS_PORT = 53;
export const DNS_HEADER_BYTES = 12;
export const DNS_TYPE_A = 1;
export const DNS_TYPE_AAAA = 28;
export const DNS_TYPE_ANY = 255;
export const DNS_CLASS_IN = 1;
export const RCODE_OK = 0;
export const RCODE_FORMAT_ERROR = 1;
export const RCODE_SERVER_FAILURE = 2;
export const RCODE_NOT_IMPLEMENTED = 4;
export const RCODE_REFUSED = 5;
const FLAG_RESPONSE = 0x8000;
const FLAG_RECURSION_DESIRED = 0x0100;
const FLAG_RECURSION_AVAILABLE = 0x0080;
const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;
const ANSWER_BYTES = 16;

export interface DnsQuestion {
  /** Lower case, without the dot at the end; bytes outside printable ASCII are escaped as \DDD. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Where the question ends in the message. */
  readonly endBytes: number;
}

export function dnsId(message: Uint8Array): number {
  return word(message, 0);
}

export function isDnsResponse(message: Uint8Array): boolean {
  return message.length >= DNS_HEADER_BYTES && (word(message, 2) & FLAG_RESPONSE) !== 0;
}

/** The opcode; 0 is a standard query. */
export function dnsOpcode(message: Uint8Array): number {
  return (word(message, 2) >>> 11) & 15;
}

/** The response code of a message. */
export function dnsResponseCode(message: Uint8Array): number {
  return word(message, 2) & 15;
}

/** Decodes the only question; undefined when there is not exactly one, or it is malformed. */
export function decodeQuestion(message: Uint8Array): DnsQuestion | undefined {
  if (message.length < DNS_HEADER_BYTES || word(message, 4) !== 1) return undefined;
  const labels: string[] = [];
  let at = DNS_HEADER_BYTES;
  for (;;) {
    const labelBytes = message[at];
    if (labelBytes === undefined || labelBytes > MAX_LABEL_BYTES) return undefined;
    at += 1;
    if (labelBytes === 0) break;
    if (at + labelBytes > message.length || at + labelBytes - DNS_HEADER_BYTES >= MAX_NAME_BYTES) return undefined;
    labels.push(label(message.subarray(at, at + labelBytes)));
    at += labelBytes;
  }
  if (at + 4 > message.length) return undefined;
  return { name: labels.join('.'), type: word(message, at), class: word(message, at + 2), endBytes: at + 4 };
}

/** A response to `query` with a code and address records; the caller owns it. `question` is what was decoded from it. */
export function encodeResponse(
  query: Uint8Array,
  question: DnsQuestion | undefined,
  code: number,
  addresses: readonly Ipv4[] = [],
  ttlSeconds = 0,
): Uint8Array<ArrayBuffer> {
  const endBytes = question?.endBytes ?? DNS_HEADER_BYTES;
  const response = new Uint8Array(endBytes + addresses.length * ANSWER_BYTES);
  response.set(query.subarray(0, endBytes));
  const view = new DataView(response.buffer);
  const kept = word(query, 2) & (0x7800 | FLAG_RECURSION_DESIRED);
  view.setUint16(2, FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | kept | code);
  view.setUint16(4, question === undefined ? 0 : 1);
  view.setUint16(6, addresses.length);
  view.setUint32(8, 0);
  let at = endBytes;
  for (const address of addresses) {
    view.setUint16(at, 0xc000 | DNS_HEADER_BYTES);
    view.setUint16(at + 2, DNS_TYPE_A);
    view.setUint16(at + 4, DNS_CLASS_IN);
    view.setUint32(at + 6, ttlSeconds);
    view.setUint16(at + 10, 4);
    view.setUint32(at + 12, address);
    at += ANSWER_BYTES;
  }
  return response;
}

/** A standard query for one name, as clients (and tests) send it. */
export function encodeQuery(id: number, name: string, type: number): Uint8Array<ArrayBuffer> {
  const labels = name.split('.').filter((part) => part !== '');
  const nameBytes = labels.reduce((sum, part) => sum + 1 + part.length, 1);
  const message = new Uint8Array(DNS_HEADER_BYTES + nameBytes + 4);
  const view = new DataView(message.buffer);
  view.setUint16(0, id);
  view.setUint16(2, FLAG_RECURSION_DESIRED);
  view.setUint16(4, 1);
  let at = DNS_HEADER_BYTES;
  for (const part of labels) {
    view.setUint8(at, part.length);
    message.set(new TextEncoder().encode(part), at + 1);
    at += 1 + part.length;
  }
  view.setUint16(at + 1, type);
  view.setUint16(at + 3, DNS_CLASS_IN);
  return message;
}

function label(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    const printable = byte > 0x20 && byte < 0x7f && byte !== 0x2e && byte !== 0x5c;
    text += printable ? String.fromCharCode(byte).toLowerCase() : `\\${String(byte).padStart(3, '0')}`;
  }
  return text;
}

function word(message: Uint8Array, at: number): number {
  return ((message[at] ?? 0) << 8) | (message[at + 1] ?? 0);
}

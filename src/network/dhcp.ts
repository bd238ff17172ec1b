/**
 * DHCP messages (RFC 2131, RFC 2132) over the BOOTP format (RFC 951): the fixed part of 236 bytes, the magic cookie
 * and options. Only Ethernet hardware addresses; options in the `sname` and `file` fields (overload) are not read.
 */
import { type Ipv4, type Mac, readMac, writeMac } from './addresses.ts';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
export const BOOT_REQUEST = 1;
export const BOOT_REPLY = 2;
const FIXED_BYTES = 236;
const MAGIC_COOKIE = 0x63825363;
/** Relays and old clients expect at least the size of a BOOTP message (RFC 1542, 2.1). */
const MIN_MESSAGE_BYTES = 300;

export const DHCP_DISCOVER = 1;
export const DHCP_OFFER = 2;
export const DHCP_REQUEST = 3;
export const DHCP_DECLINE = 4;
export const DHCP_ACK = 5;
export const DHCP_NAK = 6;
export const DHCP_RELEASE = 7;
export const DHCP_INFORM = 8;

export const OPTION_SUBNET_MASK = 1;
export const OPTION_ROUTER = 3;
export const OPTION_DNS = 6;
export const OPTION_HOSTNAME = 12;
export const OPTION_DOMAIN = 15;
export const OPTION_MTU = 26;
export const OPTION_BROADCAST = 28;
export const OPTION_REQUESTED_ADDRESS = 50;
export const OPTION_LEASE_SECONDS = 51;
export const OPTION_MESSAGE_TYPE = 53;
export const OPTION_SERVER = 54;
export const OPTION_RENEWAL_SECONDS = 58;
export const OPTION_REBINDING_SECONDS = 59;
const OPTION_PAD = 0;
const OPTION_END = 255;

export interface DhcpMessage {
  operation: number;
  transaction: number;
  /** Whether the client asks for broadcast replies (RFC 2131, 2, the BROADCAST flag). */
  broadcast: boolean;
  clientAddress: Ipv4;
  yourAddress: Ipv4;
  serverAddress: Ipv4;
  clientMac: Mac;
  /** Options by code, in the order of the message; a repeated option is concatenated (RFC 3396). */
  options: Map<number, Uint8Array>;
}

/** Decodes a message; undefined unless it is a well-formed DHCP message for Ethernet. The options are copies. */
export function decodeDhcp(bytes: Uint8Array, at: number, lengthBytes: number): DhcpMessage | undefined {
  if (lengthBytes < FIXED_BYTES + 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, lengthBytes);
  if (view.getUint8(1) !== 1 || view.getUint8(2) !== 6 || view.getUint32(FIXED_BYTES) !== MAGIC_COOKIE)
    return undefined;
  const options = new Map<number, Uint8Array>();
  let option = FIXED_BYTES + 4;
  while (option < lengthBytes) {
    const code = view.getUint8(option);
    if (code === OPTION_END) break;
    if (code === OPTION_PAD) {
      option += 1;
      continue;
    }
    if (option + 2 > lengthBytes) return undefined;
    const optionBytes = view.getUint8(option + 1);
    if (option + 2 + optionBytes > lengthBytes) return undefined;
    const start = at + option + 2;
    options.set(code, concatenate(options.get(code), bytes.slice(start, start + optionBytes)));
    option += 2 + optionBytes;
  }
  return {
    operation: view.getUint8(0),
    transaction: view.getUint32(4),
    broadcast: (view.getUint16(10) & 0x8000) !== 0,
    clientAddress: view.getUint32(12),
    yourAddress: view.getUint32(16),
    serverAddress: view.getUint32(20),
    clientMac: readMac(view, 28),
    options,
  };
}

/** Encodes a message; the caller owns the result. Options longer than 255 bytes are a bug. */
export function encodeDhcp(message: DhcpMessage): Uint8Array<ArrayBuffer> {
  let lengthBytes = FIXED_BYTES + 4 + 1;
  for (const value of message.options.values()) lengthBytes += 2 + value.length;
  const bytes = new Uint8Array(Math.max(lengthBytes, MIN_MESSAGE_BYTES));
  const view = new DataView(bytes.buffer);
  view.setUint8(0, message.operation);
  view.setUint8(1, 1);
  view.setUint8(2, 6);
  view.setUint32(4, message.transaction);
  view.setUint16(10, message.broadcast ? 0x8000 : 0);
  view.setUint32(12, message.clientAddress);
  view.setUint32(16, message.yourAddress);
  view.setUint32(20, message.serverAddress);
  writeMac(view, 28, message.clientMac);
  view.setUint32(FIXED_BYTES, MAGIC_COOKIE);
  let at = FIXED_BYTES + 4;
  for (const [code, value] of message.options) {
    view.setUint8(at, code);
    view.setUint8(at + 1, value.length);
    bytes.set(value, at + 2);
    at += 2 + value.length;
  }
  view.setUint8(at, OPTION_END);
  return bytes;
}

/** The value of an option that is one address or one 32-bit number; undefined when absent or of another length. */
export function optionUint32(message: DhcpMessage, code: number): number | undefined {
  const value = message.options.get(code);
  return value?.length === 4 ? new DataView(value.buffer, value.byteOffset, 4).getUint32(0) : undefined;
}

/** The message type (option 53), 0 when absent. */
export function messageType(message: DhcpMessage): number {
  return message.options.get(OPTION_MESSAGE_TYPE)?.[0] ?? 0;
}

/** Option values as bytes. */
export const option = {
  uint8: (value: number): Uint8Array => Uint8Array.of(value),
  uint16: (value: number): Uint8Array => Uint8Array.of(value >>> 8, value & 255),
  uint32: (value: number): Uint8Array =>
    Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255),
  text: (value: string): Uint8Array => new TextEncoder().encode(value),
};

function concatenate(first: Uint8Array | undefined, second: Uint8Array): Uint8Array {
  if (first === undefined) return second;
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}

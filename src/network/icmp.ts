/** ICMP (RFC 792): echo, destination unreachable, time exceeded. The other types are ignored. */
import { addToSum, foldChecksum, sumIsValid } from './checksum.ts';

export const ICMP_HEADER_BYTES = 8;
export const ICMP_ECHO_REPLY = 0;
export const ICMP_UNREACHABLE = 3;
export const ICMP_ECHO_REQUEST = 8;
export const ICMP_TIME_EXCEEDED = 11;
/** Codes of "destination unreachable" (RFC 792, RFC 1812 5.2.7.1). */
export const UNREACHABLE_NET = 0;
export const UNREACHABLE_HOST = 1;
export const UNREACHABLE_PROTOCOL = 2;
export const UNREACHABLE_PORT = 3;
export const UNREACHABLE_PROHIBITED = 13;

export interface IcmpHeader {
  type: number;
  code: number;
  /** Identifier and sequence number of an echo; unused (0) in errors. */
  rest: number;
}

export function newIcmpHeader(): IcmpHeader {
  return { type: 0, code: 0, rest: 0 };
}

/** Fills `into` and checks the checksum over the whole message of `lengthBytes`. */
export function decodeIcmp(view: DataView, at: number, lengthBytes: number, into: IcmpHeader): boolean {
  if (lengthBytes < ICMP_HEADER_BYTES || !sumIsValid(addToSum(view, at, lengthBytes, 0))) return false;
  into.type = view.getUint8(at);
  into.code = view.getUint8(at + 1);
  into.rest = view.getUint32(at + 4);
  return true;
}

/** Writes the header in front of `dataBytes` bytes that are already in place, and the checksum over both. */
export function encodeIcmp(view: DataView, at: number, header: IcmpHeader, dataBytes: number): void {
  view.setUint8(at, header.type);
  view.setUint8(at + 1, header.code);
  view.setUint16(at + 2, 0);
  view.setUint32(at + 4, header.rest);
  view.setUint16(at + 2, foldChecksum(addToSum(view, at, ICMP_HEADER_BYTES + dataBytes, 0)));
}

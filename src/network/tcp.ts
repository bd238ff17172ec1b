/**
 * TCP segments' headers (RFC 9293, 3.1) with the options that we speak: maximum segment size and window scale
 * (RFC 7323). Sequence numbers are kept as signed 32-bit integers, which wrap with `| 0` and stay small integers
 * in the JavaScript engine; compare them with `sequenceDifference`.
 */
import type { Ipv4 } from './addresses.ts';
import { addToSum, foldChecksum, partialChecksum, pseudoHeaderSum, sumIsValid } from './checksum.ts';
import { PROTOCOL_TCP } from './ipv4.ts';

export const TCP_HEADER_BYTES = 20;
export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;
/** Where the checksum lies in the header; virtio's csum_offset. */
export const TCP_CHECKSUM_OFFSET = 16;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_WINDOW_SCALE = 3;
/** RFC 7323, 2.3: a greater shift is read as 14. */
const MAX_WINDOW_SHIFT = 14;

export interface TcpHeader {
  sourcePort: number;
  destinationPort: number;
  sequence: number;
  acknowledgement: number;
  headerBytes: number;
  flags: number;
  /** The window field as it stands in the header, not scaled. */
  window: number;
  /** The MSS option, 0 when absent. */
  maximumSegmentBytes: number;
  /** The window scale option, -1 when absent. */
  windowShift: number;
}

export function newTcpHeader(): TcpHeader {
  return {
    sourcePort: 0,
    destinationPort: 0,
    sequence: 0,
    acknowledgement: 0,
    headerBytes: TCP_HEADER_BYTES,
    flags: 0,
    window: 0,
    maximumSegmentBytes: 0,
    windowShift: -1,
  };
}

/** How far `a` lies ahead of `b` in sequence space, modulo 2^32: negative when it lies behind. */
export function sequenceDifference(a: number, b: number): number {
  return (a - b) | 0;
}

/** Fills `into`; false when the header does not fit the segment or an option contradicts its length. */
export function decodeTcp(view: DataView, at: number, lengthBytes: number, into: TcpHeader): boolean {
  if (lengthBytes < TCP_HEADER_BYTES) return false;
  const headerBytes = (view.getUint8(at + 12) >>> 4) * 4;
  if (headerBytes < TCP_HEADER_BYTES || headerBytes > lengthBytes) return false;
  into.sourcePort = view.getUint16(at);
  into.destinationPort = view.getUint16(at + 2);
  into.sequence = view.getInt32(at + 4);
  into.acknowledgement = view.getInt32(at + 8);
  into.headerBytes = headerBytes;
  into.flags = view.getUint8(at + 13) & 0x3f;
  into.window = view.getUint16(at + 14);
  into.maximumSegmentBytes = 0;
  into.windowShift = -1;
  return (into.flags & TCP_SYN) === 0 || decodeOptions(view, at + TCP_HEADER_BYTES, at + headerBytes, into);
}

function decodeOptions(view: DataView, start: number, end: number, into: TcpHeader): boolean {
  let at = start;
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === OPTION_END) return true;
    if (kind === OPTION_NOP) {
      at += 1;
      continue;
    }
    if (at + 2 > end) return false;
    const optionBytes = view.getUint8(at + 1);
    if (optionBytes < 2 || at + optionBytes > end) return false;
    if (kind === OPTION_MSS && optionBytes === 4) into.maximumSegmentBytes = view.getUint16(at + 2);
    if (kind === OPTION_WINDOW_SCALE && optionBytes === 3)
      into.windowShift = Math.min(view.getUint8(at + 2), MAX_WINDOW_SHIFT);
    at += optionBytes;
  }
  return true;
}

/** Checks the checksum of a segment of `lengthBytes`, header and data. */
export function tcpChecksumIsValid(
  view: DataView,
  at: number,
  lengthBytes: number,
  source: Ipv4,
  destination: Ipv4,
): boolean {
  return sumIsValid(addToSum(view, at, lengthBytes, pseudoHeaderSum(source, destination, PROTOCOL_TCP, lengthBytes)));
}

/** The header's length once encoded: options are written on SYN segments only. */
export function tcpHeaderBytes(header: TcpHeader): number {
  if ((header.flags & TCP_SYN) === 0) return TCP_HEADER_BYTES;
  return TCP_HEADER_BYTES + (header.maximumSegmentBytes > 0 ? 4 : 0) + (header.windowShift >= 0 ? 4 : 0);
}

/** Writes the header, without a checksum, and returns its length; the payload belongs right behind it. */
export function encodeTcp(view: DataView, at: number, header: TcpHeader): number {
  const headerBytes = tcpHeaderBytes(header);
  view.setUint16(at, header.sourcePort);
  view.setUint16(at + 2, header.destinationPort);
  view.setInt32(at + 4, header.sequence);
  view.setInt32(at + 8, header.acknowledgement);
  view.setUint8(at + 12, (headerBytes / 4) << 4);
  view.setUint8(at + 13, header.flags);
  view.setUint16(at + 14, header.window);
  view.setUint32(at + 16, 0);
  if (headerBytes === TCP_HEADER_BYTES) return headerBytes;
  let option = at + TCP_HEADER_BYTES;
  if (header.maximumSegmentBytes > 0) {
    view.setUint32(option, (OPTION_MSS << 24) | (4 << 16) | header.maximumSegmentBytes);
    option += 4;
  }
  if (header.windowShift >= 0)
    view.setUint32(option, (OPTION_NOP << 24) | (OPTION_WINDOW_SCALE << 16) | (3 << 8) | header.windowShift);
  return headerBytes;
}

/** Fills the checksum field of an encoded segment: whole, or (`partial`) the pseudo header's sum for an offloading receiver. */
export function writeTcpChecksum(
  view: DataView,
  at: number,
  lengthBytes: number,
  source: Ipv4,
  destination: Ipv4,
  partial: boolean,
): void {
  const sum = pseudoHeaderSum(source, destination, PROTOCOL_TCP, lengthBytes);
  view.setUint16(
    at + TCP_CHECKSUM_OFFSET,
    partial ? partialChecksum(sum) : foldChecksum(addToSum(view, at, lengthBytes, sum)),
  );
}

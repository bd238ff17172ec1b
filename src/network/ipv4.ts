/**
 * IPv4 headers (RFC 791). Decoding accepts options and skips them; encoding writes none. Fragments are put together
 * in fragments.ts.
 *
 *      0       4       8              16                              31
 *     +-------+-------+---------------+-------------------------------+
 *     |version|  IHL  |      TOS      |          total length         |
 *     |        identification         |0 DF MF|    fragment offset    |
 *     |      TTL      |    protocol   |        header checksum        |
 *     |                         source address                        |
 *     |                      destination address                      |
 */
import type { Ipv4 } from './addresses.ts';
import { addToSum, foldChecksum, sumIsValid } from './checksum.ts';

export const IPV4_HEADER_BYTES = 20;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;

export interface Ipv4Header {
  headerBytes: number;
  /** Bytes behind the header; never beyond the frame. */
  payloadBytes: number;
  identification: number;
  dontFragment: boolean;
  moreFragments: boolean;
  /** Offset of this fragment in the datagram's payload, in bytes. */
  fragmentOffset: number;
  ttl: number;
  protocol: number;
  source: Ipv4;
  destination: Ipv4;
}

export function newIpv4Header(): Ipv4Header {
  return {
    headerBytes: IPV4_HEADER_BYTES,
    payloadBytes: 0,
    identification: 0,
    dontFragment: false,
    moreFragments: false,
    fragmentOffset: 0,
    ttl: 64,
    protocol: 0,
    source: 0,
    destination: 0,
  };
}

/** Fills `into`; false for a wrong version, lengths that contradict the frame's, or a wrong header checksum. */
export function decodeIpv4(view: DataView, at: number, lengthBytes: number, into: Ipv4Header): boolean {
  if (lengthBytes < IPV4_HEADER_BYTES) return false;
  const versionAndLength = view.getUint8(at);
  const headerBytes = (versionAndLength & 15) * 4;
  const totalBytes = view.getUint16(at + 2);
  if (versionAndLength >>> 4 !== 4 || headerBytes < IPV4_HEADER_BYTES) return false;
  if (totalBytes < headerBytes || totalBytes > lengthBytes) return false;
  if (!sumIsValid(addToSum(view, at, headerBytes, 0))) return false;
  const fragment = view.getUint16(at + 6);
  into.headerBytes = headerBytes;
  into.payloadBytes = totalBytes - headerBytes;
  into.identification = view.getUint16(at + 4);
  into.dontFragment = (fragment & DONT_FRAGMENT) !== 0;
  into.moreFragments = (fragment & MORE_FRAGMENTS) !== 0;
  into.fragmentOffset = (fragment & 0x1fff) * 8;
  into.ttl = view.getUint8(at + 8);
  into.protocol = view.getUint8(at + 9);
  into.source = view.getUint32(at + 12);
  into.destination = view.getUint32(at + 16);
  return true;
}

/** Writes a 20-byte header with its checksum; `headerBytes` is not read, `fragmentOffset` is a multiple of 8. */
export function encodeIpv4(view: DataView, at: number, header: Ipv4Header): void {
  const flags = (header.dontFragment ? DONT_FRAGMENT : 0) | (header.moreFragments ? MORE_FRAGMENTS : 0);
  view.setUint16(at, 0x4500);
  view.setUint16(at + 2, IPV4_HEADER_BYTES + header.payloadBytes);
  view.setUint16(at + 4, header.identification);
  view.setUint16(at + 6, flags | (header.fragmentOffset >>> 3));
  view.setUint8(at + 8, header.ttl);
  view.setUint8(at + 9, header.protocol);
  view.setUint16(at + 10, 0);
  view.setUint32(at + 12, header.source);
  view.setUint32(at + 16, header.destination);
  view.setUint16(at + 10, foldChecksum(addToSum(view, at, IPV4_HEADER_BYTES, 0)));
}

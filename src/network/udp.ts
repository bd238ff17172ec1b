/** UDP headers (RFC 768): ports, length, checksum (0 from the sender means "none"). */
import type { Ipv4 } from './addresses.ts';
import { addToSum, foldChecksum, pseudoHeaderSum, sumIsValid } from './checksum.ts';
import { PROTOCOL_UDP } from './ipv4.ts';

export const UDP_HEADER_BYTES = 8;
/** The largest payload of a UDP datagram over IPv4. */
export const MAX_UDP_PAYLOAD_BYTES = 65535 - 20 - UDP_HEADER_BYTES;

export interface UdpHeader {
  sourcePort: number;
  destinationPort: number;
  payloadBytes: number;
}

export function newUdpHeader(): UdpHeader {
  return { sourcePort: 0, destinationPort: 0, payloadBytes: 0 };
}

/** Fills `into`; false when the lengths contradict each other. The checksum is judged by `udpChecksumIsValid`. */
export function decodeUdp(view: DataView, at: number, lengthBytes: number, into: UdpHeader): boolean {
  if (lengthBytes < UDP_HEADER_BYTES) return false;
  const udpBytes = view.getUint16(at + 4);
  if (udpBytes < UDP_HEADER_BYTES || udpBytes > lengthBytes) return false;
  into.sourcePort = view.getUint16(at);
  into.destinationPort = view.getUint16(at + 2);
  into.payloadBytes = udpBytes - UDP_HEADER_BYTES;
  return true;
}

/** Checks a datagram whose lengths `decodeUdp` has found sound. */
export function udpChecksumIsValid(view: DataView, at: number, source: Ipv4, destination: Ipv4): boolean {
  if (view.getUint16(at + 6) === 0) return true;
  const udpBytes = view.getUint16(at + 4);
  return sumIsValid(addToSum(view, at, udpBytes, pseudoHeaderSum(source, destination, PROTOCOL_UDP, udpBytes)));
}

/** Writes the header in front of `payloadBytes` bytes that are already in place, and the checksum over both. */
export function encodeUdp(view: DataView, at: number, header: UdpHeader, source: Ipv4, destination: Ipv4): void {
  const udpBytes = UDP_HEADER_BYTES + header.payloadBytes;
  view.setUint16(at, header.sourcePort);
  view.setUint16(at + 2, header.destinationPort);
  view.setUint16(at + 4, udpBytes);
  view.setUint16(at + 6, 0);
  const checksum = foldChecksum(
    addToSum(view, at, udpBytes, pseudoHeaderSum(source, destination, PROTOCOL_UDP, udpBytes)),
  );
  view.setUint16(at + 6, checksum === 0 ? 0xffff : checksum);
}

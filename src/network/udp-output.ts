/** UDP datagrams for a guest: header, checksum, and fragments where one exceeds the MTU. */
import type { Ipv4 } from './addresses.ts';
import { type GuestLink, TRANSPORT_AT } from './guest-link.ts';
import { PROTOCOL_UDP } from './ipv4.ts';
import { encodeUdp, MAX_UDP_PAYLOAD_BYTES, UDP_HEADER_BYTES } from './udp.ts';

/** The two ends of a datagram to a guest. */
export interface UdpEnds {
  readonly source: Ipv4;
  readonly sourcePort: number;
  readonly guest: Ipv4;
  readonly guestPort: number;
}

/** Copies `payload` into a datagram (in fragments, where it exceeds the MTU) and sends it; false when it is too long. */
export function sendUdp(link: GuestLink, ends: UdpEnds, payload: Uint8Array): boolean {
  if (payload.length > MAX_UDP_PAYLOAD_BYTES) return false;
  const { view, bytes } = link.packet;
  bytes.set(payload, TRANSPORT_AT + UDP_HEADER_BYTES);
  const header = { sourcePort: ends.sourcePort, destinationPort: ends.guestPort, payloadBytes: payload.length };
  encodeUdp(view, TRANSPORT_AT, header, ends.source, ends.guest);
  link.sendIpv4(ends.source, ends.guest, PROTOCOL_UDP, UDP_HEADER_BYTES + payload.length);
  return true;
}

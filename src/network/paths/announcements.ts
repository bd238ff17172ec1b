/**
 * What tells a segment that a guest's addresses are now behind another port: gratuitous ARP (RFC 5227, section 2.3, an
 * announcement), unsolicited neighbour advertisements (RFC 4861, section 7.2.6), and for hardware addresses without
 * either a reverse ARP request, as QEMU sends after a migration. Bridges learn from the source, hosts from the content.
 */
import { BROADCAST_MAC, type Ipv4, type Mac, writeMac } from '../addresses.ts';
import { ARP_REQUEST, encodeArp } from '../arp.ts';
import { addToSum, foldChecksum } from '../checksum.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV6, ETHERTYPE_RARP } from './frame.ts';
import type { GuestAddress } from './guest-addresses.ts';
import { SHORTEST_FRAME_BYTES } from './probe.ts';

/** When they are sent, after the change: the first of them may be lost, or come before the port forwards. */
export const ANNOUNCED_AFTER_MS: readonly number[] = [0, 20, 100, 300, 1000];

const ALL_NODES_MAC: Mac = 0x333300000001;
const RARP_REQUEST = 3;
const ADVERTISEMENT_BYTES = 32;
/** Override: what was known is to be replaced. */
const OVERRIDE = 0x20000000;
const TARGET_LINK_LAYER_ADDRESS = 2;

export function announcement(said: GuestAddress): Uint8Array {
  return said.kind === 'ipv4' ? gratuitousArp(said.mac, said.vlan, said.address) : advertisement(said);
}

export function reverseArp(mac: Mac, vlan: number): Uint8Array {
  const { frame, view, at } = begin(BROADCAST_MAC, mac, vlan, ETHERTYPE_RARP, 28);
  encodeArp(view, at, { operation: RARP_REQUEST, senderMac: mac, senderAddress: 0, targetMac: mac, targetAddress: 0 });
  return frame;
}

function gratuitousArp(mac: Mac, vlan: number, address: Ipv4): Uint8Array {
  const { frame, view, at } = begin(BROADCAST_MAC, mac, vlan, ETHERTYPE_ARP, 28);
  const message = { operation: ARP_REQUEST, senderMac: mac, senderAddress: address, targetMac: 0 };
  encodeArp(view, at, { ...message, targetAddress: address });
  return frame;
}

function advertisement({ mac, vlan, address }: GuestAddress & { readonly kind: 'ipv6' }): Uint8Array {
  const { frame, view, at } = begin(ALL_NODES_MAC, mac, vlan, ETHERTYPE_IPV6, 40 + ADVERTISEMENT_BYTES);
  const icmpAt = at + 40;
  const own = Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(address.slice(2 * i, 2 * i + 2), 16));
  view.setUint32(at, 0x60000000);
  view.setUint16(at + 4, ADVERTISEMENT_BYTES);
  view.setUint16(at + 6, 0x3aff);
  frame.set(own, at + 8);
  view.setUint16(at + 24, 0xff02);
  view.setUint8(at + 39, 1);
  view.setUint8(icmpAt, 136);
  view.setUint32(icmpAt + 4, OVERRIDE);
  frame.set(own, icmpAt + 8);
  view.setUint8(icmpAt + 24, TARGET_LINK_LAYER_ADDRESS);
  view.setUint8(icmpAt + 25, 1);
  writeMac(view, icmpAt + 26, mac);
  // RFC 4443, section 2.3: over addresses, length and next header, then the message.
  const pseudo = addToSum(view, at + 8, 32, 0) + (ADVERTISEMENT_BYTES << 8) + (58 << 8);
  view.setUint16(icmpAt + 2, foldChecksum(addToSum(view, icmpAt, ADVERTISEMENT_BYTES, pseudo)));
  return frame;
}

function begin(
  to: Mac,
  from: Mac,
  vlan: number,
  type: number,
  payloadBytes: number,
): { frame: Uint8Array; view: DataView; at: number } {
  const at = vlan === 0 ? 14 : 18;
  const frame = new Uint8Array(Math.max(SHORTEST_FRAME_BYTES, at + payloadBytes));
  const view = new DataView(frame.buffer);
  writeMac(view, 0, to);
  writeMac(view, 6, from);
  if (vlan !== 0) view.setUint32(12, 0x81000000 + vlan);
  view.setUint16(at - 2, type);
  return { frame, view, at };
}

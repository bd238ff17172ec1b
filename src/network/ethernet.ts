/** Ethernet II headers: destination, source, type. VLAN tags and 802.3 length fields are left out. */
import { type Mac, readMac, writeMac } from './addresses.ts';

export const ETHERNET_HEADER_BYTES = 14;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;

export interface EthernetHeader {
  destination: Mac;
  source: Mac;
  type: number;
}

export function newEthernetHeader(): EthernetHeader {
  return { destination: 0, source: 0, type: 0 };
}

/** Fills `into` from the frame at `at`; false when it is too short to hold a header. */
export function decodeEthernet(view: DataView, at: number, lengthBytes: number, into: EthernetHeader): boolean {
  if (lengthBytes < ETHERNET_HEADER_BYTES) return false;
  into.destination = readMac(view, at);
  into.source = readMac(view, at + 6);
  into.type = view.getUint16(at + 12);
  return true;
}

export function encodeEthernet(view: DataView, at: number, header: EthernetHeader): void {
  writeMac(view, at, header.destination);
  writeMac(view, at + 6, header.source);
  view.setUint16(at + 12, header.type);
}

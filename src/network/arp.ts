/** ARP for IPv4 over Ethernet (RFC 826): 28 bytes, requests and replies. */
import { type Ipv4, type Mac, readMac, writeMac } from './addresses.ts';

export const ARP_BYTES = 28;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

export interface ArpMessage {
  operation: number;
  senderMac: Mac;
  senderAddress: Ipv4;
  targetMac: Mac;
  targetAddress: Ipv4;
}

export function newArpMessage(): ArpMessage {
  return { operation: 0, senderMac: 0, senderAddress: 0, targetMac: 0, targetAddress: 0 };
}

/** Fills `into`; false unless it is a whole message for Ethernet and IPv4. */
export function decodeArp(view: DataView, at: number, lengthBytes: number, into: ArpMessage): boolean {
  if (lengthBytes < ARP_BYTES) return false;
  if (view.getUint16(at) !== 1 || view.getUint16(at + 2) !== 0x0800 || view.getUint16(at + 4) !== 0x0604) return false;
  into.operation = view.getUint16(at + 6);
  into.senderMac = readMac(view, at + 8);
  into.senderAddress = view.getUint32(at + 14);
  into.targetMac = readMac(view, at + 18);
  into.targetAddress = view.getUint32(at + 24);
  return true;
}

export function encodeArp(view: DataView, at: number, message: ArpMessage): void {
  view.setUint16(at, 1);
  view.setUint16(at + 2, 0x0800);
  view.setUint16(at + 4, 0x0604);
  view.setUint16(at + 6, message.operation);
  writeMac(view, at + 8, message.senderMac);
  view.setUint32(at + 14, message.senderAddress);
  writeMac(view, at + 18, message.targetMac);
  view.setUint32(at + 24, message.targetAddress);
}

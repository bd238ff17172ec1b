/**
 * Frames that show whether a path is well: ARP requests of nobody's address (RFC 5227's probe: the sender's address is
 * zero, so that no cache learns it) to hosts of the segment, and frames from one uplink to another of it.
 *
 *     uplink to uplink: | to | from | 88b5 | "kage" | token 4 | sequence 4 | zeros to 60 |
 *
 * 88b5 is IEEE 802's type for local experiments. The token is of this process: a probe of somebody else's, or of a
 * captured one, is not ours.
 */
import { BROADCAST_MAC, type Ipv4, type Mac, writeMac } from '../addresses.ts';
import { ARP_REPLY, ARP_REQUEST, decodeArp, encodeArp, newArpMessage } from '../arp.ts';
import { ETHERTYPE_ARP, HEADER_BYTES, macAt, typeAt, wordAt } from './frame.ts';

export const ETHERTYPE_PROBE = 0x88b5;
/** The least that Ethernet carries, without its check sequence. */
export const SHORTEST_FRAME_BYTES = 60;
const MAGIC = 0x6b616765;

export function arpProbe(from: Mac, target: Ipv4): Uint8Array {
  const frame = new Uint8Array(SHORTEST_FRAME_BYTES);
  const view = new DataView(frame.buffer);
  writeMac(view, 0, BROADCAST_MAC);
  writeMac(view, 6, from);
  view.setUint16(12, ETHERTYPE_ARP);
  encodeArp(view, HEADER_BYTES, {
    operation: ARP_REQUEST,
    senderMac: from,
    senderAddress: 0,
    targetMac: 0,
    targetAddress: target,
  });
  return frame;
}

export function uplinkProbe(from: Mac, to: Mac, token: number, sequence: number): Uint8Array {
  const frame = new Uint8Array(SHORTEST_FRAME_BYTES);
  const view = new DataView(frame.buffer);
  writeMac(view, 0, to);
  writeMac(view, 6, from);
  view.setUint16(12, ETHERTYPE_PROBE);
  view.setUint32(14, MAGIC);
  view.setUint32(18, token);
  view.setUint32(22, sequence);
  return frame;
}

/** The sender of one of our probes; undefined for anything else. */
export function probeSender(frame: Uint8Array, token: number): Mac | undefined {
  if (frame.length < 26 || wordAt(frame, 12) !== ETHERTYPE_PROBE) return undefined;
  const view = viewOf(frame);
  return view.getUint32(14) === MAGIC && view.getUint32(18) === token ? macAt(frame, 6) : undefined;
}

const message = newArpMessage();

/** Who says in an ARP message that an address is theirs, tags or none; undefined for what is no such message. */
export function arpSender(frame: Uint8Array): { operation: number; mac: Mac; address: Ipv4; target: Ipv4 } | undefined {
  const at = typeAt(frame);
  if (wordAt(frame, at) !== ETHERTYPE_ARP) return undefined;
  if (!decodeArp(viewOf(frame), at + 2, frame.length - at - 2, message)) return undefined;
  const { operation, senderMac, senderAddress, targetAddress } = message;
  return { operation, mac: senderMac, address: senderAddress, target: targetAddress };
}

/** The host that answered a probe sent from `mac`. */
export function arpAnswer(frame: Uint8Array, mac: Mac): Ipv4 | undefined {
  if (macAt(frame, 0) !== mac) return undefined;
  const sender = arpSender(frame);
  return sender?.operation === ARP_REPLY ? sender.address : undefined;
}

function viewOf(frame: Uint8Array): DataView {
  return new DataView(frame.buffer, frame.byteOffset, frame.length);
}

/**
 * What the switch reads of a frame before it decides: addresses, VLAN, type, from bytes that lie anywhere.
 *
 *     | destination 6 | source 6 | (8100 or 88a8, tag 2) ... | type 2 | payload
 *
 * Tags are read and left where they are: frames pass as they came (IEEE 802.1Q, section 9). No more than two are read.
 */
// hot: a few loads for each frame, no allocation
import { isTag, typeAt, wordAt } from '../../base/frame-layers.ts';
import type { Mac } from '../addresses.ts';

export { typeAt, wordAt };

export const HEADER_BYTES = 14;
/** The largest frame: an IP packet of 65535 bytes before it is cut into segments, with two tags. */
export const LONGEST_FRAME_BYTES = 65_535 + HEADER_BYTES + 8;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_RARP = 0x8035;

export function macAt(frame: Uint8Array, at: number): Mac {
  const low = ((frame[at + 2] ?? 0) << 24) | ((frame[at + 3] ?? 0) << 16) | wordAt(frame, at + 4);
  return wordAt(frame, at) * 2 ** 32 + (low >>> 0);
}

/** Whether the frame goes to a group: multicast and broadcast. */
export function isToGroup(frame: Uint8Array): boolean {
  return ((frame[0] ?? 0) & 1) !== 0;
}

/** The VLAN of the outermost tag, 0 without one. */
export function vlanOf(frame: Uint8Array): number {
  const type = wordAt(frame, 12);
  return isTag(type) ? wordAt(frame, 14) & 0xfff : 0;
}

/** Whether the frame has a tag: what it may be longer by. */
export function tagBytes(frame: Uint8Array): number {
  return typeAt(frame) - 12;
}

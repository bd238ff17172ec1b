/**
 * What the switch reads of a frame before it decides: addresses, VLAN, type, from bytes that lie anywhere.
 *
 *     | destination 6 | source 6 | (8100 or 88a8, tag 2) ... | type 2 | payload
 *
 * Tags are read and left where they are: frames pass as they came (IEEE 802.1Q, section 9). No more than two are read.
 */
// hot: a few loads for each frame, no allocation
import type { Mac } from '../addresses.ts';

export const HEADER_BYTES = 14;
/** The largest frame: an IP packet of 65535 bytes before it is cut into segments, with two tags. */
export const LONGEST_FRAME_BYTES = 65_535 + HEADER_BYTES + 8;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_RARP = 0x8035;
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_SERVICE_VLAN = 0x88a8;
const TAG_BYTES = 4;
const MOST_TAGS = 2;

/** The 16-bit number at `at`, 0 beyond the end. */
export function wordAt(frame: Uint8Array, at: number): number {
  return ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
}

export function macAt(frame: Uint8Array, at: number): Mac {
  const low = ((frame[at + 2] ?? 0) << 24) | ((frame[at + 3] ?? 0) << 16) | wordAt(frame, at + 4);
  return wordAt(frame, at) * 2 ** 32 + (low >>> 0);
}

/** Whether the frame goes to a group: multicast and broadcast. */
export function isToGroup(frame: Uint8Array): boolean {
  return ((frame[0] ?? 0) & 1) !== 0;
}

/** Where the type of the payload stands: behind the tags. */
export function typeAt(frame: Uint8Array): number {
  let at = 12;
  for (let tag = 0; tag < MOST_TAGS; tag += 1) {
    const type = wordAt(frame, at);
    if (type !== ETHERTYPE_VLAN && type !== ETHERTYPE_SERVICE_VLAN) break;
    at += TAG_BYTES;
  }
  return at;
}

/** The VLAN of the outermost tag, 0 without one. */
export function vlanOf(frame: Uint8Array): number {
  const type = wordAt(frame, 12);
  return type === ETHERTYPE_VLAN || type === ETHERTYPE_SERVICE_VLAN ? wordAt(frame, 14) & 0xfff : 0;
}

/** Whether the frame has a tag: what it may be longer by. */
export function tagBytes(frame: Uint8Array): number {
  return typeAt(frame) - 12;
}

/**
 * Which frames the driver wants (virtio 1.2, section 5.1.6.5): by destination address and by VLAN, as it has set with
 * control commands. Until it does, and always if it has not accepted that, it gets all.
 */
import { FILTER_ADDRESSES, MAC_BYTES, type NetState } from './net-state.ts';

/** Kinds of frames that are received, or not, whatever the tables say; in the order of the commands of class RX. */
export const RECEIVE = {
  promiscuous: 1 << 0,
  allMulticast: 1 << 1,
  allUnicast: 1 << 2,
  noMulticast: 1 << 3,
  noUnicast: 1 << 4,
  noBroadcast: 1 << 5,
} as const;
export const RECEIVE_KINDS = 6;
/** Beyond the commands: the driver has set more addresses than there is room for. */
const TOO_MANY = { unicasts: 1 << 6, multicasts: 1 << 7 } as const;
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_AT = 12;

/** As after a reset: everything is received, and no VLAN once VLANs count. */
export function openFilter(state: NetState): void {
  state.receives = RECEIVE.promiscuous;
  state.unicasts = state.multicasts = 0;
  state.vlans.fill(0);
}

/** The addresses of one kind; `count` of them were named, of which `table` has as many as there is room for. */
export function setAddresses(state: NetState, kind: 'unicasts' | 'multicasts', count: number, table: Uint8Array): void {
  const fits = count <= FILTER_ADDRESSES;
  state[kind] = fits ? count : 0;
  state.receives = fits ? state.receives & ~TOO_MANY[kind] : state.receives | TOO_MANY[kind];
  if (fits) (kind === 'unicasts' ? state.unicastTable : state.multicastTable).set(table);
}

/** Whether the driver wants the frame, an Ethernet header at least. `byVlan`: it has accepted filtering by VLAN. */
export function wantsFrame(state: NetState, frame: Uint8Array, byVlan: boolean): boolean {
  if (byVlan && word(frame, ETHERTYPE_AT) === ETHERTYPE_VLAN) {
    const vlan = word(frame, ETHERTYPE_AT + 2) & 0xfff;
    if ((((state.vlans[vlan >> 5] ?? 0) >>> (vlan & 31)) & 1) === 0) return false;
  }
  const { receives } = state;
  if ((receives & RECEIVE.promiscuous) !== 0) return true;
  if (((frame[0] ?? 0) & 1) === 0) return wantsUnicast(state, frame);
  if (frame.subarray(0, MAC_BYTES).every((byte) => byte === 0xff)) return (receives & RECEIVE.noBroadcast) === 0;
  if ((receives & RECEIVE.noMulticast) !== 0) return false;
  if ((receives & (RECEIVE.allMulticast | TOO_MANY.multicasts)) !== 0) return true;
  return isIn(state.multicastTable, state.multicasts, frame);
}

function wantsUnicast(state: NetState, frame: Uint8Array): boolean {
  const { receives } = state;
  if ((receives & RECEIVE.noUnicast) !== 0) return false;
  if ((receives & (RECEIVE.allUnicast | TOO_MANY.unicasts)) !== 0) return true;
  return isIn(state.config, 1, frame) || isIn(state.unicastTable, state.unicasts, frame);
}

/** Whether the frame's destination is among the first `count` addresses. */
function isIn(table: Uint8Array, count: number, frame: Uint8Array): boolean {
  const end = Math.min(count, FILTER_ADDRESSES) * MAC_BYTES;
  for (let at = 0; at < end; at += MAC_BYTES) {
    let i = 0;
    while (i < MAC_BYTES && table[at + i] === frame[i]) i++;
    if (i === MAC_BYTES) return true;
  }
  return false;
}

function word(frame: Uint8Array, at: number): number {
  return ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
}

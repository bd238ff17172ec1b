/**
 * The addresses that a guest answers to at a virtual interface, learned from what it says itself: ARP (its own hardware
 * and IPv4 address) and neighbour discovery (RFC 4861). Not from the packets it sends: a guest may forward those of
 * others, and these must not be announced. Bounded, the oldest goes first; an address that somebody on the segment takes
 * (a cluster's address that moved) is forgotten.
 */
import type { Ipv4, Mac } from '../addresses.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV6, macAt, typeAt, vlanOf, wordAt } from './frame.ts';
import { arpSender } from './probe.ts';

export type GuestAddress =
  | { readonly kind: 'ipv4'; readonly mac: Mac; readonly vlan: number; readonly address: Ipv4 }
  /** 16 bytes as 32 hexadecimal digits. */
  | { readonly kind: 'ipv6'; readonly mac: Mac; readonly vlan: number; readonly address: string };

const MOST_ADDRESSES = 64;
const ICMPV6 = 58;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;

export class GuestAddresses {
  readonly #addresses = new Map<string, GuestAddress>();

  get size(): number {
    return this.#addresses.size;
  }

  list(): GuestAddress[] {
    return [...this.#addresses.values()];
  }

  /** Known from elsewhere, as `list` has it. */
  take(known: readonly GuestAddress[]): void {
    for (const one of known) this.#keep(one);
  }

  /** A frame of the guest's. */
  observe(frame: Uint8Array): void {
    const said = saidIn(frame);
    if (said !== undefined) this.#keep(said);
  }

  /** A frame of the segment's: an address of ours that somebody else says is theirs is so from now on. */
  observeOthers(frame: Uint8Array): void {
    const said = saidIn(frame);
    if (said === undefined) return;
    const key = keyOf(said);
    const ours = this.#addresses.get(key);
    if (ours !== undefined && ours.mac !== said.mac) this.#addresses.delete(key);
  }

  #keep(said: GuestAddress): void {
    const key = keyOf(said);
    this.#addresses.delete(key);
    if (this.#addresses.size >= MOST_ADDRESSES) {
      for (const oldest of this.#addresses.keys()) {
        this.#addresses.delete(oldest);
        break;
      }
    }
    this.#addresses.set(key, said);
  }
}

/** Whether a frame may name an address: most do not, and are not looked at any further. */
export function mayNameAddress(frame: Uint8Array): boolean {
  const at = typeAt(frame);
  const type = wordAt(frame, at);
  return type === ETHERTYPE_ARP || (type === ETHERTYPE_IPV6 && frame[at + 8] === ICMPV6);
}

function keyOf({ kind, vlan, address }: GuestAddress): string {
  return `${kind} ${vlan} ${address}`;
}

function saidIn(frame: Uint8Array): GuestAddress | undefined {
  const at = typeAt(frame);
  const type = wordAt(frame, at);
  const mac = macAt(frame, 6);
  const vlan = vlanOf(frame);
  if (type === ETHERTYPE_IPV6) {
    const address = neighbourIn(frame, at + 2);
    return address === undefined ? undefined : { kind: 'ipv6', mac, vlan, address };
  }
  if (type !== ETHERTYPE_ARP) return undefined;
  const sender = arpSender(frame);
  if (sender === undefined || sender.address === 0 || sender.mac !== mac) return undefined;
  return { kind: 'ipv4', mac, vlan, address: sender.address };
}

/** The sender's own address: the target of an advertisement; the source of a solicitation, or what it is to become. */
function neighbourIn(frame: Uint8Array, ipAt: number): string | undefined {
  const icmpAt = ipAt + 40;
  if (frame.length < icmpAt + 24 || frame[ipAt + 6] !== ICMPV6 || frame[ipAt + 7] !== 255) return undefined;
  const type = frame[icmpAt];
  const target = hexAt(frame, icmpAt + 8);
  if (type === NEIGHBOUR_ADVERTISEMENT) return target;
  if (type !== NEIGHBOUR_SOLICITATION) return undefined;
  const source = hexAt(frame, ipAt + 8);
  return /^0+$/.test(source) ? target : source;
}

function hexAt(frame: Uint8Array, at: number): string {
  let text = '';
  for (let i = at; i < at + 16; i += 1) text += (frame[i] ?? 0).toString(16).padStart(2, '0');
  return text;
}

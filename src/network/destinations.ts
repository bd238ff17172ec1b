/**
 * What an address means on either side of the gateway. A guest's packet to the gateway's own address goes to the
 * host's loopback; to the name server's address, to the host's name server; within the guests' network to nobody;
 * elsewhere as it stands. In the other direction the host's loopback appears as the gateway.
 */
import {
  ANY_ADDRESS,
  contains,
  formatIpv4,
  type Ipv4,
  isLoopback,
  isMulticast,
  LIMITED_BROADCAST,
  LOOPBACK_ADDRESS,
  parseIpv4,
} from './addresses.ts';
import type { NetworkConfig } from './config.ts';

export type Destination =
  /** Reached through a socket of the host at this address. */
  | { readonly kind: 'host'; readonly address: string }
  /** Our own name server. */
  | { readonly kind: 'dns' }
  /** Not to be had: forbidden by `restrict` or `hostLoopback`. */
  | { readonly kind: 'prohibited' }
  /** Nobody is there: an address of the guests' network, or one that no host may have. */
  | { readonly kind: 'nobody' };

const DNS: Destination = { kind: 'dns' };
const PROHIBITED: Destination = { kind: 'prohibited' };
const NOBODY: Destination = { kind: 'nobody' };

/** Where a guest's packet to `address` leads. */
export function destinationOf(config: NetworkConfig, address: Ipv4): Destination {
  if (config.restrict) return PROHIBITED;
  if (address === config.dns) return DNS;
  if (address === config.gateway)
    return config.hostLoopback ? { kind: 'host', address: formatIpv4(LOOPBACK_ADDRESS) } : PROHIBITED;
  if (contains(config.prefix, address) || !isUnicast(address)) return NOBODY;
  return { kind: 'host', address: formatIpv4(address) };
}

/**
 * As whom the guest sees a host's address: loopback, IPv6 and addresses that would be taken for its own neighbours
 * appear as the gateway; all do when the guest is restricted, since it has no route to any other.
 */
export function visibleAddress(config: NetworkConfig, text: string): Ipv4 {
  if (config.restrict) return config.gateway;
  const address = parseIpv4(text.startsWith('::ffff:') ? text.slice(7) : text);
  if (address === undefined || !isUnicast(address) || contains(config.prefix, address)) return config.gateway;
  return address;
}

function isUnicast(address: Ipv4): boolean {
  const reserved = address >>> 24 === 0 || address >= 0xf0000000;
  return !reserved && !isLoopback(address) && !isMulticast(address);
}

/** Whether a packet from this address may come out of the guests' network at all. */
export function isGuestSource(config: NetworkConfig, address: Ipv4): boolean {
  return (
    contains(config.prefix, address) &&
    address !== config.gateway &&
    address !== config.dns &&
    address !== config.prefix.address &&
    address !== (config.prefix.address | ~config.prefix.mask) >>> 0 &&
    address !== ANY_ADDRESS &&
    address !== LIMITED_BROADCAST
  );
}

/**
 * The network's configuration: addresses, what DHCP tells, what the guest may reach, and the bounds of every table.
 * Operators write text; it is checked here once. The defaults are those of QEMU's `-netdev user`.
 */
import { OperatorError } from '../base/errors.ts';
import {
  broadcastOf,
  contains,
  formatIpv4,
  type Ipv4,
  type Ipv4Prefix,
  type Mac,
  parseIpv4,
  parseIpv4Prefix,
  parseMac,
} from './addresses.ts';
import { type PublishRule, parseHostForward } from './publish.ts';

export interface NetworkLimits {
  readonly tcpConnections: number;
  /** One direction of one connection. */
  readonly tcpBufferBytes: number;
  /** All connections together. */
  readonly tcpTotalBufferBytes: number;
  /** How long a closed connection answers late segments (TIME-WAIT). */
  readonly tcpTimeWaitMs: number;
  /** Segments that came ahead of their turn, per connection. */
  readonly tcpOutOfOrderSegments: number;
  readonly udpFlows: number;
  readonly udpIdleMs: number;
  /** Remote addresses that may answer to one flow, and clients remembered per network for published UDP ports. */
  readonly udpPeers: number;
  readonly dnsQueries: number;
  readonly dnsTimeoutMs: number;
  readonly reassemblies: number;
  readonly reassemblyMs: number;
  readonly neighbours: number;
  readonly leases: number;
  /** Frames kept while the guest's receive ring is full (TCP waits by itself and is not kept). */
  readonly queuedFrames: number;
  readonly echoRequests: number;
}

export const DEFAULT_LIMITS: NetworkLimits = {
  tcpConnections: 1024,
  tcpBufferBytes: 1 << 20,
  tcpTotalBufferBytes: 128 << 20,
  tcpTimeWaitMs: 2000,
  tcpOutOfOrderSegments: 128,
  udpFlows: 256,
  udpIdleMs: 60_000,
  udpPeers: 256,
  dnsQueries: 64,
  dnsTimeoutMs: 10_000,
  reassemblies: 16,
  reassemblyMs: 15_000,
  neighbours: 64,
  leases: 16,
  queuedFrames: 256,
  echoRequests: 16,
};

/** What an operator may set, as text; everything has a default. */
export interface NetworkOptions {
  /** The guests' network, "10.0.2.0/24". */
  readonly network?: string;
  /** The gateway, which leads to the host's loopback: by default the network's second address. */
  readonly gateway?: string;
  /** The name server: by default the third address. */
  readonly dns?: string;
  /** The first guest's address, which DHCP hands out: by default the fifteenth. */
  readonly guest?: string;
  /** The gateway's hardware address: by default 52:55 followed by its IPv4 address. */
  readonly gatewayMac?: string;
  readonly hostname?: string;
  readonly domain?: string;
  readonly dhcp?: boolean;
  readonly leaseSeconds?: number;
  readonly mtu?: number;
  /** No traffic to the host or beyond it; DHCP and published ports work. */
  readonly restrict?: boolean;
  /** Whether the gateway's address leads to the host's loopback: true unless set. */
  readonly hostLoopback?: boolean;
  readonly publish?: readonly PublishRule[];
  readonly limits?: Partial<NetworkLimits>;
}

export interface NetworkConfig {
  readonly prefix: Ipv4Prefix;
  readonly gateway: Ipv4;
  readonly dns: Ipv4;
  readonly guest: Ipv4;
  readonly gatewayMac: Mac;
  readonly hostname: string | undefined;
  readonly domain: string | undefined;
  readonly dhcp: boolean;
  readonly leaseSeconds: number;
  /** The largest IPv4 packet that is sent to the guest, in bytes; larger ones are accepted from it. */
  readonly mtu: number;
  readonly restrict: boolean;
  readonly hostLoopback: boolean;
  readonly publish: readonly PublishRule[];
  readonly limits: NetworkLimits;
}

const MIN_MTU = 576;
const MAX_MTU = 65_535;
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

/** Checks the options and fills in the defaults. Throws OperatorError `bad-network`. */
export function networkConfig(options: NetworkOptions = {}): NetworkConfig {
  const prefix = parseIpv4Prefix(options.network ?? '10.0.2.0/24');
  if (prefix === undefined || prefix.mask < 0xff000000 || prefix.mask > 0xfffffff8)
    throw bad(`"${options.network}" is not an IPv4 network of 8 to 29 bits`, 'Write it as 10.0.2.0/24.');
  const size = broadcastOf(prefix) - prefix.address + 1;
  const gateway = address('gateway', options.gateway, prefix, 2);
  const dns = address('DNS address', options.dns, prefix, 3);
  const guest = address('guest address', options.guest, prefix, size > 16 ? 15 : 4);
  if (gateway === dns || gateway === guest || dns === guest)
    throw bad('the gateway, the DNS address and the guest address must differ', 'Give each an address of its own.');
  const gatewayMac = options.gatewayMac === undefined ? 0x5255 * 2 ** 32 + gateway : parseMac(options.gatewayMac);
  if (gatewayMac === undefined)
    throw bad(`"${options.gatewayMac}" is not a MAC address`, 'Write it as 52:55:0a:00:02:02.');
  const mtu = options.mtu ?? 1500;
  if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > MAX_MTU)
    throw bad(`the MTU ${mtu} is out of range`, `Choose one from ${MIN_MTU} to ${MAX_MTU}.`);
  const leaseSeconds = options.leaseSeconds ?? 86_400;
  if (!Number.isInteger(leaseSeconds) || leaseSeconds < 60 || leaseSeconds > 0xffffffff)
    throw bad(`the lease time ${leaseSeconds} is out of range`, 'Choose 60 seconds or more.');
  return {
    prefix,
    gateway,
    dns,
    guest,
    gatewayMac,
    hostname: name('host name', options.hostname, 64),
    domain: name('domain', options.domain, 253),
    dhcp: options.dhcp ?? true,
    leaseSeconds,
    mtu,
    restrict: options.restrict ?? false,
    hostLoopback: options.hostLoopback ?? true,
    publish: options.publish ?? [],
    limits: limits(options.limits ?? {}),
  };
}

/**
 * Reads the part of QEMU's `-netdev user,...` behind `user`: net, host, dns, dhcpstart, hostname, domainname,
 * restrict, hostfwd (repeatable), id (ignored), and our own mtu. Throws OperatorError `bad-network`.
 */
export function parseNetdevUser(text: string): NetworkOptions {
  const options: { -readonly [K in keyof NetworkOptions]: NetworkOptions[K] } = {};
  const publish: PublishRule[] = [];
  for (const pair of text.split(',').filter((part) => part !== '')) {
    const equals = pair.indexOf('=');
    const key = equals < 0 ? pair : pair.slice(0, equals);
    const value = equals < 0 ? 'on' : pair.slice(equals + 1);
    switch (key) {
      case 'id':
        break;
      case 'net':
        options.network = value;
        break;
      case 'host':
        options.gateway = value;
        break;
      case 'dns':
        options.dns = value;
        break;
      case 'dhcpstart':
        options.guest = value;
        break;
      case 'hostname':
        options.hostname = value;
        break;
      case 'domainname':
        options.domain = value;
        break;
      case 'mtu':
        options.mtu = Number(value);
        break;
      case 'restrict':
        options.restrict = onOff(key, value);
        break;
      case 'hostfwd':
        publish.push(parseHostForward(value));
        break;
      default:
        throw bad(
          `the network option "${key}" is unknown`,
          'Known are net, host, dns, dhcpstart, hostname, domainname, mtu, restrict, hostfwd and id.',
        );
    }
  }
  if (publish.length > 0) options.publish = publish;
  return options;
}

function bad(why: string, fix: string): OperatorError {
  return new OperatorError('bad-network', `The network cannot be set up: ${why}.`, fix);
}

function onOff(key: string, value: string): boolean {
  if (value === 'on' || value === 'yes' || value === 'y') return true;
  if (value === 'off' || value === 'no' || value === 'n') return false;
  throw bad(`"${value}" is not a value for ${key}`, 'Write on or off.');
}

function address(what: string, text: string | undefined, prefix: Ipv4Prefix, fallback: number): Ipv4 {
  const value = text === undefined ? prefix.address + fallback : parseIpv4(text);
  const host =
    value !== undefined && contains(prefix, value) && value !== prefix.address && value !== broadcastOf(prefix);
  if (!host)
    throw bad(
      `the ${what} "${text}" is not a host of its network`,
      `Choose one between ${formatIpv4(prefix.address + 1)} and ${formatIpv4(broadcastOf(prefix) - 1)}.`,
    );
  return value;
}

function name(what: string, text: string | undefined, most: number): string | undefined {
  if (text !== undefined && (text.length > most || !NAME.test(text)))
    throw bad(`"${text}" is not a ${what}`, `Use letters, digits, hyphens and dots, at most ${most} of them.`);
  return text;
}

function limits(given: Partial<NetworkLimits>): NetworkLimits {
  const all = { ...DEFAULT_LIMITS, ...given };
  for (const [key, value] of Object.entries(all) as [string, number][])
    if (!Number.isSafeInteger(value) || value < 1)
      throw bad(`the limit ${key} is ${value}`, 'Limits are positive whole numbers.');
  return all;
}

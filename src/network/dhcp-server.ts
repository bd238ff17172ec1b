/**
 * The DHCP server of the guests' network (RFC 2131, 4.3): hands out addresses from the configured one upwards, one
 * per hardware address, and tells netmask, router, name server, host name, domain and MTU. The first guest to ask
 * gets the configured address, so that published ports find it. No relays, no client identifiers: the hardware
 * address names the client.
 */
import { ANY_ADDRESS, broadcastOf, type Ipv4, LIMITED_BROADCAST, type Mac } from './addresses.ts';
import {
  BOOT_REPLY,
  BOOT_REQUEST,
  DHCP_ACK,
  DHCP_DECLINE,
  DHCP_DISCOVER,
  DHCP_INFORM,
  DHCP_NAK,
  DHCP_OFFER,
  DHCP_RELEASE,
  DHCP_REQUEST,
  type DhcpMessage,
  decodeDhcp,
  encodeDhcp,
  messageType,
  OPTION_BROADCAST,
  OPTION_DNS,
  OPTION_DOMAIN,
  OPTION_HOSTNAME,
  OPTION_LEASE_SECONDS,
  OPTION_MESSAGE_TYPE,
  OPTION_MTU,
  OPTION_REBINDING_SECONDS,
  OPTION_RENEWAL_SECONDS,
  OPTION_REQUESTED_ADDRESS,
  OPTION_ROUTER,
  OPTION_SERVER,
  OPTION_SUBNET_MASK,
  option,
  optionUint32,
} from './dhcp.ts';
import type { GuestLink } from './guest-link.ts';
import type { Clock } from './ports.ts';

/** How long an offered address waits for its request, and a declined one is left alone. */
const OFFER_MS = 60_000;
const DECLINED: Mac = -1;

export interface Lease {
  readonly mac: Mac;
  readonly address: Ipv4;
  expiresMs: number;
}

/** Where a reply goes, and what it says. */
export interface DhcpReply {
  readonly mac: Mac | 'broadcast';
  readonly address: Ipv4;
  readonly message: Uint8Array;
}

export class DhcpServer {
  readonly #link: GuestLink;
  readonly #clock: Clock;
  readonly #leases = new Map<Ipv4, Lease>();

  constructor(link: GuestLink, clock: Clock) {
    this.#link = link;
    this.#clock = clock;
  }

  get size(): number {
    return this.#leases.size;
  }

  /** A message of a client; undefined when there is nothing to answer. */
  receive(bytes: Uint8Array, at: number, lengthBytes: number): DhcpReply | undefined {
    const { dhcp } = this.#link.counters;
    const message = decodeDhcp(bytes, at, lengthBytes);
    if (message === undefined || message.operation !== BOOT_REQUEST) {
      dhcp.malformed += 1;
      return undefined;
    }
    switch (messageType(message)) {
      case DHCP_DISCOVER:
        dhcp.discovers += 1;
        return this.#discover(message);
      case DHCP_REQUEST:
        dhcp.requests += 1;
        return this.#request(message);
      case DHCP_DECLINE:
        dhcp.declines += 1;
        this.#decline(message);
        return undefined;
      case DHCP_RELEASE:
        dhcp.releases += 1;
        if (this.#leases.get(message.clientAddress)?.mac === message.clientMac)
          this.#leases.delete(message.clientAddress);
        return undefined;
      case DHCP_INFORM:
        dhcp.informs += 1;
        dhcp.acks += 1;
        return this.#reply(message, DHCP_ACK, ANY_ADDRESS);
      default:
        dhcp.malformed += 1;
        return undefined;
    }
  }

  /** The leases, with their remaining time. */
  save(): { mac: Mac; address: Ipv4; remainingMs: number }[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#leases.values()].map(({ mac, address, expiresMs }) => ({
      mac,
      address,
      remainingMs: expiresMs - nowMs,
    }));
  }

  /** Replaces the leases. */
  restore(saved: readonly { readonly mac: Mac; readonly address: Ipv4; readonly remainingMs: number }[]): void {
    const nowMs = this.#clock.nowMs();
    this.#leases.clear();
    for (const { mac, address, remainingMs } of saved)
      if (this.#isInPool(address)) this.#leases.set(address, { mac, address, expiresMs: nowMs + remainingMs });
  }

  #discover(message: DhcpMessage): DhcpReply | undefined {
    const { dhcp } = this.#link.counters;
    const wanted = optionUint32(message, OPTION_REQUESTED_ADDRESS);
    const address = this.#addressOf(message.clientMac) ?? this.#freeAddress(wanted);
    if (address === undefined) {
      dhcp.exhausted += 1;
      return undefined;
    }
    const lease = this.#leases.get(address);
    if (lease?.mac !== message.clientMac) this.#lease(message.clientMac, address, OFFER_MS);
    dhcp.offers += 1;
    return this.#reply(message, DHCP_OFFER, address);
  }

  #request(message: DhcpMessage): DhcpReply | undefined {
    const { dhcp } = this.#link.counters;
    const { clientMac } = message;
    const server = optionUint32(message, OPTION_SERVER);
    if (server !== undefined && server !== this.#link.config.gateway) {
      // The client chose another server's offer.
      const offered = this.#addressOf(clientMac);
      if (offered !== undefined) this.#leases.delete(offered);
      return undefined;
    }
    const wanted = optionUint32(message, OPTION_REQUESTED_ADDRESS) ?? message.clientAddress;
    const own = this.#addressOf(clientMac);
    // A client may remember an address from before this network existed: it is granted when it is free.
    if (own !== wanted && (own !== undefined || this.#freeAddress(wanted) !== wanted)) {
      dhcp.naks += 1;
      return this.#reply(message, DHCP_NAK, ANY_ADDRESS);
    }
    this.#lease(clientMac, wanted, this.#link.config.leaseSeconds * 1000);
    this.#link.learn(wanted, clientMac);
    dhcp.acks += 1;
    return this.#reply(message, DHCP_ACK, wanted);
  }

  #decline(message: DhcpMessage): void {
    const address = optionUint32(message, OPTION_REQUESTED_ADDRESS);
    if (address === undefined || this.#leases.get(address)?.mac !== message.clientMac) return;
    this.#lease(DECLINED, address, OFFER_MS);
  }

  #addressOf(mac: Mac): Ipv4 | undefined {
    for (const lease of this.#leases.values()) if (lease.mac === mac) return lease.address;
    return undefined;
  }

  #freeAddress(wanted: Ipv4 | undefined): Ipv4 | undefined {
    const nowMs = this.#clock.nowMs();
    const isFree = (address: Ipv4): boolean => (this.#leases.get(address)?.expiresMs ?? 0) <= nowMs;
    if (wanted !== undefined && this.#isInPool(wanted) && isFree(wanted)) return wanted;
    for (let address = this.#link.config.guest; this.#isBelowEnd(address); address += 1)
      if (this.#isInPool(address) && isFree(address)) return address;
    return undefined;
  }

  #isBelowEnd(address: Ipv4): boolean {
    const { config } = this.#link;
    return address < config.guest + config.limits.leases && address < broadcastOf(config.prefix);
  }

  #isInPool(address: Ipv4): boolean {
    const { guest, gateway, dns } = this.#link.config;
    return address >= guest && this.#isBelowEnd(address) && address !== gateway && address !== dns;
  }

  #lease(mac: Mac, address: Ipv4, durationMs: number): void {
    this.#leases.set(address, { mac, address, expiresMs: this.#clock.nowMs() + durationMs });
  }

  #reply(request: DhcpMessage, type: number, yourAddress: Ipv4): DhcpReply {
    const { config } = this.#link;
    const options = new Map([
      [OPTION_MESSAGE_TYPE, option.uint8(type)],
      [OPTION_SERVER, option.uint32(config.gateway)],
    ]);
    const grants = type === DHCP_OFFER || (type === DHCP_ACK && yourAddress !== ANY_ADDRESS);
    if (grants) {
      options.set(OPTION_LEASE_SECONDS, option.uint32(config.leaseSeconds));
      options.set(OPTION_RENEWAL_SECONDS, option.uint32(Math.floor(config.leaseSeconds / 2)));
      options.set(OPTION_REBINDING_SECONDS, option.uint32(Math.floor((config.leaseSeconds * 7) / 8)));
    }
    if (type !== DHCP_NAK) {
      options.set(OPTION_SUBNET_MASK, option.uint32(config.prefix.mask));
      options.set(OPTION_BROADCAST, option.uint32(broadcastOf(config.prefix)));
      if (!config.restrict) options.set(OPTION_ROUTER, option.uint32(config.gateway));
      if (!config.restrict) options.set(OPTION_DNS, option.uint32(config.dns));
      options.set(OPTION_MTU, option.uint16(config.mtu));
      if (config.hostname !== undefined) options.set(OPTION_HOSTNAME, option.text(config.hostname));
      if (config.domain !== undefined) options.set(OPTION_DOMAIN, option.text(config.domain));
    }
    const message = encodeDhcp({
      operation: BOOT_REPLY,
      transaction: request.transaction,
      broadcast: request.broadcast,
      clientAddress: type === DHCP_NAK ? ANY_ADDRESS : request.clientAddress,
      yourAddress,
      serverAddress: type === DHCP_NAK ? ANY_ADDRESS : config.gateway,
      clientMac: request.clientMac,
      options,
    });
    // RFC 2131, 4.1: to the client's address if it has one, else broadcast if it asks for that, else to its hardware.
    if (type !== DHCP_NAK && request.clientAddress !== ANY_ADDRESS)
      return { mac: request.clientMac, address: request.clientAddress, message };
    if (type === DHCP_NAK || request.broadcast) return { mac: 'broadcast', address: LIMITED_BROADCAST, message };
    return { mac: request.clientMac, address: yourAddress, message };
  }
}

/**
 * The TCP connections of the guests: finds the one a segment belongs to, opens new ones for a guest's SYN or a
 * client of a published port, resets what nobody knows, and keeps the table and its buffers within their bounds by
 * ending the connection that has been idle for longest.
 */
import type { Ipv4 } from './addresses.ts';
import { BufferBudget } from './byte-ring.ts';
import { ConnectionTable } from './connection-table.ts';
import { type Destination, destinationOf, visibleAddress } from './destinations.ts';
import { DNS_PORT } from './dns.ts';
import type { GuestLink } from './guest-link.ts';
import { UNREACHABLE_HOST, UNREACHABLE_PROHIBITED } from './icmp.ts';
import type { Ipv4Header } from './ipv4.ts';
import type { Packet } from './packet.ts';
import type { Clock, IncomingTcp, NetworkPorts, Timers } from './ports.ts';
import { decodeTcp, newTcpHeader, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, tcpChecksumIsValid } from './tcp.ts';
import { type TcpContext, TcpEndpoint } from './tcp-endpoint.ts';
import { type ConnectionTuple, TcpOutput } from './tcp-output.ts';

/** A connection as a snapshot keeps it: enough to reset it. */
export interface SavedConnection extends ConnectionTuple {
  readonly sequence: number;
  readonly acknowledgement: number;
}

/** Tells the guest that the destination of its SYN cannot be reached. */
export type TellUnreachable = (code: number, tuple: ConnectionTuple, sequence: number) => void;

const FIRST_EPHEMERAL_PORT = 49152;
const PORT_ATTEMPTS = 64;

export class TcpNat implements TcpContext {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly link: GuestLink;
  readonly output: TcpOutput;
  readonly budget: BufferBudget;
  readonly #ports: NetworkPorts;
  readonly #tellUnreachable: TellUnreachable;
  readonly #table = new ConnectionTable<TcpEndpoint>();
  readonly #header = newTcpHeader();

  constructor(link: GuestLink, ports: NetworkPorts, tellUnreachable: TellUnreachable) {
    this.link = link;
    this.clock = ports.clock;
    this.timers = ports.timers;
    this.output = new TcpOutput(link);
    this.budget = new BufferBudget(link.config.limits.tcpTotalBufferBytes);
    this.#ports = ports;
    this.#tellUnreachable = tellUnreachable;
  }

  get size(): number {
    return this.#table.size;
  }

  /** A TCP segment of a guest at `at` in `packet`. */
  receive(ip: Ipv4Header, packet: Packet, at: number, checksumValid: boolean): void {
    const { tcp } = this.link.counters;
    const header = this.#header;
    tcp.segmentsIn += 1;
    if (!decodeTcp(packet.view, at, ip.payloadBytes, header)) {
      tcp.malformed += 1;
      return;
    }
    if (!checksumValid && !tcpChecksumIsValid(packet.view, at, ip.payloadBytes, ip.source, ip.destination)) {
      tcp.badChecksum += 1;
      return;
    }
    const { sourcePort, destinationPort, flags } = header;
    const known = this.#table.find(ip.source, sourcePort, ip.destination, destinationPort);
    const opens = (flags & (TCP_SYN | TCP_ACK | TCP_RST)) === TCP_SYN;
    if (known !== undefined && !(opens && known.state === 'time-wait')) {
      known.segment(header, packet.bytes, at + header.headerBytes, at + ip.payloadBytes);
      return;
    }
    known?.discard();
    const tuple = { guest: ip.source, guestPort: sourcePort, remote: ip.destination, remotePort: destinationPort };
    if (opens && sourcePort !== 0 && destinationPort !== 0) this.#open(tuple);
    else this.#resetUnknown(tuple, ip.payloadBytes - header.headerBytes);
  }

  /** Leads a client of a published port to the guest; false when there is no room for it. */
  accept(client: IncomingTcp, guest: Ipv4, guestPort: number): boolean {
    const remote = visibleAddress(this.link.config, client.address);
    const tuple = this.#freeTuple(guest, guestPort, remote, client.port);
    if (tuple === undefined || !this.#makeEntry()) return false;
    this.link.counters.tcp.accepted += 1;
    const endpoint = new TcpEndpoint(this, tuple, 'syn-sent', this.#ports.random());
    this.#table.add(endpoint);
    endpoint.openToGuest(client.accept(endpoint));
    return true;
  }

  makeRoom(sizeBytes: number, asker: TcpEndpoint): boolean {
    if (this.budget.allows(sizeBytes)) return true;
    for (const endpoint of this.#table) endpoint.trim();
    while (!this.budget.allows(sizeBytes)) if (!this.#evict(asker)) return false;
    return true;
  }

  unreachable(tuple: ConnectionTuple, sequence: number): void {
    this.#tellUnreachable(UNREACHABLE_HOST, tuple, sequence);
  }

  closed(endpoint: TcpEndpoint): void {
    this.#table.remove(endpoint);
  }

  save(): SavedConnection[] {
    const saved: SavedConnection[] = [];
    for (const endpoint of this.#table) {
      if (endpoint.state === 'time-wait') continue;
      const { guest, guestPort, remote, remotePort } = endpoint;
      saved.push({ guest, guestPort, remote, remotePort, ...endpoint.resetNumbers() });
    }
    return saved;
  }

  /** Ends all connections without a word, then resets those of the snapshot: their host sockets are gone. */
  restore(saved: readonly SavedConnection[]): void {
    this.close();
    for (const { sequence, acknowledgement, ...tuple } of saved.slice(0, this.link.config.limits.tcpConnections))
      this.#sendReset(tuple, TCP_RST | TCP_ACK, sequence, acknowledgement);
  }

  /** Ends all connections; the hosts see a reset, the guests nothing. */
  close(): void {
    for (const endpoint of [...this.#table]) endpoint.discard();
  }

  #open(tuple: ConnectionTuple): void {
    const { tcp, ipv4 } = this.link.counters;
    const target = this.#target(destinationOf(this.link.config, tuple.remote), tuple.remotePort);
    if (typeof target === 'number') {
      if (target === UNREACHABLE_PROHIBITED) ipv4.restricted += 1;
      else ipv4.badDestination += 1;
      this.#tellUnreachable(target, tuple, this.#header.sequence);
      return;
    }
    if (target === undefined) {
      tcp.refused += 1;
      this.#resetUnknown(tuple, 0);
      return;
    }
    if (!this.#makeEntry()) {
      tcp.overLimit += 1;
      this.#resetUnknown(tuple, 0);
      return;
    }
    tcp.opened += 1;
    const endpoint = new TcpEndpoint(this, tuple, 'connecting', this.#ports.random());
    this.#table.add(endpoint);
    endpoint.openFromGuest(this.#header, (events) => this.#ports.tcp.connect(target.address, target.port, events));
  }

  /** Where a SYN leads: an address of the host's, an ICMP code to refuse it with, or undefined for a reset. */
  #target(destination: Destination, port: number): { address: string; port: number } | number | undefined {
    switch (destination.kind) {
      case 'host':
        return { address: destination.address, port };
      case 'dns':
        return port === DNS_PORT ? this.#ports.dns.tcpServer() : undefined;
      case 'prohibited':
        return UNREACHABLE_PROHIBITED;
      case 'nobody':
        return UNREACHABLE_HOST;
    }
  }

  /** RFC 9293, 3.10.7.1: what belongs to no connection is reset, unless it is a reset itself. */
  #resetUnknown(tuple: ConnectionTuple, payloadBytes: number): void {
    const { flags, sequence, acknowledgement } = this.#header;
    this.link.counters.tcp.unknownConnection += 1;
    if ((flags & TCP_RST) !== 0) return;
    if ((flags & TCP_ACK) !== 0) {
      this.#sendReset(tuple, TCP_RST, acknowledgement, 0);
      return;
    }
    const length = payloadBytes + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
    this.#sendReset(tuple, TCP_RST | TCP_ACK, 0, (sequence + length) | 0);
  }

  #sendReset(tuple: ConnectionTuple, flags: number, sequence: number, acknowledgement: number): void {
    this.link.counters.tcp.resetsOut += 1;
    Object.assign(this.output.header, { flags, sequence, acknowledgement, window: 0 });
    this.output.send(tuple, undefined, 0, 0, 0);
  }

  #freeTuple(guest: Ipv4, guestPort: number, remote: Ipv4, remotePort: number): ConnectionTuple | undefined {
    if (this.#table.find(guest, guestPort, remote, remotePort) === undefined)
      return { guest, guestPort, remote, remotePort };
    // The same client may reach one guest port through two published ones.
    const { gateway } = this.link.config;
    for (let attempt = 0; attempt < PORT_ATTEMPTS; attempt += 1) {
      const port = FIRST_EPHEMERAL_PORT + (this.#ports.random() % (65536 - FIRST_EPHEMERAL_PORT));
      if (this.#table.find(guest, guestPort, gateway, port) === undefined)
        return { guest, guestPort, remote: gateway, remotePort: port };
    }
    return undefined;
  }

  #makeEntry(): boolean {
    return this.#table.size < this.link.config.limits.tcpConnections || this.#evict(undefined);
  }

  /** Ends the connection that can best be spared: one that is closed already, or the one idle for longest. */
  #evict(spared: TcpEndpoint | undefined): boolean {
    let oldest: TcpEndpoint | undefined;
    for (const endpoint of this.#table) {
      if (endpoint === spared) continue;
      if (endpoint.state === 'time-wait') {
        endpoint.discard();
        return true;
      }
      if (oldest === undefined || endpoint.lastActiveMs < oldest.lastActiveMs) oldest = endpoint;
    }
    if (oldest === undefined) return false;
    this.link.counters.tcp.evicted += 1;
    oldest.abort();
    return true;
  }
}

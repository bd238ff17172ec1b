/**
 * ICMP on the gateway's behalf (RFC 792, RFC 1122 3.2.2): echo to its addresses is answered; echo to others goes
 * through the echo port where the host has one and is otherwise refused; and guests are told of what cannot be
 * reached. One message out for one in, never larger than it, and none about ICMP errors: nothing is amplified.
 */
import type { Ipv4 } from './addresses.ts';
import { destinationOf } from './destinations.ts';
import { type GuestLink, TRANSPORT_AT } from './guest-link.ts';
import {
  decodeIcmp,
  encodeIcmp,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_HEADER_BYTES,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  newIcmpHeader,
  UNREACHABLE_HOST,
  UNREACHABLE_PROHIBITED,
} from './icmp.ts';
import { encodeIpv4, IPV4_HEADER_BYTES, type Ipv4Header, newIpv4Header, PROTOCOL_ICMP, PROTOCOL_TCP } from './ipv4.ts';
import type { Packet } from './packet.ts';
import type { IcmpPort } from './ports.ts';
import type { ConnectionTuple } from './tcp-output.ts';

/** An error quotes the packet's IP header and this much behind it (RFC 792). */
const QUOTED_BYTES = 8;

export class IcmpResponder {
  readonly #link: GuestLink;
  readonly #port: IcmpPort | undefined;
  readonly #header = newIcmpHeader();
  #outstanding = 0;

  constructor(link: GuestLink, port: IcmpPort | undefined) {
    this.#link = link;
    this.#port = port;
  }

  /** An ICMP message of a guest, whole, at `at` in `packet`; the IP header lies at `ipAt`. */
  receive(ip: Ipv4Header, packet: Packet, ipAt: number, at: number): void {
    const { icmp } = this.#link.counters;
    const { config } = this.#link;
    const header = this.#header;
    if (!decodeIcmp(packet.view, at, ip.payloadBytes, header)) {
      icmp.malformed += 1;
      return;
    }
    if (header.type !== ICMP_ECHO_REQUEST) {
      icmp.ignored += 1;
      return;
    }
    icmp.echoIn += 1;
    const data = packet.bytes.subarray(at + ICMP_HEADER_BYTES, at + ip.payloadBytes);
    if (ip.destination === config.gateway || ip.destination === config.dns) {
      this.#reply(ip.destination, ip.source, header.rest, data);
      return;
    }
    const destination = destinationOf(config, ip.destination);
    if (destination.kind === 'host' && this.#port !== undefined) {
      this.#forward(this.#port, destination.address, ip.destination, ip.source, header.rest, data);
      return;
    }
    const code = destination.kind === 'nobody' ? UNREACHABLE_HOST : UNREACHABLE_PROHIBITED;
    this.unreachable(code, ip, packet, ipAt);
  }

  /** Tells the sender of a packet, whose IP header lies at `ipAt`, that its destination cannot be reached. */
  unreachable(code: number, ip: Ipv4Header, packet: Packet, ipAt: number): void {
    if (ip.fragmentOffset > 0) return;
    this.#link.counters.icmp.unreachableOut += 1;
    this.#error(ICMP_UNREACHABLE, code, ip, packet, ipAt);
  }

  /** Tells the sender of a packet that it has lived too long (traceroute). */
  timeExceeded(ip: Ipv4Header, packet: Packet, ipAt: number): void {
    if (ip.fragmentOffset > 0) return;
    this.#link.counters.icmp.timeExceededOut += 1;
    this.#error(ICMP_TIME_EXCEEDED, 0, ip, packet, ipAt);
  }

  /** Tells the guest that the host of its SYN cannot be reached; the packet is long gone and written anew. */
  unreachableConnection(code: number, tuple: ConnectionTuple, sequence: number): void {
    this.#link.counters.icmp.unreachableOut += 1;
    const { view } = this.#link.packet;
    const quote = TRANSPORT_AT + ICMP_HEADER_BYTES;
    const ip = newIpv4Header();
    Object.assign(ip, { source: tuple.guest, destination: tuple.remote, protocol: PROTOCOL_TCP, payloadBytes: 40 });
    encodeIpv4(view, quote, ip);
    view.setUint16(quote + IPV4_HEADER_BYTES, tuple.guestPort);
    view.setUint16(quote + IPV4_HEADER_BYTES + 2, tuple.remotePort);
    view.setInt32(quote + IPV4_HEADER_BYTES + 4, sequence);
    this.#finish(ICMP_UNREACHABLE, code, 0, IPV4_HEADER_BYTES + QUOTED_BYTES, this.#link.config.gateway, tuple.guest);
  }

  #forward(port: IcmpPort, address: string, remote: Ipv4, guest: Ipv4, rest: number, data: Uint8Array): void {
    const { icmp } = this.#link.counters;
    if (this.#outstanding >= this.#link.config.limits.echoRequests) {
      icmp.echoDropped += 1;
      return;
    }
    const copy = data.slice();
    this.#outstanding += 1;
    icmp.echoForwarded += 1;
    port.echo(address, copy, (answered) => {
      this.#outstanding -= 1;
      if (answered) this.#reply(remote, guest, rest, copy);
    });
  }

  #reply(source: Ipv4, guest: Ipv4, rest: number, data: Uint8Array): void {
    this.#link.counters.icmp.echoReplies += 1;
    this.#link.packet.bytes.set(data, TRANSPORT_AT + ICMP_HEADER_BYTES);
    this.#finish(ICMP_ECHO_REPLY, 0, rest, data.length, source, guest);
  }

  #error(type: number, code: number, ip: Ipv4Header, packet: Packet, ipAt: number): void {
    const quoted = ip.headerBytes + Math.min(QUOTED_BYTES, ip.payloadBytes);
    this.#link.packet.bytes.set(packet.bytes.subarray(ipAt, ipAt + quoted), TRANSPORT_AT + ICMP_HEADER_BYTES);
    this.#finish(type, code, 0, quoted, this.#link.config.gateway, ip.source);
  }

  #finish(type: number, code: number, rest: number, dataBytes: number, source: Ipv4, guest: Ipv4): void {
    encodeIcmp(this.#link.packet.view, TRANSPORT_AT, { type, code, rest }, dataBytes);
    this.#link.sendIpv4(source, guest, PROTOCOL_ICMP, ICMP_HEADER_BYTES + dataBytes);
  }
}

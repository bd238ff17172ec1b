/**
 * The user-mode network: a whole network behind one guest NIC, made of the host's ordinary sockets, with no
 * privilege and no device of the host's (the idea of slirp, QEMU's `-netdev user`). Frames of the guest come in
 * through `receive`; frames for it go out through `deliver`.
 *
 *     guest NIC --receive--> Ethernet -> ARP
 *                                     -> IPv4 -> fragments -> ICMP | UDP -> DHCP, DNS, flows | TCP -> connections
 *     guest NIC <--deliver-- GuestLink <--------------------------------------------------------'        ^
 *                                                                          host's sockets (ports) <------'
 *
 * Guests are hostile: each frame is copied once and the copy judged; every table is bounded; what does not fit is
 * dropped and counted. IPv6, IGMP and ICMP from the world are left out.
 */
import { assert } from '../base/assert.ts';
import { BROADCAST_MAC, isGroupMac, isMulticast, LIMITED_BROADCAST, type Mac } from './addresses.ts';
import { ARP_REPLY, ARP_REQUEST, decodeArp, newArpMessage } from './arp.ts';
import { type NetworkConfig, type NetworkOptions, networkConfig } from './config.ts';
import { assignCounters, copyCounters, type NetworkCounters, newNetworkCounters } from './counters.ts';
import { destinationOf, isGuestSource } from './destinations.ts';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from './dhcp.ts';
import { DhcpServer } from './dhcp-server.ts';
import { DNS_PORT } from './dns.ts';
import { DnsForwarder } from './dns-forwarder.ts';
import {
  decodeEthernet,
  ETHERNET_HEADER_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  newEthernetHeader,
} from './ethernet.ts';
import { Reassembly } from './fragments.ts';
import { type Deliver, GuestLink, type GuestOffload, TRANSPORT_AT } from './guest-link.ts';
import { UNREACHABLE_HOST, UNREACHABLE_PORT, UNREACHABLE_PROHIBITED, UNREACHABLE_PROTOCOL } from './icmp.ts';
import { IcmpResponder } from './icmp-responder.ts';
import { decodeIpv4, type Ipv4Header, newIpv4Header, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from './ipv4.ts';
import { MAX_FRAME_BYTES, Packet } from './packet.ts';
import type { FrameOffload, FramePort, NetworkPorts } from './ports.ts';
import type { PublishRule } from './publish.ts';
import { type PublishedPort, Publisher, type PublishOutcome } from './publisher.ts';
import type { NetworkSnapshot } from './snapshot.ts';
import { readNetworkSnapshot } from './snapshot.ts';
import { TcpNat } from './tcp-nat.ts';
import { decodeUdp, encodeUdp, newUdpHeader, UDP_HEADER_BYTES, udpChecksumIsValid } from './udp.ts';
import { UdpNat } from './udp-nat.ts';
import { sendUdp } from './udp-output.ts';

export interface UserNetworkParts {
  readonly config?: NetworkOptions;
  readonly ports: NetworkPorts;
}

export class UserNetwork implements FramePort {
  readonly config: NetworkConfig;
  readonly #ports: NetworkPorts;
  readonly #counters: NetworkCounters = newNetworkCounters();
  readonly #link: GuestLink;
  readonly #tcp: TcpNat;
  readonly #udp: UdpNat;
  readonly #icmp: IcmpResponder;
  readonly #dhcp: DhcpServer;
  readonly #dns: DnsForwarder;
  readonly #reassembly: Reassembly;
  readonly #publisher: Publisher;
  readonly #packet = new Packet();
  readonly #ethernet = newEthernetHeader();
  readonly #arp = newArpMessage();
  readonly #ip = newIpv4Header();
  readonly #udpHeader = newUdpHeader();

  /**
   * Checks the options (OperatorError `bad-network`) and opens nothing yet: published ports of the options are
   * opened by `publish`, by whoever starts the network and can report their errors. `deliver` gets each frame for
   * the guest, lent for the call; it may answer false for want of room, and the frame comes again after
   * `setGuestReady(true)`, or a little later by itself. It must not call `receive` or `setGuestReady(true)` from within.
   */
  constructor(parts: UserNetworkParts, deliver: Deliver) {
    this.config = networkConfig(parts.config);
    const { limits } = this.config;
    this.#ports = parts.ports;
    this.#link = new GuestLink(this.config, this.#counters, parts.ports, deliver);
    this.#icmp = new IcmpResponder(this.#link, parts.ports.icmp);
    this.#tcp = new TcpNat(this.#link, parts.ports, (code, tuple, sequence) =>
      this.#icmp.unreachableConnection(code, tuple, sequence),
    );
    this.#udp = new UdpNat(this.#link, parts.ports);
    this.#dhcp = new DhcpServer(this.#link, parts.ports.clock);
    this.#dns = new DnsForwarder(this.#link, parts.ports);
    this.#reassembly = new Reassembly(parts.ports.clock, limits.reassemblies, limits.reassemblyMs);
    this.#publisher = new Publisher(this.#link, parts.ports, this.#tcp, this.#udp);
  }

  /** The same as `receive`: the network is the guest's frame port. */
  send(frame: Uint8Array, offload?: FrameOffload): void {
    this.receive(frame, offload);
  }

  /** Takes a frame of the guest, lent for the call. `offload.checksumValid` spares TCP's and UDP's checksums. */
  receive(frame: Uint8Array, offload?: FrameOffload): void {
    assert(!this.#link.sending, 'a frame came in while another was being delivered');
    const { link } = this.#counters;
    link.framesIn += 1;
    link.bytesIn += frame.length;
    if (frame.length > MAX_FRAME_BYTES) {
      link.droppedLong += 1;
      return;
    }
    const { bytes, view } = this.#packet;
    bytes.set(frame);
    const ethernet = this.#ethernet;
    if (!decodeEthernet(view, 0, frame.length, ethernet) || isGroupMac(ethernet.source)) {
      link.droppedShort += 1;
    } else if (ethernet.destination !== this.config.gatewayMac && !isGroupMac(ethernet.destination)) {
      link.droppedOtherMac += 1;
    } else {
      const length = frame.length - ETHERNET_HEADER_BYTES;
      if (ethernet.type === ETHERTYPE_IPV4) this.#receiveIpv4(length, offload?.checksumValid === true);
      else if (ethernet.type === ETHERTYPE_ARP) this.#receiveArp(length);
      else if (ethernet.type === ETHERTYPE_IPV6) link.droppedIpv6 += 1;
      else link.droppedOtherType += 1;
    }
  }

  /**
   * Says whether the guest has room for a frame. On false nothing is delivered: connections wait, and a bounded
   * number of other frames; on true they are delivered, until it is false again.
   */
  setGuestReady(ready: boolean): void {
    this.#link.setReady(ready);
  }

  /** Says which offloads the guest's driver has accepted. */
  setGuestOffload(offload: GuestOffload): void {
    this.#link.offload = offload;
  }

  /** Publishes a port; `done` hears once, later, what became of it. Throws OperatorError `bad-publish`. */
  publish(rule: PublishRule, done: (outcome: PublishOutcome) => void): void {
    this.#publisher.publish(rule, done);
  }

  /** Takes a published port back; connections through it stay. False when there is no such rule. */
  unpublish(rule: PublishRule): boolean {
    return this.#publisher.unpublish(rule);
  }

  published(): PublishedPort[] {
    return this.#publisher.list();
  }

  /** A copy of the counters, gauges up to date. */
  stats(): NetworkCounters {
    const { now, ipv4 } = this.#counters;
    now.tcpConnections = this.#tcp.size;
    now.udpFlows = this.#udp.size;
    now.bufferedBytes = this.#tcp.budget.usedBytes;
    now.publishedPorts = this.#publisher.size;
    now.dnsQueries = this.#dns.size;
    now.leases = this.#dhcp.size;
    ipv4.reassemblyDropped = this.#reassembly.dropped;
    return copyCounters(this.#counters);
  }

  /** The state as plain data. Sockets of the host are not in it: see `restore`. */
  save(): NetworkSnapshot {
    return {
      version: 1,
      neighbours: this.#link.neighbours.save(),
      leases: this.#dhcp.save(),
      connections: this.#tcp.save(),
      counters: this.stats(),
    };
  }

  /**
   * Takes the state of `save`, from a file perhaps: ill-formed data throws OperatorError `bad-snapshot`. The host's
   * connections cannot be restored: the guest gets a RST for each as soon as it is ready, UDP flows open anew with
   * the next datagram, and DNS queries are asked again by the guest. Published ports are those of the new process.
   */
  restore(data: unknown): void {
    const snapshot = readNetworkSnapshot(data);
    this.#udp.close();
    this.#dns.close();
    this.#reassembly.clear();
    this.#link.clear();
    assignCounters(this.#counters, snapshot.counters);
    this.#link.neighbours.restore(snapshot.neighbours);
    this.#dhcp.restore(snapshot.leases);
    this.#tcp.restore(snapshot.connections);
  }

  /** Closes every socket and timer; the network takes no more frames. */
  close(): void {
    this.#publisher.close();
    this.#tcp.close();
    this.#udp.close();
    this.#dns.close();
    this.#link.clear();
  }

  #receiveArp(lengthBytes: number): void {
    const { arp } = this.#counters;
    const message = this.#arp;
    const { gateway, dns } = this.config;
    if (!decodeArp(this.#packet.view, ETHERNET_HEADER_BYTES, lengthBytes, message)) {
      arp.malformed += 1;
      return;
    }
    if (message.operation === ARP_REQUEST) arp.requestsIn += 1;
    else arp.repliesIn += 1;
    // A sender address of 0 is a probe (RFC 5227): it is answered but not learned.
    const known = isGuestSource(this.config, message.senderAddress);
    if (message.senderMac !== this.#ethernet.source || (!known && message.senderAddress !== 0)) {
      arp.spoofed += 1;
      return;
    }
    if (known) this.#link.learn(message.senderAddress, message.senderMac);
    const { targetAddress } = message;
    if (message.operation === ARP_REQUEST && (targetAddress === gateway || targetAddress === dns))
      this.#link.sendArp(ARP_REPLY, targetAddress, message.senderMac, message.senderAddress);
  }

  #receiveIpv4(lengthBytes: number, checksumValid: boolean): void {
    const { ipv4 } = this.#counters;
    const ip = this.#ip;
    ipv4.packetsIn += 1;
    if (!decodeIpv4(this.#packet.view, ETHERNET_HEADER_BYTES, lengthBytes, ip)) {
      ipv4.malformed += 1;
      return;
    }
    const fromGuest = isGuestSource(this.config, ip.source);
    if (!fromGuest && !(ip.source === 0 && ip.protocol === PROTOCOL_UDP && ip.destination === LIMITED_BROADCAST)) {
      ipv4.spoofedSource += 1;
      return;
    }
    if (fromGuest) this.#link.learn(ip.source, this.#ethernet.source);
    let packet: Packet | undefined = this.#packet;
    const at = ETHERNET_HEADER_BYTES + ip.headerBytes;
    if (ip.moreFragments || ip.fragmentOffset > 0) {
      ipv4.fragmentsIn += 1;
      packet = this.#reassembly.add(ip, packet, at);
      if (packet === undefined) return;
      ipv4.reassembled += 1;
      checksumValid = false;
    }
    this.#dispatch(ip, packet, at, checksumValid);
  }

  #dispatch(ip: Ipv4Header, packet: Packet, at: number, checksumValid: boolean): void {
    const { ipv4 } = this.#counters;
    const { gateway, dns } = this.config;
    if (ip.protocol === PROTOCOL_UDP) {
      this.#receiveUdp(ip, packet, at, checksumValid);
      return;
    }
    if (ip.destination === LIMITED_BROADCAST || isMulticast(ip.destination)) {
      ipv4.badDestination += 1;
    } else if (ip.ttl <= 1 && ip.destination !== gateway && ip.destination !== dns) {
      ipv4.ttlExpired += 1;
      this.#icmp.timeExceeded(ip, packet, ETHERNET_HEADER_BYTES);
    } else if (ip.protocol === PROTOCOL_TCP) {
      this.#tcp.receive(ip, packet, at, checksumValid);
    } else if (ip.protocol === PROTOCOL_ICMP) {
      this.#icmp.receive(ip, packet, ETHERNET_HEADER_BYTES, at);
    } else {
      ipv4.unknownProtocol += 1;
      this.#icmp.unreachable(UNREACHABLE_PROTOCOL, ip, packet, ETHERNET_HEADER_BYTES);
    }
  }

  #receiveUdp(ip: Ipv4Header, packet: Packet, at: number, checksumValid: boolean): void {
    const { udp, ipv4 } = this.#counters;
    const { gateway, dns } = this.config;
    const header = this.#udpHeader;
    if (!decodeUdp(packet.view, at, ip.payloadBytes, header)) {
      udp.malformed += 1;
      return;
    }
    if (!checksumValid && !udpChecksumIsValid(packet.view, at, ip.source, ip.destination)) {
      udp.badChecksum += 1;
      return;
    }
    const start = at + UDP_HEADER_BYTES;
    const payload = packet.bytes.subarray(start, start + header.payloadBytes);
    const broadcast = ip.destination === LIMITED_BROADCAST;
    if (header.destinationPort === DHCP_SERVER_PORT && (broadcast || ip.destination === gateway)) {
      if (this.config.dhcp) this.#receiveDhcp(packet, start, header.payloadBytes);
      return;
    }
    if (broadcast || isMulticast(ip.destination) || ip.source === 0) {
      ipv4.badDestination += 1;
      return;
    }
    if (ip.ttl <= 1 && ip.destination !== gateway && ip.destination !== dns) {
      ipv4.ttlExpired += 1;
      this.#icmp.timeExceeded(ip, packet, ETHERNET_HEADER_BYTES);
      return;
    }
    this.#routeUdp(ip, packet, payload);
  }

  #routeUdp(ip: Ipv4Header, packet: Packet, payload: Uint8Array): void {
    const { ipv4 } = this.#counters;
    const { sourcePort: guestPort, destinationPort } = this.#udpHeader;
    const guest = ip.source;
    if (this.#udp.answerClient(guest, guestPort, ip.destination, destinationPort, payload)) return;
    const destination = destinationOf(this.config, ip.destination);
    switch (destination.kind) {
      case 'host':
        this.#udp.send(guest, guestPort, ip.destination, destinationPort, destination.address, payload);
        return;
      case 'dns':
        if (destinationPort !== DNS_PORT) {
          this.#icmp.unreachable(UNREACHABLE_PORT, ip, packet, ETHERNET_HEADER_BYTES);
          return;
        }
        this.#dns.query(`${guest}:${guestPort}`, payload, (response) =>
          sendUdp(this.#link, { source: this.config.dns, sourcePort: DNS_PORT, guest, guestPort }, response),
        );
        return;
      case 'prohibited':
        ipv4.restricted += 1;
        this.#icmp.unreachable(UNREACHABLE_PROHIBITED, ip, packet, ETHERNET_HEADER_BYTES);
        return;
      case 'nobody':
        ipv4.badDestination += 1;
        this.#icmp.unreachable(UNREACHABLE_HOST, ip, packet, ETHERNET_HEADER_BYTES);
    }
  }

  #receiveDhcp(packet: Packet, at: number, lengthBytes: number): void {
    const reply = this.#dhcp.receive(packet.bytes, at, lengthBytes);
    if (reply === undefined) return;
    const { gateway } = this.config;
    const mac: Mac = reply.mac === 'broadcast' ? BROADCAST_MAC : reply.mac;
    const { view, bytes } = this.#link.packet;
    const header = {
      sourcePort: DHCP_SERVER_PORT,
      destinationPort: DHCP_CLIENT_PORT,
      payloadBytes: reply.message.length,
    };
    bytes.set(reply.message, TRANSPORT_AT + UDP_HEADER_BYTES);
    encodeUdp(view, TRANSPORT_AT, header, gateway, reply.address);
    this.#link.sendIpv4To(mac, gateway, reply.address, PROTOCOL_UDP, UDP_HEADER_BYTES + reply.message.length);
  }
}

/**
 * A small TCP/IP stack that plays the guest in tests, written apart from the network's own: go-back-N sending with a
 * fixed timeout, a receive buffer that may be left unread, ARP, UDP, ping and DHCP. It checks every checksum and
 * length of what it receives.
 */
import assert from 'node:assert/strict';
import { BROADCAST_MAC } from './addresses.ts';
import { ARP_BYTES, ARP_REPLY, ARP_REQUEST, decodeArp, encodeArp, newArpMessage } from './arp.ts';
import { decodeEthernet, ETHERTYPE_ARP, ETHERTYPE_IPV4, encodeEthernet, newEthernetHeader } from './ethernet.ts';
import { GuestTcp, type GuestTcpOptions } from './guest-tcp.testing.ts';
import { decodeIcmp, encodeIcmp, newIcmpHeader } from './icmp.ts';
import { decodeIpv4, encodeIpv4, newIpv4Header, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from './ipv4.ts';
import { Packet } from './packet.ts';
import type { FrameOffload, Timers } from './ports.ts';
import {
  decodeTcp,
  encodeTcp,
  newTcpHeader,
  TCP_SYN,
  type TcpHeader,
  tcpChecksumIsValid,
  writeTcpChecksum,
} from './tcp.ts';
import { decodeUdp, encodeUdp, newUdpHeader, udpChecksumIsValid } from './udp.ts';

export const GUEST_MAC = 0x525400123456;
export const GUEST_ADDRESS = 0x0a00020f;
export const GATEWAY_MAC = 0x52550a000202;
export const GATEWAY_ADDRESS = 0x0a000202;
export const DNS_ADDRESS = 0x0a000203;

const IP_AT = 14;
const L4_AT = 34;

/** Time and chance of a guest: a simulation's, or real ones. */
export interface GuestWorld extends Timers {
  readonly random: () => number;
}

export interface GuestDatagram {
  readonly source: number;
  readonly sourcePort: number;
  readonly destination: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

export interface GuestIcmp {
  readonly type: number;
  readonly code: number;
  readonly rest: number;
  readonly source: number;
  readonly data: Uint8Array;
}

export class GuestStack {
  readonly world: GuestWorld;
  readonly datagrams: GuestDatagram[] = [];
  readonly icmp: GuestIcmp[] = [];
  readonly arpReplies: number[] = [];
  readonly connections: GuestTcp[] = [];
  /** Ports with a listener: what to do with a new connection, and its options. */
  readonly listeners = new Map<number, { options: GuestTcpOptions; accept: (connection: GuestTcp) => void }>();
  address = GUEST_ADDRESS;
  answersArp = true;
  /** Takes frames for other hardware addresses, too. */
  promiscuous = false;
  ttl = 64;
  /** The largest IPv4 packet that leaves whole. */
  mtu = 65535;
  /** Nothing that comes is heard. */
  deaf = false;
  framesIn = 0;
  /** Called with each frame that is delivered. */
  onFrame: () => void = () => {};
  /** Called with each segment, before the stack takes it; a deaf stack's only ear. */
  onSegment: (header: TcpHeader) => void = () => {};
  /** Changes a frame on its way out and says what the guest vouches for. */
  tamper: ((frame: Uint8Array) => FrameOffload) | undefined;
  /** Segments that belong to no connection and no listener. */
  readonly strays: TcpHeader[] = [];
  largestFrameBytes = 0;
  readonly #transmit: (frame: Uint8Array, offload?: FrameOffload) => void;
  readonly #packet = new Packet();
  readonly #fragments = new Map<number, { payload: Uint8Array; total: number; have: number }>();
  #identification = 1;

  constructor(world: GuestWorld, transmit: (frame: Uint8Array, offload?: FrameOffload) => void) {
    this.world = world;
    this.#transmit = transmit;
  }

  connect(address: number, port: number, options: GuestTcpOptions = {}): GuestTcp {
    const localPort = 40000 + this.connections.length;
    const connection = new GuestTcp(this, address, port, localPort, options);
    this.connections.push(connection);
    connection.open();
    return connection;
  }

  receive(frame: Uint8Array, offload?: FrameOffload): void {
    if (this.deaf) {
      this.#overhear(frame);
      return;
    }
    this.framesIn += 1;
    this.onFrame();
    this.largestFrameBytes = Math.max(this.largestFrameBytes, frame.length);
    const bytes = frame.slice();
    const view = new DataView(bytes.buffer);
    const ethernet = newEthernetHeader();
    assert.ok(decodeEthernet(view, 0, bytes.length, ethernet));
    assert.equal(ethernet.source, GATEWAY_MAC);
    const toMe = ethernet.destination === GUEST_MAC || ethernet.destination === BROADCAST_MAC;
    assert.ok(toMe || this.promiscuous);
    if (ethernet.type === ETHERTYPE_ARP) this.#receiveArp(view, bytes.length);
    else {
      assert.equal(ethernet.type, ETHERTYPE_IPV4);
      this.#receiveIpv4(view, bytes, offload);
    }
  }

  sendArp(operation: number, targetAddress: number, targetMac = 0): void {
    const { view, bytes } = this.#packet;
    encodeEthernet(view, 0, {
      destination: operation === ARP_REQUEST ? BROADCAST_MAC : GATEWAY_MAC,
      source: GUEST_MAC,
      type: ETHERTYPE_ARP,
    });
    const message = { operation, senderMac: GUEST_MAC, senderAddress: this.address, targetMac, targetAddress };
    encodeArp(view, IP_AT, message);
    this.#send(bytes.subarray(0, IP_AT + ARP_BYTES));
  }

  sendUdp(
    destination: number,
    destinationPort: number,
    sourcePort: number,
    payload: Uint8Array,
    source = this.address,
  ): void {
    const { view, bytes } = this.#packet;
    bytes.set(payload, L4_AT + 8);
    encodeUdp(view, L4_AT, { sourcePort, destinationPort, payloadBytes: payload.length }, source, destination);
    this.sendIpv4(source, destination, PROTOCOL_UDP, 8 + payload.length);
  }

  sendPing(destination: number, rest: number, data: Uint8Array): void {
    const { view, bytes } = this.#packet;
    bytes.set(data, L4_AT + 8);
    encodeIcmp(view, L4_AT, { type: 8, code: 0, rest }, data.length);
    this.sendIpv4(this.address, destination, PROTOCOL_ICMP, 8 + data.length);
  }

  sendTcp(destination: number, header: TcpHeader, payload: Uint8Array): void {
    const { view, bytes } = this.#packet;
    const headerBytes = encodeTcp(view, L4_AT, header);
    bytes.set(payload, L4_AT + headerBytes);
    writeTcpChecksum(view, L4_AT, headerBytes + payload.length, this.address, destination, false);
    this.sendIpv4(this.address, destination, PROTOCOL_TCP, headerBytes + payload.length);
  }

  #send(frame: Uint8Array): void {
    const offload = this.tamper?.(frame);
    this.#transmit(frame, offload);
  }

  /** Sends an IPv4 packet whose payload lies at L4_AT, in fragments of `mtu` where it is longer. */
  sendIpv4(source: number, destination: number, protocol: number, payloadBytes: number): void {
    const ip = newIpv4Header();
    const mac = destination === 0xffffffff ? BROADCAST_MAC : GATEWAY_MAC;
    Object.assign(ip, {
      source,
      destination,
      protocol,
      ttl: this.ttl,
      identification: this.#identification++ & 0xffff,
    });
    const step = payloadBytes + 20 <= this.mtu ? payloadBytes : (this.mtu - 20) & ~7;
    const whole = this.#packet.bytes.slice(L4_AT, L4_AT + payloadBytes);
    let offset = 0;
    do {
      const { view, bytes } = this.#packet;
      const piece = whole.subarray(offset, offset + step);
      ip.fragmentOffset = offset;
      ip.payloadBytes = piece.length;
      ip.moreFragments = offset + piece.length < payloadBytes;
      encodeEthernet(view, 0, { destination: mac, source: GUEST_MAC, type: ETHERTYPE_IPV4 });
      encodeIpv4(view, IP_AT, ip);
      bytes.set(piece, L4_AT);
      this.#send(bytes.subarray(0, L4_AT + piece.length));
      offset += piece.length;
    } while (offset < payloadBytes);
  }

  #receiveArp(view: DataView, lengthBytes: number): void {
    const message = newArpMessage();
    assert.ok(decodeArp(view, IP_AT, lengthBytes - IP_AT, message));
    assert.equal(message.senderMac, GATEWAY_MAC);
    if (message.operation === ARP_REPLY) this.arpReplies.push(message.senderAddress);
    else if (message.targetAddress === this.address && this.answersArp)
      this.sendArp(ARP_REPLY, message.senderAddress, message.senderMac);
  }

  #receiveIpv4(view: DataView, bytes: Uint8Array, offload: FrameOffload | undefined): void {
    const ip = newIpv4Header();
    assert.ok(decodeIpv4(view, IP_AT, bytes.length - IP_AT, ip), 'a malformed IPv4 packet');
    assert.equal(IP_AT + ip.headerBytes + ip.payloadBytes, bytes.length);
    let payload = bytes.slice(L4_AT, L4_AT + ip.payloadBytes);
    if (ip.moreFragments || ip.fragmentOffset > 0) {
      const whole = this.#reassemble(ip.identification, payload, ip.fragmentOffset, ip.moreFragments);
      if (whole === undefined) return;
      payload = whole;
    }
    const l4 = new DataView(payload.buffer, payload.byteOffset, payload.length);
    if (ip.protocol === PROTOCOL_UDP) {
      const header = newUdpHeader();
      assert.ok(decodeUdp(l4, 0, payload.length, header));
      assert.ok(udpChecksumIsValid(l4, 0, ip.source, ip.destination), 'a wrong UDP checksum');
      const { sourcePort, destinationPort } = header;
      const { source, destination } = ip;
      this.datagrams.push({ source, sourcePort, destination, destinationPort, payload: payload.slice(8) });
    } else if (ip.protocol === PROTOCOL_ICMP) {
      const header = newIcmpHeader();
      assert.ok(decodeIcmp(l4, 0, payload.length, header), 'a wrong ICMP checksum');
      this.icmp.push({ ...header, source: ip.source, data: payload.slice(8) });
      for (const connection of this.connections) connection.receiveIcmp(header.type, payload.subarray(8));
    } else {
      const header = newTcpHeader();
      assert.equal(ip.protocol, PROTOCOL_TCP);
      assert.ok(decodeTcp(l4, 0, payload.length, header));
      const valid =
        offload?.checksumValid === true || tcpChecksumIsValid(l4, 0, payload.length, ip.source, ip.destination);
      assert.ok(valid, 'a wrong TCP checksum');
      this.#receiveTcp(ip.source, header, payload.subarray(header.headerBytes));
    }
  }

  /** A deaf stack takes nothing; segments are shown to whoever plays it by hand. */
  #overhear(frame: Uint8Array): void {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    const header = newTcpHeader();
    const isTcp = frame.length >= L4_AT && frame[23] === PROTOCOL_TCP;
    if (isTcp && decodeTcp(view, L4_AT, frame.length - L4_AT, header)) this.onSegment(header);
  }

  #receiveTcp(source: number, header: TcpHeader, payload: Uint8Array): void {
    const known = this.connections.find(
      (c) =>
        c.remote === source &&
        c.remotePort === header.sourcePort &&
        c.localPort === header.destinationPort &&
        !c.closed,
    );
    if (known !== undefined) {
      known.receive(header, payload);
      return;
    }
    const listener = this.listeners.get(header.destinationPort);
    if (listener === undefined || (header.flags & TCP_SYN) === 0) {
      this.strays.push(header);
      if ((header.flags & 4) === 0) this.#refuse(source, header, payload.length);
      return;
    }
    const connection = new GuestTcp(this, source, header.sourcePort, header.destinationPort, listener.options);
    this.connections.push(connection);
    connection.accept(header);
    listener.accept(connection);
  }

  #refuse(source: number, header: TcpHeader, payloadBytes: number): void {
    const reset = newTcpHeader();
    reset.sourcePort = header.destinationPort;
    reset.destinationPort = header.sourcePort;
    const acks = (header.flags & 16) !== 0;
    reset.flags = acks ? 4 : 20;
    reset.sequence = acks ? header.acknowledgement : 0;
    reset.acknowledgement = acks
      ? 0
      : (header.sequence + payloadBytes + (header.flags & 1) + ((header.flags >> 1) & 1)) | 0;
    this.sendTcp(source, reset, new Uint8Array(0));
  }

  #reassemble(
    identification: number,
    piece: Uint8Array,
    offset: number,
    more: boolean,
  ): Uint8Array<ArrayBuffer> | undefined {
    const entry = this.#fragments.get(identification) ?? { payload: new Uint8Array(65535), total: -1, have: 0 };
    this.#fragments.set(identification, entry);
    entry.payload.set(piece, offset);
    entry.have += piece.length;
    if (!more) entry.total = offset + piece.length;
    if (entry.have !== entry.total) return undefined;
    this.#fragments.delete(identification);
    return entry.payload.slice(0, entry.total);
  }
}

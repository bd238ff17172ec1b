/**
 * The way out to the guest: one buffer in which every outgoing frame is put together, hardware addresses, IPv4
 * headers and fragments, and what happens while the guest's receive ring is full. Then nothing is sent: connections
 * that have something to say wait in a queue and are asked in turn once the guest is ready, so that no connection
 * starves another; datagrams are kept up to a bound and dropped beyond it.
 */
import { assert } from '../base/assert.ts';
import { BROADCAST_MAC, type Ipv4, type Mac, writeMac } from './addresses.ts';
import { Alarm } from './alarm.ts';
import { ARP_BYTES, type ARP_REPLY, ARP_REQUEST, encodeArp } from './arp.ts';
import type { NetworkConfig } from './config.ts';
import type { NetworkCounters } from './counters.ts';
import { ETHERNET_HEADER_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, encodeEthernet } from './ethernet.ts';
import { encodeIpv4, IPV4_HEADER_BYTES, newIpv4Header } from './ipv4.ts';
import { Neighbours } from './neighbours.ts';
import { Packet } from './packet.ts';
import type { Clock, FrameOffload, Timers } from './ports.ts';

/** Where an outgoing packet's transport header belongs in `GuestLink.packet`. */
export const TRANSPORT_AT = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES;

/** What the guest's side of the link takes off our hands. */
export interface GuestOffload {
  /** The guest accepts TCP segments with partial checksums (virtio: VIRTIO_NET_F_GUEST_CSUM). */
  readonly checksum: boolean;
  /** The largest TCP packet it accepts in one frame, 0 for none beyond the MTU (virtio: VIRTIO_NET_F_GUEST_TSO4, 65535). */
  readonly largePacketBytes: number;
  /**
   * The same over IPv6. Where it is said at all, the guest's device finds the headers of any frame; else those of IPv4 without
   * options, and TCP, behind an Ethernet header without tags.
   */
  readonly largePacketBytes6?: number;
}

/**
 * Takes a frame for the guest, lent for the call. False: there was no room for it, which is the same as
 * `setReady(false)`; the frame is kept and comes again once the guest is ready, or after a while in any case: whoever
 * refuses a frame because there is no driver, or no link, need not know when to call.
 */
export type Deliver = (frame: Uint8Array, offload?: FrameOffload) => boolean | void;

export interface LinkPorts {
  readonly clock: Clock;
  readonly timers: Timers;
}

/** How long a refused frame waits when nobody says that there is room. */
const RETRY_MS = 50;

/** A sender that waits until the guest can receive again. */
export interface WaitingSender {
  /** Sends; false when the guest was full again before all was said. */
  sendWaiting(): boolean;
}

export class GuestLink {
  /** The next frame: put the transport header and payload at TRANSPORT_AT, then call `sendIpv4`. */
  readonly packet = new Packet();
  readonly neighbours: Neighbours;
  readonly config: NetworkConfig;
  readonly counters: NetworkCounters;
  offload: GuestOffload = { checksum: false, largePacketBytes: 0 };
  readonly #deliver: Deliver;
  readonly #ports: LinkPorts;
  readonly #ip = newIpv4Header();
  readonly #fragment = new Packet();
  readonly #queue: { readonly frame: Uint8Array; readonly offload: FrameOffload | undefined }[] = [];
  readonly #waiting = new Set<WaitingSender>();
  readonly #retry: Alarm;
  #ready = true;
  #sending = false;
  #identification = 1;

  constructor(config: NetworkConfig, counters: NetworkCounters, ports: LinkPorts, deliver: Deliver) {
    this.config = config;
    this.#ports = ports;
    this.#retry = new Alarm(ports, () => this.setReady(true));
    this.counters = counters;
    this.neighbours = new Neighbours(config.limits.neighbours);
    this.#deliver = deliver;
  }

  /** Whether the guest can receive a frame now. May turn false with every frame sent. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Whether a frame is being delivered at this moment, so that the buffers are not free. */
  get sending(): boolean {
    return this.#sending;
  }

  /** Says whether the guest can receive; on true, everything that waited is sent until it no longer can. */
  setReady(ready: boolean): void {
    this.#ready = ready;
    this.#retry.set(Number.POSITIVE_INFINITY);
    if (!ready) return;
    assert(!this.#sending, 'the guest became ready while a frame was being delivered');
    while (this.#ready) {
      const next = this.#queue[0];
      if (next === undefined || !this.#hand(next.frame, next.offload)) break;
      this.#queue.shift();
    }
    for (const sender of [...this.#waiting]) {
      if (!this.#ready) return;
      this.#waiting.delete(sender);
      if (!sender.sendWaiting()) this.#waiting.add(sender);
    }
  }

  /** Queues a sender for the moment when the guest is ready again. */
  wait(sender: WaitingSender): void {
    this.#waiting.add(sender);
  }

  /** Takes a sender out of the queue. */
  forget(sender: WaitingSender): void {
    this.#waiting.delete(sender);
  }

  /**
   * Sends `payloadBytes` bytes that lie at TRANSPORT_AT in `packet`, in fragments when they exceed the MTU. Where the
   * guest's hardware address is unknown it is asked for and the packet kept. `offload` is for TCP alone.
   */
  sendIpv4(source: Ipv4, destination: Ipv4, protocol: number, payloadBytes: number, offload?: FrameOffload): void {
    const ip = this.#ip;
    ip.source = source;
    ip.destination = destination;
    ip.protocol = protocol;
    ip.identification = this.#identification = (this.#identification + 1) & 0xffff;
    const mac = destination === 0xffffffff ? BROADCAST_MAC : this.neighbours.lookup(destination);
    const largest = this.config.mtu - IPV4_HEADER_BYTES;
    if (payloadBytes <= largest || (offload !== undefined && offload.segmentBytes > 0)) {
      ip.dontFragment = payloadBytes <= largest;
      ip.moreFragments = false;
      ip.fragmentOffset = 0;
      ip.payloadBytes = payloadBytes;
      this.#sendPacket(this.packet, mac, offload);
      return;
    }
    ip.dontFragment = false;
    const step = largest & ~7;
    for (let offset = 0; offset < payloadBytes; offset += step) {
      const length = Math.min(step, payloadBytes - offset);
      ip.moreFragments = offset + length < payloadBytes;
      ip.fragmentOffset = offset;
      ip.payloadBytes = length;
      const start = TRANSPORT_AT + offset;
      this.#fragment.bytes.set(this.packet.bytes.subarray(start, start + length), TRANSPORT_AT);
      this.counters.ipv4.fragmentsOut += 1;
      this.#sendPacket(this.#fragment, mac, undefined);
    }
  }

  /** Sends an IPv4 packet to a hardware address of the caller's choice (DHCP: the client has no IPv4 address yet). */
  sendIpv4To(mac: Mac, source: Ipv4, destination: Ipv4, protocol: number, payloadBytes: number): void {
    const ip = this.#ip;
    Object.assign(ip, {
      source,
      destination,
      protocol,
      payloadBytes,
      dontFragment: true,
      moreFragments: false,
      fragmentOffset: 0,
    });
    ip.identification = this.#identification = (this.#identification + 1) & 0xffff;
    this.#sendPacket(this.packet, mac, undefined);
  }

  /** Asks for the owner of an address, or answers such a question. */
  sendArp(
    operation: typeof ARP_REQUEST | typeof ARP_REPLY,
    senderAddress: Ipv4,
    targetMac: Mac,
    targetAddress: Ipv4,
  ): void {
    if (operation === ARP_REQUEST) this.counters.arp.requestsOut += 1;
    else this.counters.arp.repliesOut += 1;
    const { view } = this.#fragment;
    const source = this.config.gatewayMac;
    const destination = operation === ARP_REQUEST ? BROADCAST_MAC : targetMac;
    encodeEthernet(view, 0, { destination, source, type: ETHERTYPE_ARP });
    encodeArp(view, ETHERNET_HEADER_BYTES, { operation, senderMac: source, senderAddress, targetMac, targetAddress });
    this.#send(this.#fragment.bytes.subarray(0, ETHERNET_HEADER_BYTES + ARP_BYTES), undefined);
  }

  /** Records a guest's hardware address and sends what waited for it. */
  learn(address: Ipv4, mac: Mac): void {
    for (const frame of this.neighbours.learn(address, mac)) {
      writeMac(new DataView(frame.buffer), 0, mac);
      this.#send(frame, undefined);
    }
    this.counters.arp.evicted = this.neighbours.evicted;
  }

  /** Forgets every frame and sender that waits. */
  clear(): void {
    this.#queue.length = 0;
    this.#waiting.clear();
    this.#retry.stop();
  }

  #sendPacket(packet: Packet, mac: Mac | undefined, offload: FrameOffload | undefined): void {
    const { view, bytes } = packet;
    writeMac(view, 0, mac ?? 0);
    writeMac(view, 6, this.config.gatewayMac);
    view.setUint16(12, ETHERTYPE_IPV4);
    encodeIpv4(view, ETHERNET_HEADER_BYTES, this.#ip);
    const frame = bytes.subarray(0, TRANSPORT_AT + this.#ip.payloadBytes);
    if (mac !== undefined) {
      this.#send(frame, offload);
      return;
    }
    const { destination } = this.#ip;
    // A packet that leans on offloads is TCP's, which sends it again.
    if (offload !== undefined || !this.neighbours.keep(destination, frame.slice())) this.counters.arp.unresolved += 1;
    this.sendArp(ARP_REQUEST, this.config.gateway, 0, destination);
  }

  #send(frame: Uint8Array, offload: FrameOffload | undefined): void {
    const { link } = this.counters;
    if (this.#ready) {
      if (this.#hand(frame, offload)) return;
    } else if (this.#queue.length >= this.config.limits.queuedFrames) {
      link.droppedNotReady += 1;
      return;
    }
    link.queuedNotReady += 1;
    this.#queue.push({ frame: frame.slice(), offload });
  }

  /** Delivers a frame; false when the guest refused it and so is not ready any more. */
  #hand(frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    assert(!this.#sending, 'a frame was sent while another was being delivered');
    this.#sending = true;
    let taken: boolean | void;
    try {
      taken = this.#deliver(frame, offload);
    } finally {
      this.#sending = false;
    }
    if (taken === false) {
      this.#ready = false;
      this.#retry.set(this.#ports.clock.nowMs() + RETRY_MS);
      return false;
    }
    this.counters.link.framesOut += 1;
    this.counters.link.bytesOut += frame.length;
    return true;
  }
}

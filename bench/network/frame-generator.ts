/** A guest without a machine: a station behind a virtual interface that answers ARP, and paces datagrams to a peer. */
import type { Nic } from '../../src/host/network/guest-network.ts';
import { BROADCAST_MAC, type Ipv4, type Mac, readMac, writeMac } from '../../src/network/addresses.ts';
import { ARP_REPLY, ARP_REQUEST, decodeArp, encodeArp, newArpMessage } from '../../src/network/arp.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4 } from '../../src/network/ethernet.ts';
import { encodeIpv4, newIpv4Header, PROTOCOL_UDP } from '../../src/network/ipv4.ts';
import { encodeUdp } from '../../src/network/udp.ts';
import { INTERVAL_MS, type Ledger, newLedger, nowMs, PORT, pace } from './ledger.ts';

const IP_AT = 14;
const UDP_AT = 34;
const DATA_AT = 42;

export class FrameGenerator implements Nic {
  readonly ledger: Ledger = newLedger();
  /** Carrier, as it was told, each change. */
  readonly links: boolean[] = [];
  readonly #own: { readonly mac: Mac; readonly address: Ipv4 };
  readonly #peer: Ipv4;
  readonly #dataBytes: number;
  readonly #send: (frame: Uint8Array) => void;
  readonly #message = newArpMessage();
  #peerMac: Mac | undefined;
  #stop = (): void => {};

  constructor(
    own: { readonly mac: Mac; readonly address: Ipv4 },
    { peer, dataBytes = 64 }: { readonly peer: Ipv4; readonly dataBytes?: number },
    send: (frame: Uint8Array) => void,
  ) {
    this.#own = own;
    this.#peer = peer;
    this.#dataBytes = dataBytes;
    this.#send = send;
  }

  start(): void {
    this.#stop = pace(INTERVAL_MS, (number) => {
      if (this.#peerMac === undefined)
        this.#arp(ARP_REQUEST, BROADCAST_MAC, { targetMac: 0, targetAddress: this.#peer });
      else this.#datagram(number, this.#peerMac);
    });
  }

  stop(): void {
    this.#stop();
  }

  receive(frame: Uint8Array): boolean {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    const type = view.getUint16(12);
    if (type === ETHERTYPE_ARP) this.#heardArp(view, frame.length);
    else if (type === ETHERTYPE_IPV4 && readMac(view, 0) === this.#own.mac && frame.length >= DATA_AT + 4)
      if (view.getUint8(IP_AT + 9) === PROTOCOL_UDP && view.getUint16(UDP_AT + 2) === PORT)
        this.ledger.got.push([view.getUint32(DATA_AT), nowMs()]);
    return true;
  }

  setLinkUp(up: boolean): void {
    if (this.links.at(-1) !== up) this.links.push(up);
  }

  #heardArp(view: DataView, lengthBytes: number): void {
    const message = this.#message;
    if (!decodeArp(view, IP_AT, lengthBytes - IP_AT, message)) return;
    const { senderAddress, senderMac, operation, targetAddress } = message;
    if (senderAddress === this.#peer) this.#peerMac = senderMac;
    if (operation === ARP_REQUEST && targetAddress === this.#own.address)
      this.#arp(ARP_REPLY, senderMac, { targetMac: senderMac, targetAddress: senderAddress });
  }

  #arp(operation: number, to: Mac, target: { readonly targetMac: Mac; readonly targetAddress: Ipv4 }): void {
    const frame = new Uint8Array(60);
    const view = this.#begin(frame, to, ETHERTYPE_ARP);
    encodeArp(view, IP_AT, { operation, senderMac: this.#own.mac, senderAddress: this.#own.address, ...target });
    this.#send(frame);
  }

  #datagram(number: number, to: Mac): void {
    const frame = new Uint8Array(DATA_AT + this.#dataBytes);
    const view = this.#begin(frame, to, ETHERTYPE_IPV4);
    view.setUint32(DATA_AT, number);
    const source = this.#own.address;
    const destination = this.#peer;
    const ports = { sourcePort: PORT, destinationPort: PORT, payloadBytes: this.#dataBytes };
    encodeUdp(view, UDP_AT, ports, source, destination);
    const header = { ...newIpv4Header(), source, destination, protocol: PROTOCOL_UDP, ttl: 64 };
    encodeIpv4(view, IP_AT, { ...header, payloadBytes: 8 + this.#dataBytes });
    this.ledger.sent.push([number, nowMs()]);
    this.#send(frame);
  }

  #begin(frame: Uint8Array, to: Mac, type: number): DataView {
    const view = new DataView(frame.buffer);
    writeMac(view, 0, to);
    writeMac(view, 6, this.#own.mac);
    view.setUint16(12, type);
    return view;
  }
}

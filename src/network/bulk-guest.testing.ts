/**
 * A guest that does as little as a guest can: it opens one connection, acknowledges what comes, sends what the
 * window takes. For benchmarks, where the guest's own cost should not hide the network's.
 */

import { ETHERTYPE_IPV4, encodeEthernet } from './ethernet.ts';
import { GATEWAY_ADDRESS, GATEWAY_MAC, GUEST_ADDRESS, GUEST_MAC } from './guest-stack.testing.ts';
import { encodeIpv4, newIpv4Header, PROTOCOL_TCP } from './ipv4.ts';
import { Packet } from './packet.ts';
import type { FrameOffload } from './ports.ts';
import { encodeTcp, newTcpHeader, TCP_ACK, TCP_SYN, writeTcpChecksum } from './tcp.ts';

const L4_AT = 34;
const HEADERS_BYTES = 54;

export class BulkGuest {
  receivedBytes = 0;
  sentBytes = 0;
  connected = false;
  readonly #packet = new Packet();
  readonly #send: (frame: Uint8Array, offload?: FrameOffload) => void;
  readonly #offload: FrameOffload | undefined;
  readonly #header = newTcpHeader();
  readonly #ip = newIpv4Header();
  #next = 1;
  #remoteNext = 0;
  #acknowledged = 0;
  #una = 1;
  #window = 0;

  /** `offload` is what the guest vouches for with the frames it sends. */
  constructor(send: (frame: Uint8Array, offload?: FrameOffload) => void, offload?: FrameOffload) {
    this.#send = send;
    this.#offload = offload;
    this.#packet.bytes.fill(0x5a);
    encodeEthernet(this.#packet.view, 0, { destination: GATEWAY_MAC, source: GUEST_MAC, type: ETHERTYPE_IPV4 });
  }

  connect(port: number): void {
    this.#header.destinationPort = port;
    this.#header.sourcePort = 40000;
    this.#header.sequence = 0;
    this.#header.flags = TCP_SYN;
    this.#header.window = 65535;
    this.#header.maximumSegmentBytes = 1460;
    this.#header.windowShift = 7;
    this.#emit(0);
  }

  receive(frame: Uint8Array): void {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    if (view.getUint16(12) !== ETHERTYPE_IPV4 || view.getUint8(23) !== PROTOCOL_TCP) return;
    const flags = view.getUint8(L4_AT + 13);
    const length = frame.length - L4_AT - (view.getUint8(L4_AT + 12) >>> 4) * 4;
    this.#una = view.getInt32(L4_AT + 8);
    this.#window = view.getUint16(L4_AT + 14) * ((flags & TCP_SYN) !== 0 ? 1 : 2 ** 5);
    if ((flags & TCP_SYN) !== 0) {
      this.#acknowledged = view.getInt32(L4_AT + 4);
      this.#remoteNext = (this.#acknowledged + 1) | 0;
      this.connected = true;
      return;
    }
    this.#remoteNext = (this.#remoteNext + length) | 0;
    this.receivedBytes += length;
  }

  /** Acknowledges what has come, if anything has. */
  acknowledge(): void {
    this.#acknowledged = this.#remoteNext;
    this.#header.sequence = this.#next;
    this.#header.acknowledgement = this.#remoteNext;
    this.#header.flags = TCP_ACK;
    this.#header.window = 0xffff;
    this.#emit(0);
  }

  get hasNews(): boolean {
    return this.#acknowledged !== this.#remoteNext;
  }

  /** Sends one segment of this size if the window has room for it. */
  sendSegment(length: number): boolean {
    if (((this.#next - this.#una) | 0) + length > this.#window) return false;
    this.#header.sequence = this.#next;
    this.#header.acknowledgement = this.#remoteNext;
    this.#header.flags = TCP_ACK;
    this.#header.window = 0xffff;
    this.#emit(length);
    this.#next = (this.#next + length) | 0;
    this.sentBytes += length;
    return true;
  }

  #emit(length: number): void {
    const { view, bytes } = this.#packet;
    const headerBytes = encodeTcp(view, L4_AT, this.#header);
    this.#header.maximumSegmentBytes = 0;
    this.#header.windowShift = -1;
    const payloadBytes = headerBytes + length;
    Object.assign(this.#ip, {
      source: GUEST_ADDRESS,
      destination: GATEWAY_ADDRESS,
      protocol: PROTOCOL_TCP,
      payloadBytes,
    });
    encodeIpv4(view, 14, this.#ip);
    writeTcpChecksum(view, L4_AT, payloadBytes, GUEST_ADDRESS, GATEWAY_ADDRESS, this.#offload !== undefined);
    this.#send(bytes.subarray(0, HEADERS_BYTES - 20 + payloadBytes), this.#offload);
  }
}

/**
 * The header before each frame in the network device's buffers (virtio 1.2, section 5.1.6):
 *
 *     flags u8 | gso_type u8 | hdr_len u16 | gso_size u16 | csum_start u16 | csum_offset u16 | num_buffers u16
 *
 * With VERSION_1 it has always 12 bytes. hdr_len is a hint and is not relied on (section 5.1.6.2.1).
 */
import { checksumOffset, type Layers, PROTOCOL, tcpHeadersEnd } from '../../base/frame-layers.ts';
import type { FrameOffload } from './net-port.ts';

export const NET_HEADER_BYTES = 12;
const NEEDS_CSUM = 1;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;

const CHECKSUM_VALID: FrameOffload = { checksumValid: true, segmentBytes: 0 };

export class NetHeader {
  /** Little-endian, as in the buffers. */
  readonly bytes = new Uint8Array(NET_HEADER_BYTES);
  readonly #data = new DataView(this.bytes.buffer);

  get needsChecksum(): boolean {
    return ((this.bytes[0] ?? 0) & NEEDS_CSUM) !== 0;
  }

  get segmentation(): 'none' | 'tcp4' | 'tcp6' | 'other' {
    switch (this.bytes[1]) {
      case 0:
        return 'none';
      case GSO_TCPV4:
        return 'tcp4';
      case GSO_TCPV6:
        return 'tcp6';
      default:
        return 'other';
    }
  }

  get segmentBytes(): number {
    return this.#data.getUint16(4, true);
  }

  /** Whether the checksum field that the driver names lies within a frame of this size. */
  checksumWithin(frameBytes: number): boolean {
    return this.#data.getUint16(6, true) + this.#data.getUint16(8, true) + 2 <= frameBytes;
  }

  /** What a header from the guest says, in the network's words; undefined for a plain frame. */
  get offload(): FrameOffload | undefined {
    if (!this.needsChecksum) return undefined;
    return this.bytes[1] === 0 ? CHECKSUM_VALID : { checksumValid: true, segmentBytes: this.segmentBytes };
  }

  /** A plain header for the guest; the number of buffers comes last. */
  clear(): void {
    this.bytes.fill(0);
    this.setBuffers(1);
  }

  /** A header for the guest, of a frame whose checksum field holds the pseudo header's sum. False: it is not such a frame. */
  setOffload(frame: Uint8Array, layers: Layers, segmentBytes: number): boolean {
    this.clear();
    this.bytes[0] = NEEDS_CSUM;
    this.#data.setUint16(6, layers.transportAt, true);
    this.#data.setUint16(8, checksumOffset(layers.protocol), true);
    if (segmentBytes === 0) return true;
    const headers = layers.protocol === PROTOCOL.tcp ? tcpHeadersEnd(frame, layers) : 0;
    this.bytes[1] = layers.version === 4 ? GSO_TCPV4 : GSO_TCPV6;
    this.#data.setUint16(2, headers, true);
    this.#data.setUint16(4, segmentBytes, true);
    return headers > 0;
  }

  setBuffers(count: number): void {
    this.#data.setUint16(10, count, true);
  }
}

/** Finishes the partial checksum of a frame for a guest that does not; the field holds the pseudo header's sum. */
export function completeChecksum(frame: Uint8Array, layers: Layers): void {
  const { transportAt, end, protocol } = layers;
  const field = transportAt + checksumOffset(layers.protocol);
  let sum = 0;
  for (let at = transportAt; at + 1 < end; at += 2) sum += (frame[at] as number) * 256 + (frame[at + 1] as number);
  if ((end - transportAt) % 2 === 1) sum += (frame[end - 1] as number) * 256;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  const checksum = ~sum & 0xffff;
  // In UDP zero means that there is none (RFC 768).
  const value = checksum === 0 && protocol === PROTOCOL.udp ? 0xffff : checksum;
  frame[field] = value >> 8;
  frame[field + 1] = value & 0xff;
}

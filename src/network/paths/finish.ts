/**
 * Finishes what a guest left to its device: checksums (virtio's NEEDS_CSUM: the field holds the pseudo header's sum) and
 * the cutting of large TCP packets into segments, for links and guests that take whole frames only.
 */

import { checksumOffset, type Layers, layersOf, PROTOCOL, tcpHeadersEnd } from '../../base/frame-layers.ts';
import { addToSum, foldChecksum } from '../checksum.ts';
import type { GuestOffload } from '../guest-link.ts';
import type { FrameOffload } from '../ports.ts';
import { LONGEST_FRAME_BYTES } from './frame.ts';

const FIN_AND_PUSH = 0x09;
const CWR = 0x80;
/** Ethernet without a tag, IPv4 without options: where a guest's device says that TCP's header begins. */
const PLAIN_TRANSPORT_AT = 34;

/** Whether a guest can be given the frame as it is, with what it has agreed on. */
export function guestTakes(frame: Uint8Array, offload: FrameOffload | undefined, guest: GuestOffload): boolean {
  if (offload === undefined || !offload.checksumValid) return true;
  const layers = guest.checksum ? layersOf(frame) : undefined;
  if (layers === undefined) return false;
  const { version, protocol, ipAt, transportAt } = layers;
  const isPlain = version === 4 && protocol === PROTOCOL.tcp && transportAt === PLAIN_TRANSPORT_AT;
  // Devices do not look behind IPv6's extension headers.
  if (!isPlain && (guest.largePacketBytes6 === undefined || (version === 6 && transportAt !== ipAt + 40))) return false;
  const largest = version === 4 ? guest.largePacketBytes : (guest.largePacketBytes6 ?? 0);
  return offload.segmentBytes === 0 || frame.length - transportAt <= largest;
}

export class Finisher {
  readonly #bytes = new Uint8Array(LONGEST_FRAME_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);

  /**
   * Gives `emit` the whole frames that the frame stands for, each lent for the call; it may answer false for want of room.
   * False when one was refused, undefined for a frame that is not what its offload says: nothing was emitted then.
   */
  finish(frame: Uint8Array, offload: FrameOffload, emit: (frame: Uint8Array) => boolean): boolean | undefined {
    const layers = frame.length <= LONGEST_FRAME_BYTES ? layersOf(frame) : undefined;
    if (layers === undefined) return undefined;
    if (offload.segmentBytes > 0) return this.#cut(frame, layers, offload.segmentBytes, emit);
    this.#bytes.set(frame);
    const field = layers.transportAt + checksumOffset(layers.protocol);
    // The field takes part in the sum: it holds the pseudo header's.
    const sum = addToSum(this.#view, layers.transportAt, layers.end - layers.transportAt, 0);
    this.#setChecksum(field, layers.protocol, sum);
    return emit(this.#bytes.subarray(0, frame.length));
  }

  #cut(
    frame: Uint8Array,
    layers: Layers,
    segmentBytes: number,
    emit: (frame: Uint8Array) => boolean,
  ): boolean | undefined {
    const dataAt = layers.protocol === PROTOCOL.tcp ? tcpHeadersEnd(frame, layers) : 0;
    if (dataAt === 0) return undefined;
    this.#bytes.set(frame.subarray(0, dataAt));
    const sequence = this.#view.getUint32(layers.transportAt + 4);
    const flags = frame[layers.transportAt + 13] ?? 0;
    let all = true;
    let index = 0;
    let from = dataAt;
    do {
      const next = Math.min(from + segmentBytes, layers.end);
      this.#bytes.set(frame.subarray(from, next), dataAt);
      const end = dataAt + next - from;
      this.#view.setUint32(layers.transportAt + 4, (sequence + from - dataAt) >>> 0);
      const last = next === layers.end;
      this.#bytes[layers.transportAt + 13] = flags & ~((last ? 0 : FIN_AND_PUSH) | (index === 0 ? 0 : CWR));
      this.#setLengths(layers, end, frame, index);
      this.#setChecksum(layers.transportAt + 16, PROTOCOL.tcp, this.#wholeSum(layers, end));
      if (!emit(this.#bytes.subarray(0, end))) all = false;
      from = next;
      index += 1;
    } while (from < layers.end);
    return all;
  }

  #setLengths({ version, ipAt, transportAt }: Layers, end: number, frame: Uint8Array, index: number): void {
    const view = this.#view;
    if (version === 6) {
      view.setUint16(ipAt + 4, end - ipAt - 40);
      return;
    }
    view.setUint16(ipAt + 2, end - ipAt);
    const identification = ((frame[ipAt + 4] ?? 0) << 8) | (frame[ipAt + 5] ?? 0);
    view.setUint16(ipAt + 4, (identification + index) & 0xffff);
    view.setUint16(ipAt + 10, 0);
    view.setUint16(ipAt + 10, foldChecksum(addToSum(view, ipAt, transportAt - ipAt, 0)));
  }

  /** Of the pseudo header, and of the segment with an empty checksum. */
  #wholeSum({ version, ipAt, transportAt }: Layers, end: number): number {
    const view = this.#view;
    view.setUint16(transportAt + 16, 0);
    const addresses = version === 4 ? addToSum(view, ipAt + 12, 8, 0) : addToSum(view, ipAt + 8, 32, 0);
    const lengthBytes = end - transportAt;
    return addToSum(view, transportAt, lengthBytes, addresses + swapped(PROTOCOL.tcp) + swapped(lengthBytes));
  }

  #setChecksum(field: number, protocol: number, sum: number): void {
    const checksum = foldChecksum(sum);
    // In UDP zero means that there is none (RFC 768).
    this.#view.setUint16(field, protocol === PROTOCOL.tcp || checksum !== 0 ? checksum : 0xffff);
  }
}

/** A 16-bit number in the byte order of the sums. */
function swapped(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}

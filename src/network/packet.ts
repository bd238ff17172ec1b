/**
 * A buffer that holds one frame while it is taken apart or put together, with the two views that codecs need.
 * Frames are copied into such a buffer once and judged there, so whoever lent the bytes (a guest, for one) cannot
 * change them between check and use. It holds the largest IPv4 packet, 65535 bytes, behind an Ethernet header:
 * guests with segmentation offload send frames far beyond the link's MTU.
 */

/** The largest frame that is accepted or sent, in bytes, Ethernet header included. */
export const MAX_FRAME_BYTES = 14 + 65535;

export class Packet {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  constructor(capacityBytes: number = MAX_FRAME_BYTES) {
    const buffer = new ArrayBuffer(capacityBytes);
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }
}

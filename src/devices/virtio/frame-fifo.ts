/**
 * Ethernet frames that wait for the guest's receive buffers: a ring of bytes with a bound, filled by the network and
 * emptied by the device. Frames lie whole in it, so that the head can be lent as one array; beyond the bound new
 * frames are refused (a link that is full loses frames; whoever sent them knows how to cope).
 *
 *     | size u32, checksum u32, segment u32 | frame, padded to 4 | size ... | free | (skip to the start)
 */
import type { FrameOffload } from './net-port.ts';

const RECORD_BYTES = 12;

export class FrameFifo {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #data: DataView;
  #head = 0;
  #tail = 0;
  #frames = 0;
  /** Where the bytes end that hold records, once `#tail` has started over; else the capacity. */
  #end: number;

  /** `capacityBytes` is a multiple of 4. */
  constructor(capacityBytes: number) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#data = new DataView(this.#bytes.buffer);
    this.#end = capacityBytes;
  }

  get frames(): number {
    return this.#frames;
  }

  /** Copies a frame in; false when there is no room. */
  push(frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    const need = RECORD_BYTES + ((frame.length + 3) & ~3);
    const at = this.#place(need);
    if (at < 0) return false;
    this.#data.setUint32(at, frame.length, true);
    this.#data.setUint32(at + 4, offload?.checksumValid === true ? 1 : 0, true);
    this.#data.setUint32(at + 8, offload?.segmentBytes ?? 0, true);
    this.#bytes.set(frame, at + RECORD_BYTES);
    this.#tail = at + need;
    this.#frames++;
    return true;
  }

  /** The oldest frame, lent until `shift` or the next `push`; there must be one. */
  get first(): Uint8Array {
    const at = this.#head + RECORD_BYTES;
    return this.#bytes.subarray(at, at + this.#data.getUint32(this.#head, true));
  }

  get firstChecksumValid(): boolean {
    return this.#data.getUint32(this.#head + 4, true) !== 0;
  }

  get firstSegmentBytes(): number {
    return this.#data.getUint32(this.#head + 8, true);
  }

  shift(): void {
    this.#head += RECORD_BYTES + ((this.#data.getUint32(this.#head, true) + 3) & ~3);
    this.#frames--;
    if (this.#frames === 0) this.clear();
    else if (this.#head === this.#end) {
      this.#head = 0;
      this.#end = this.#bytes.length;
    }
  }

  clear(): void {
    this.#head = 0;
    this.#tail = 0;
    this.#frames = 0;
    this.#end = this.#bytes.length;
  }

  /** Where `need` bytes in a row are free, or -1. */
  #place(need: number): number {
    const wrapped = this.#frames > 0 && this.#tail <= this.#head;
    if (wrapped) return this.#head - this.#tail >= need ? this.#tail : -1;
    if (this.#bytes.length - this.#tail >= need) return this.#tail;
    if (this.#head < need) return -1;
    this.#end = this.#tail;
    return 0;
  }
}

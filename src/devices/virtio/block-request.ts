/**
 * A request of the block device (virtio 1.2, section 5.2.6) and its place in a descriptor chain:
 *
 *     readable   {type u32, reserved u32, sector u64} | data to write, or segments to discard or zero
 *     writable   data that was read, or the identity  | status u8
 *
 * The driver may cut this anywhere. The header is copied once; the chain is held until the request is done.
 */
import type { GuestMemory } from '../device.ts';
import { SECTOR_BYTES } from './block-backend.ts';
import { Chain } from './chain.ts';

export const VIRTIO_BLK_T = {
  IN: 0,
  OUT: 1,
  FLUSH: 4,
  GET_ID: 8,
  DISCARD: 11,
  WRITE_ZEROES: 13,
} as const;

export const VIRTIO_BLK_S = { OK: 0, IOERR: 1, UNSUPP: 2 } as const;
export type BlockStatus = (typeof VIRTIO_BLK_S)[keyof typeof VIRTIO_BLK_S];

export const HEADER_BYTES = 16;
const SEGMENT_BYTES = 16;
export const SEGMENTS_MAX = 32;
const UNMAP = 1;

/** One range of a discard or write-zeroes request, in bytes of the disk. */
export interface Range {
  readonly offset: number;
  readonly sizeBytes: number;
}

export class BlockRequest {
  readonly chain: Chain;
  queue = 0;
  /** The life of the queue, and of this process's view of it, in which the request was taken. */
  epoch = 0;
  session = 0;
  type = 0;
  /** In bytes; may lie anywhere up to 2^73. */
  offset = 0;
  pieces: readonly Uint8Array[] = [];
  readonly #scratch = new Uint8Array(SEGMENTS_MAX * SEGMENT_BYTES);
  readonly #data = new DataView(this.#scratch.buffer);
  readonly #status = new Uint8Array(1);

  constructor(memory: GuestMemory) {
    this.chain = new Chain(memory);
  }

  /** Whether the chain has room for a header and a status byte at all. */
  get wellFormed(): boolean {
    return this.chain.readableBytes >= HEADER_BYTES && this.chain.writableBytes >= 1;
  }

  /** Copies the header; false when it is out of the device's reach. */
  readHeader(): boolean {
    if (!this.chain.read(0, this.#scratch.subarray(0, HEADER_BYTES))) return false;
    this.type = this.#data.getUint32(0, true);
    this.offset = this.#sectorAt(8) * SECTOR_BYTES;
    return true;
  }

  /** Bytes behind the header. */
  get sentBytes(): number {
    return this.chain.readableBytes - HEADER_BYTES;
  }

  /** Bytes before the status. */
  get wantedBytes(): number {
    return this.chain.writableBytes - 1;
  }

  /** Copies the data to write from the guest into `pieces`; false when some is out of the device's reach. */
  gather(): boolean {
    let at = HEADER_BYTES;
    for (const piece of this.pieces) {
      if (!this.chain.read(at, piece)) return false;
      at += piece.length;
    }
    return true;
  }

  /**
   * The ranges of a discard or write-zeroes request, copied once: `undefined` when some byte is out of the device's
   * reach, else a status when they break a rule of section 5.2.6.2.
   */
  readRanges(diskBytes: number): readonly Range[] | BlockStatus | undefined {
    const count = this.sentBytes / SEGMENT_BYTES;
    if (!Number.isInteger(count) || count === 0 || count > SEGMENTS_MAX) return VIRTIO_BLK_S.IOERR;
    if (!this.chain.read(HEADER_BYTES, this.#scratch.subarray(0, this.sentBytes))) return undefined;
    const ranges: Range[] = [];
    for (let at = 0; at < this.sentBytes; at += SEGMENT_BYTES) {
      const offset = this.#sectorAt(at) * SECTOR_BYTES;
      const sizeBytes = this.#data.getUint32(at + 8, true) * SECTOR_BYTES;
      const flags = this.#data.getUint32(at + 12, true);
      const known = this.type === VIRTIO_BLK_T.WRITE_ZEROES ? UNMAP : 0;
      if ((flags & ~known) !== 0) return VIRTIO_BLK_S.UNSUPP;
      if (offset + sizeBytes > diskBytes) return VIRTIO_BLK_S.IOERR;
      ranges.push({ offset, sizeBytes });
    }
    return ranges;
  }

  /**
   * Gives the guest its answer: `data` from the start of the writable part if all went well, and the status in its
   * last byte. The length for the used ring (section 2.7.8.2: so many bytes from the start on were written), or -1
   * when some of it is out of the device's reach.
   */
  answer(status: BlockStatus, data: readonly Uint8Array[]): number {
    let written = 0;
    if (status === VIRTIO_BLK_S.OK) {
      for (const piece of data) {
        if (!this.chain.write(written, piece)) return -1;
        written += piece.length;
      }
    }
    this.#status[0] = status;
    if (!this.chain.write(this.chain.writableBytes - 1, this.#status)) return -1;
    return written === this.wantedBytes ? written + 1 : written;
  }

  #sectorAt(at: number): number {
    return this.#data.getUint32(at + 4, true) * 0x1_0000_0000 + this.#data.getUint32(at, true);
  }
}

/** A serial as GET_ID gives it: so many bytes, zeros behind it. */
export function identity(serial: string, sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let i = 0; i < sizeBytes && i < serial.length; i++) bytes[i] = serial.charCodeAt(i) & 0x7f;
  return bytes;
}

/** Does `each` for one range after the other; at once as long as they complete at once. */
export function inTurn(ranges: readonly Range[], each: (range: Range) => Promise<void> | void): Promise<void> | void {
  for (let i = 0; i < ranges.length; i++) {
    const done = each(ranges[i] as Range);
    if (done !== undefined) return done.then(() => inTurn(ranges.slice(i + 1), each));
  }
}

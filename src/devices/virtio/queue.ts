// hot
/**
 * The device's side of a split virtqueue (virtio 1.2, section 2.7), with indirect descriptors and the event index.
 *
 *     driver area    flags u16 | idx u16 | ring u16[size]          | used_event u16
 *     device area    flags u16 | idx u16 | {id u32, len u32}[size] | avail_event u16
 *     table          {addr u64, len u32, flags u16, next u16}[size]
 *
 * One service is: begin, then pop, push and publish at will, then arm. Everything in guest memory is hostile: each
 * field is loaded once and the copy is checked; a chain ends after at most `sizeMax` descriptors; a violation is
 * reported to the device and from then on every call does nothing until the next `begin`.
 *
 * No wake-up is lost: `arm` writes what asks the driver for a notification, then looks at the available index again,
 * both through Atomics, whose order is total; the driver does the same in the mirror (section 2.7.13.4.1).
 */
import type { GuestMemory } from '../device.ts';
import type { Chain } from './chain.ts';
import { RingWindow } from './ring-window.ts';
import {
  DESCRIPTOR_BYTES,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
  type Violation,
} from './spec.ts';
import { queueLayout } from './state.ts';

const at = queueLayout.offset;
const READY = at.ready / 4;
const SIZE_MAX = at.sizeMax / 4;
const SIZE = at.size / 4;
const DESC = at.descLow / 4;
const DRIVER = at.driverLow / 4;
const DEVICE = at.deviceLow / 4;
const NEXT_AVAIL = at.nextAvail / 4;
const NEXT_USED = at.nextUsed / 4;
const SIGNALLED = at.signalledUsed / 4;
const EPOCH = at.epoch / 4;

/** Addresses are numbers; from 2^52 on nothing is mapped and sums could lose bits. */
const HIGH_WORD_END = 1 << 20;
/** Section 2.7.5.2: a chain holds at most 2^32 bytes. */
const CHAIN_BYTES_MAX = 2 ** 32;

/** The 64-bit address in two words as a number, or -1 when it is beyond 2^52. */
export function addressOf(low: number, high: number): number {
  return high < HIGH_WORD_END ? high * 0x1_0000_0000 + low : -1;
}

export class Queue {
  readonly index: number;
  readonly #memory: GuestMemory;
  readonly #violated: (what: Violation) => void;
  /** The queue's part of the state block. */
  readonly #words: Uint32Array;
  readonly #table = new RingWindow();
  readonly #available = new RingWindow();
  readonly #used = new RingWindow();
  #indirectWords = new Uint32Array(0);
  /** Views of the first n descriptors of `#indirectWords`, made when first needed. */
  #indirectViews: Uint8Array[] = [];
  #eventIndex = false;
  #indirect = false;
  #usable = false;
  #size = 0;
  #availableIndex = 0;

  /** `words` is the queue's block; `violated` is told once per violation. */
  constructor(index: number, memory: GuestMemory, words: Uint32Array, violated: (what: Violation) => void) {
    this.index = index;
    this.#memory = memory;
    this.#words = words;
    this.#violated = violated;
  }

  /** The number of the queue's present life. */
  get epoch(): number {
    return this.#word(EPOCH);
  }

  /** Descriptors in the table; valid after `begin`. */
  get size(): number {
    return this.#size;
  }

  /** Maps the rings. False when the queue is not ready or its rings are out of reach. */
  begin(eventIndex: boolean, indirect: boolean): boolean {
    this.#usable = false;
    if (this.#word(READY) === 0) return false;
    const size = this.#word(SIZE);
    const tail = eventIndex ? 2 : 0;
    const memory = this.#memory;
    this.#usable =
      this.#table.map(memory, this.#address(DESC), size * DESCRIPTOR_BYTES, 'read') &&
      this.#available.map(memory, this.#address(DRIVER), 4 + size * 2 + tail, 'read') &&
      this.#used.map(memory, this.#address(DEVICE), 4 + size * 8 + tail, 'write');
    if (!this.#usable) this.#fail('dma');
    this.#eventIndex = eventIndex;
    this.#indirect = indirect;
    this.#size = size;
    this.#availableIndex = this.#word(NEXT_AVAIL);
    return this.#usable;
  }

  /** Takes the next chain into `chain`; false when there is none, or after a violation. */
  pop(chain: Chain): boolean {
    if (!this.#usable) return false;
    const next = this.#word(NEXT_AVAIL);
    if (next === this.#availableIndex && !this.#look()) return false;
    const head = this.#available.load16(4 + (next & (this.#size - 1)) * 2);
    if (!this.load(head, chain)) return false;
    this.#words[NEXT_AVAIL] = (next + 1) & 0xffff;
    return true;
  }

  /** Copies the chain at `head` without taking it: for one that was taken before a restore. */
  load(head: number, chain: Chain): boolean {
    if (!this.#usable) return false;
    chain.begin(head);
    const table = this.#table;
    let index = head;
    for (let count = this.#word(SIZE_MAX); count > 0; count--) {
      if (index >= this.#size) return this.#fail('descriptor-index');
      const offset = index * DESCRIPTOR_BYTES;
      const low = table.load32(offset);
      const high = table.load32(offset + 4);
      const sizeBytes = table.load32(offset + 8);
      const link = table.load32(offset + 12);
      const flags = link & 0xffff;
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        if (!this.#indirect || (flags & VIRTQ_DESC_F_NEXT) !== 0) return this.#fail('indirect');
        return this.#loadIndirect(low, high, sizeBytes, count, chain);
      }
      if (!this.#add(chain, low, high, sizeBytes, flags)) return false;
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return true;
      index = link >>> 16;
    }
    return this.#fail('chain-length');
  }

  /** Gives the last `popped` chains back, to be popped again, and takes back the last `pushed`, not yet published. */
  rewind(popped: number, pushed: number): void {
    this.#words[NEXT_AVAIL] = (this.#word(NEXT_AVAIL) - popped) & 0xffff;
    this.#words[NEXT_USED] = (this.#word(NEXT_USED) - pushed) & 0xffff;
  }

  /** Returns a chain to the driver, `writtenBytes` of whose device-writable part were written. Seen once published. */
  push(head: number, writtenBytes: number): void {
    if (!this.#usable) return;
    const next = this.#word(NEXT_USED);
    const offset = 4 + (next & (this.#size - 1)) * 8;
    this.#used.store32(offset, head);
    this.#used.store32(offset + 4, writtenBytes);
    this.#words[NEXT_USED] = (next + 1) & 0xffff;
  }

  /** Shows the driver what was pushed; true when it wants an interrupt for it. */
  publish(): boolean {
    const used = this.#word(NEXT_USED);
    const signalled = this.#word(SIGNALLED);
    if (!this.#usable || used === signalled) return false;
    this.#used.storeAtomic16(2, used);
    this.#words[SIGNALLED] = used;
    if (!this.#eventIndex) return (this.#available.loadAtomic16(0) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
    const event = this.#available.loadAtomic16(4 + this.#size * 2);
    return ((used - event - 1) & 0xffff) < ((used - signalled) & 0xffff);
  }

  /** Asks the driver not to notify: the device is looking anyway. (With the event index, not arming suffices.) */
  disarm(): void {
    if (this.#usable && !this.#eventIndex) this.#used.storeAtomic16(0, VIRTQ_USED_F_NO_NOTIFY);
  }

  /**
   * Asks for a notification of the next buffer beyond those that were seen; true when there already is one: pop again.
   * (Beyond those seen, not beyond those taken: what was rewound for want of more must not count as news.)
   */
  arm(): boolean {
    if (!this.#usable) return false;
    if (this.#eventIndex) this.#used.storeAtomic16(4 + this.#size * 8, this.#availableIndex);
    else this.#used.storeAtomic16(0, 0);
    return this.#look();
  }

  /** Loads the available index; true when it has moved since the last look. */
  #look(): boolean {
    const index = this.#available.loadAtomic16(2);
    if (((index - this.#word(NEXT_AVAIL)) & 0xffff) > this.#size) return this.#fail('avail-index');
    const moved = index !== this.#availableIndex;
    this.#availableIndex = index;
    return moved;
  }

  #loadIndirect(low: number, high: number, sizeBytes: number, room: number, chain: Chain): boolean {
    const count = sizeBytes / DESCRIPTOR_BYTES;
    if (count === 0 || sizeBytes % DESCRIPTOR_BYTES !== 0 || count > room) return this.#fail('indirect');
    const gpa = addressOf(low, high);
    if (gpa < 0 || !this.#memory.read(gpa, this.#indirectView(count))) return this.#fail('dma');
    const words = this.#indirectWords;
    let index = 0;
    for (let left = count; left > 0; left--) {
      if (index >= count) return this.#fail('descriptor-index');
      const word = index * 4;
      const link = words[word + 3] as number;
      const flags = link & 0xffff;
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) return this.#fail('indirect');
      if (!this.#add(chain, words[word] as number, words[word + 1] as number, words[word + 2] as number, flags)) {
        return false;
      }
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return true;
      index = link >>> 16;
    }
    return this.#fail('chain-length');
  }

  #add(chain: Chain, low: number, high: number, sizeBytes: number, flags: number): boolean {
    const gpa = addressOf(low, high);
    if (gpa < 0) return this.#fail('dma');
    if (!chain.add(gpa, sizeBytes, (flags & VIRTQ_DESC_F_WRITE) !== 0)) return this.#fail('chain-order');
    return chain.readableBytes + chain.writableBytes <= CHAIN_BYTES_MAX || this.#fail('chain-bytes');
  }

  #indirectView(count: number): Uint8Array {
    if (this.#indirectWords.length === 0) this.#indirectWords = new Uint32Array(this.#word(SIZE_MAX) * 4);
    let view = this.#indirectViews[count];
    if (view === undefined) {
      view = new Uint8Array(this.#indirectWords.buffer, 0, count * DESCRIPTOR_BYTES);
      this.#indirectViews[count] = view;
    }
    return view;
  }

  #fail(what: Violation): false {
    this.#usable = false;
    this.#violated(what);
    return false;
  }

  #address(word: number): number {
    return addressOf(this.#word(word), this.#word(word + 1));
  }

  #word(index: number): number {
    return this.#words[index] as number;
  }
}

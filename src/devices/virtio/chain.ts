/**
 * A descriptor chain, copied out of the guest's tables once: first the device-readable buffers, then the
 * device-writable ones (virtio 1.2, section 2.7.4.2). Devices address each half as one run of bytes and never look
 * at where the driver cut it (section 2.7.4.3). The buffers' bytes stay in guest memory until they are read, and
 * every transfer is checked against the device's rights at that moment.
 */
import type { GuestMemory } from '../device.ts';

const INITIAL_SEGMENTS = 32;

export class Chain {
  /** The descriptor that names this chain in the used ring. */
  head = 0;
  readableBytes = 0;
  writableBytes = 0;
  readonly #memory: GuestMemory;
  #gpa = new Float64Array(INITIAL_SEGMENTS);
  #sizeBytes = new Uint32Array(INITIAL_SEGMENTS);
  #readableCount = 0;
  #count = 0;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Makes it an empty chain. */
  begin(head: number): void {
    this.head = head;
    this.readableBytes = 0;
    this.writableBytes = 0;
    this.#readableCount = 0;
    this.#count = 0;
  }

  /** Appends a buffer; false when a device-readable one follows a device-writable one. */
  add(gpa: number, sizeBytes: number, writable: boolean): boolean {
    const at = this.#count;
    if (at === this.#gpa.length) this.#grow();
    this.#gpa[at] = gpa;
    this.#sizeBytes[at] = sizeBytes;
    this.#count = at + 1;
    if (writable) {
      this.writableBytes += sizeBytes;
      return true;
    }
    this.readableBytes += sizeBytes;
    this.#readableCount++;
    return this.#readableCount === this.#count;
  }

  /** Copies device-readable bytes from offset `at` on; false when they are not there or out of the device's reach. */
  read(at: number, into: Uint8Array): boolean {
    if (at + into.length > this.readableBytes) return false;
    return this.#transfer(0, this.#readableCount, at, into, false);
  }

  /** Copies `from` to offset `at` of the device-writable bytes; false as with `read`. */
  write(at: number, from: Uint8Array): boolean {
    if (at + from.length > this.writableBytes) return false;
    return this.#transfer(this.#readableCount, this.#count, at, from, true);
  }

  /**
   * Borrowed views of `count` device-readable bytes from offset `at` on, or of device-writable ones, in order; for the length
   * of the call that checked the device's rights. Null when they are not there, out of the device's reach, or in more
   * than `most` pieces.
   */
  spans(access: 'read' | 'write', at: number, count: number, most: number): Uint8Array[] | null {
    const isRead = access === 'read';
    if (at + count > (isRead ? this.readableBytes : this.writableBytes)) return null;
    const spans: Uint8Array[] = [];
    const end = isRead ? this.#readableCount : this.#count;
    for (let i = isRead ? 0 : this.#readableCount; i < end && count > 0; i++) {
      const sizeBytes = this.#sizeBytes[i] as number;
      if (at >= sizeBytes) {
        at -= sizeBytes;
        continue;
      }
      const take = Math.min(sizeBytes - at, count);
      const own = this.#memory.spans((this.#gpa[i] as number) + at, take, access);
      if (own === null || spans.length + own.length > most) return null;
      for (const span of own) spans.push(span);
      count -= take;
      at = 0;
    }
    return spans;
  }

  /** The device-writable buffers, for a device to which it matters where they lie. */
  *writableBuffers(): Generator<{ readonly gpa: number; readonly sizeBytes: number }> {
    for (let i = this.#readableCount; i < this.#count; i++)
      yield { gpa: this.#gpa[i] as number, sizeBytes: this.#sizeBytes[i] as number };
  }

  #transfer(first: number, end: number, at: number, bytes: Uint8Array, toGuest: boolean): boolean {
    let done = 0;
    for (let i = first; i < end && done < bytes.length; i++) {
      const sizeBytes = this.#sizeBytes[i] as number;
      if (at >= sizeBytes) {
        at -= sizeBytes;
        continue;
      }
      const gpa = (this.#gpa[i] as number) + at;
      const take = Math.min(sizeBytes - at, bytes.length - done);
      const piece = take === bytes.length ? bytes : bytes.subarray(done, done + take);
      if (!(toGuest ? this.#memory.write(gpa, piece) : this.#memory.read(gpa, piece))) return false;
      done += take;
      at = 0;
    }
    return true;
  }

  #grow(): void {
    const gpa = new Float64Array(this.#gpa.length * 2);
    const sizeBytes = new Uint32Array(gpa.length);
    gpa.set(this.#gpa);
    sizeBytes.set(this.#sizeBytes);
    this.#gpa = gpa;
    this.#sizeBytes = sizeBytes;
  }
}

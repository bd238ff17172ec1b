/**
 * The bytes on their way to the guest: sent but not acknowledged, and not yet sent. A ring that starts small and
 * doubles up to a limit while the shared budget lets it, so that a thousand idle connections cost little and a
 * hostile guest cannot make the host buffer without bound.
 */
import { assert } from '../base/assert.ts';

/** Bytes that all connections of one network may hold together. */
export class BufferBudget {
  readonly limitBytes: number;
  #usedBytes = 0;
  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  allows(sizeBytes: number): boolean {
    return this.#usedBytes + sizeBytes <= this.limitBytes;
  }

  /** Takes the bytes out of the budget, or nothing when they are not there. */
  reserve(sizeBytes: number): boolean {
    if (!this.allows(sizeBytes)) return false;
    this.#usedBytes += sizeBytes;
    return true;
  }

  release(sizeBytes: number): void {
    this.#usedBytes -= sizeBytes;
    assert(this.#usedBytes >= 0, 'more bytes released than reserved');
  }
}

/** The largest piece that a socket port hands over at once; a ring keeps room for one while its socket may deliver. */
export const MAX_CHUNK_BYTES = 1 << 16;

export class ByteRing {
  readonly #limitBytes: number;
  readonly #budget: BufferBudget;
  /** Its length is a power of two, or 0. */
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #start = 0;
  #length = 0;

  /** Above `limitBytes` the ring asks for no more; storage counts against the budget. */
  constructor(limitBytes: number, budget: BufferBudget) {
    this.#limitBytes = limitBytes;
    this.#budget = budget;
  }

  get length(): number {
    return this.#length;
  }

  /** Makes room for one more chunk; false when the ring has reached its limit, or the budget its own. */
  wantsMore(): boolean {
    return this.#length < this.#limitBytes && this.#ensureRoom(MAX_CHUNK_BYTES);
  }

  /** Appends a copy; false, with nothing appended, when neither the ring nor the budget has room. */
  push(bytes: Uint8Array): boolean {
    if (!this.#ensureRoom(bytes.length)) return false;
    const at = (this.#start + this.#length) & (this.#bytes.length - 1);
    const first = Math.min(bytes.length, this.#bytes.length - at);
    if (first === bytes.length) this.#bytes.set(bytes, at);
    else {
      this.#bytes.set(bytes.subarray(0, first), at);
      this.#bytes.set(bytes.subarray(first), 0);
    }
    this.#length += bytes.length;
    return true;
  }

  /** Copies `lengthBytes` bytes that lie `offset` behind the first one into `target` at `at`. */
  copyTo(offset: number, lengthBytes: number, target: Uint8Array, at: number): void {
    assert(offset >= 0 && offset + lengthBytes <= this.#length, 'read beyond the ring');
    if (lengthBytes === 0) return;
    const from = (this.#start + offset) & (this.#bytes.length - 1);
    const first = Math.min(lengthBytes, this.#bytes.length - from);
    target.set(this.#bytes.subarray(from, from + first), at);
    if (first < lengthBytes) target.set(this.#bytes.subarray(0, lengthBytes - first), at + first);
  }

  /** Forgets the first `lengthBytes` bytes. */
  drop(lengthBytes: number): void {
    assert(lengthBytes <= this.#length, 'drop beyond the ring');
    this.#length -= lengthBytes;
    this.#start = this.#length === 0 ? 0 : (this.#start + lengthBytes) & (this.#bytes.length - 1);
  }

  /** Gives back storage that a burst made grow, where the contents allow. */
  trim(): void {
    if (this.#length === 0 && this.#bytes.length > MAX_CHUNK_BYTES) this.#resize(MAX_CHUNK_BYTES);
  }

  /** Forgets everything and returns the storage to the budget. */
  free(): void {
    this.#length = 0;
    this.#resize(0);
  }

  #ensureRoom(sizeBytes: number): boolean {
    const needBytes = this.#length + sizeBytes;
    if (needBytes <= this.#bytes.length) return true;
    let newBytes = Math.max(MAX_CHUNK_BYTES, this.#bytes.length);
    while (newBytes < needBytes) newBytes *= 2;
    if (!this.#budget.allows(newBytes - this.#bytes.length)) return false;
    this.#resize(newBytes);
    return true;
  }

  #resize(newBytes: number): void {
    const bytes = new Uint8Array(newBytes);
    this.copyTo(0, this.#length, bytes, 0);
    this.#budget.release(this.#bytes.length);
    const reserved = this.#budget.reserve(newBytes);
    assert(reserved, 'a ring grew beyond the budget');
    this.#bytes = bytes;
    this.#start = 0;
  }
}

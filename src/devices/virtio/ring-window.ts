// hot
/**
 * A ring in guest memory as a device may use it for the length of one service: typed arrays over the borrowed spans.
 * The driver changes a ring while the device looks at it, so every index is one load of its own width, and what
 * orders (idx, event, flags) goes through Atomics. A ring lies in one run of frames or in several; elements are
 * aligned to their size, so none crosses from one run into the next.
 */
import { assert } from '../../base/assert.ts';
import type { GuestMemory } from '../device.ts';

interface Part {
  /** Byte offsets within the ring. */
  start: number;
  end: number;
  halves: Uint16Array;
  words: Uint32Array;
}

export class RingWindow {
  readonly #parts: Part[] = [];
  #count = 0;
  #recent: Part = { start: 0, end: 0, halves: new Uint16Array(0), words: new Uint32Array(0) };

  /** False when some byte is out of the device's reach. `gpa` is aligned to the ring's widest element, at least 2. */
  map(memory: GuestMemory, gpa: number, sizeBytes: number, access: 'read' | 'write'): boolean {
    const spans = memory.spans(gpa, sizeBytes, access);
    this.#count = 0;
    if (spans === null) return false;
    let start = 0;
    for (const span of spans) {
      const known = this.#parts[this.#count];
      if (known === undefined || known.start !== start || !covers(known, span)) {
        this.#parts[this.#count] = part(span, start);
      }
      this.#count++;
      start += span.length;
    }
    const first = this.#parts[0];
    assert(start === sizeBytes && first !== undefined, 'spans cover another range than was asked for');
    this.#recent = first;
    return true;
  }

  load16(at: number): number {
    const part = this.#partAt(at);
    return part.halves[(at - part.start) >> 1] as number;
  }

  loadAtomic16(at: number): number {
    const part = this.#partAt(at);
    return Atomics.load(part.halves, (at - part.start) >> 1);
  }

  storeAtomic16(at: number, value: number): void {
    const part = this.#partAt(at);
    Atomics.store(part.halves, (at - part.start) >> 1, value);
  }

  load32(at: number): number {
    const part = this.#partAt(at);
    return part.words[(at - part.start) >> 2] as number;
  }

  store32(at: number, value: number): void {
    const part = this.#partAt(at);
    part.words[(at - part.start) >> 2] = value;
  }

  #partAt(at: number): Part {
    const recent = this.#recent;
    if (at >= recent.start && at < recent.end) return recent;
    for (let i = 0; i < this.#count; i++) {
      const part = this.#parts[i] as Part;
      if (at < part.end) {
        this.#recent = part;
        return part;
      }
    }
    assert(false, 'beyond the mapped ring');
  }
}

function covers(part: Part, span: Uint8Array): boolean {
  return (
    part.halves.buffer === span.buffer &&
    part.halves.byteOffset === span.byteOffset &&
    part.end - part.start === span.length
  );
}

function part(span: Uint8Array, start: number): Part {
  const { buffer, byteOffset, length } = span;
  // A ring that is aligned to 2 bytes only (the available ring) is never asked for words.
  const words = byteOffset % 4 === 0 ? new Uint32Array(buffer, byteOffset, length >> 2) : new Uint32Array(0);
  return { start, end: start + length, halves: new Uint16Array(buffer, byteOffset, length >> 1), words };
}

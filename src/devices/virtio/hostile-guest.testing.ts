/**
 * The guest of the fuzzer (fuzz.testing.ts): queues whose contents lie between right and random, and memory that
 * other harts write to while the device works, whose frames lose their rights, and whose last frames are a trap.
 */
import assert from 'node:assert/strict';
import type { GuestMemory } from '../device.ts';
import { type FakeMemory, FRAME_BYTES } from './fake-memory.testing.ts';
import type { Random } from './random.testing.ts';

/** What chains of a queue mostly look like: buffer sizes of the readable and the writable part. */
export interface Style {
  readonly readable: readonly number[];
  readonly writable: readonly number[];
  /** What a chain's first readable buffer mostly begins with; else some small numbers. */
  head?(random: Random): Uint8Array;
}
export const FRAMES = 64;
/** The last frames are not the driver's: it never writes there, the device may not, and some buffers point there. */
const GUARDED_FRAMES = 2;
const GUARD = 0x3a;
/** Accesses to memory in one service: queues x chains x descriptors, generously. */
const SERVICE_ACCESSES_MAX = 300_000;

interface Ring {
  readonly size: number;
  readonly table: number;
  readonly available: number;
  readonly used: number;
  index: number;
}

/** Queues in guest memory with contents between right and random. */
export class Rings {
  readonly #memory: FakeMemory;
  readonly #random: Random;
  readonly #styles: readonly Style[];
  #rings: Ring[] = [];

  constructor(memory: FakeMemory, random: Random, styles: readonly Style[]) {
    this.#memory = memory;
    this.#random = random;
    this.#styles = styles;
  }

  clear(): void {
    this.#rings = [];
  }

  add(size: number): Ring {
    const place = (align: number) => {
      const at = this.#gpa(FRAME_BYTES / 2);
      return at - (at % align);
    };
    const ring = { size, table: place(16), available: place(2), used: place(4), index: 0 };
    this.#rings.push(ring);
    if (!this.#owns(ring.table, 256) || !this.#owns(ring.available, 64) || !this.#owns(ring.used, 160)) return ring;
    for (let at = 0; at < 64; at += 2) this.#memory.setU16(ring.available + at, 0);
    for (let at = 0; at < 160; at += 4) this.#memory.setU32(ring.used + at, 0);
    return ring;
  }

  /** Puts a chain into some queue. */
  offer(): void {
    const random = this.#random;
    const memory = this.#memory;
    if (this.#rings.length === 0) return;
    const number = random.below(this.#rings.length);
    const ring = this.#rings[number];
    if (ring === undefined || !this.#owns(ring.available, 64)) return;
    const sizes = this.#sizes(number);
    const head = random.below(ring.size);
    if (sizes.length > ring.size || random.oneIn(5)) {
      const table = this.#gpa(sizes.length * 16);
      this.#chain(table, sizes, 0, sizes.length, number);
      this.#descriptor(ring.table, head, table, random.oneIn(40) ? random.below(200) : sizes.length * 16, 4, 0);
    } else this.#chain(ring.table, sizes, head, ring.size, number);
    if (random.oneIn(200)) memory.setU16(ring.available + 2, random.below(65536));
    memory.setU16(ring.available + 4 + (ring.index % ring.size) * 2, random.oneIn(100) ? random.u32() & 0xffff : head);
    ring.index = (ring.index + 1) & 0xffff;
    memory.setU16(ring.available + 2, ring.index);
    if (random.oneIn(20)) memory.setU16(ring.available, random.below(2));
  }

  /** Sizes of a chain's buffers, writable ones negative. */
  #sizes(queue: number): number[] {
    const random = this.#random;
    if (random.oneIn(12)) {
      const length = 1 + random.below(4);
      const readable = random.below(length + 1);
      return Array.from({ length }, (_, i) => {
        const size = random.pick([1, 8, 12, 16, 512, 513, 4096, 8192, random.below(40_000), random.u32() >>> 1]);
        return i < readable ? size : -size;
      });
    }
    const { readable, writable } = this.#styleOf(queue);
    const some = (sizes: readonly number[]) => sizes.slice(0, Math.max(1, random.below(sizes.length + 1)));
    const last = writable.at(-1);
    const into = last === undefined ? [] : [...some(writable).slice(0, -1), last];
    return [...some(readable), ...into.map((size) => -size)];
  }

  #styleOf(queue: number): Style {
    return this.#styles[queue % this.#styles.length] as Style;
  }

  #chain(table: number, sizes: readonly number[], head: number, size: number, queue: number): void {
    const random = this.#random;
    for (const [i, signed] of sizes.entries()) {
      const sizeBytes = Math.abs(signed);
      const next = random.oneIn(150) ? random.below(70_000) : (head + i + 1) % size;
      let flags = (i + 1 < sizes.length ? 1 : 0) | (signed > 0 ? 0 : 2);
      if (random.oneIn(150)) flags = random.below(16);
      const gpa = random.oneIn(150) ? random.u32() * random.pick([1, 2 ** 20, 2 ** 31]) : this.#gpa(sizeBytes);
      if (signed > 0) this.#content(gpa, i === 0 ? this.#styleOf(queue).head : undefined);
      this.#descriptor(table, (head + i) % size, gpa, sizeBytes, flags, next);
    }
  }

  /** The start of a buffer that the device reads: what headers and messages are made of. */
  #content(gpa: number, head: Style['head']): void {
    const random = this.#random;
    const bytes = random.oneIn(20) ? undefined : head?.(random);
    if (bytes !== undefined && this.#owns(gpa, bytes.length)) {
      this.#memory.setBytes(gpa, bytes);
      return;
    }
    if (!this.#owns(gpa, 16)) return;
    this.#memory.setU32(gpa, random.pick([0, 0, 1, 1, 4, 8, 11, 13, random.below(16), random.u32()]));
    this.#memory.setU32(gpa + 4, random.pick([0, 1, 0x1_0003, 0x1_0006, 6, random.u32()]));
    this.#memory.setU32(gpa + 8, random.oneIn(8) ? random.u32() : random.below(300));
    this.#memory.setU32(gpa + 12, random.oneIn(20) ? random.u32() : 0);
  }

  #descriptor(table: number, index: number, gpa: number, sizeBytes: number, flags: number, next: number): void {
    const at = table + index * 16;
    if (!this.#owns(at, 16)) return;
    this.#memory.setU64(at, gpa);
    this.#memory.setU32(at + 8, sizeBytes);
    this.#memory.setU16(at + 12, flags);
    this.#memory.setU16(at + 14, next & 0xffff);
  }

  #owns(gpa: number, sizeBytes: number): boolean {
    return gpa >= this.#memory.base && gpa + sizeBytes <= ownedEnd(this.#memory);
  }

  #gpa(room: number): number {
    const space = FRAMES * FRAME_BYTES - room;
    return this.#memory.base + (space > 0 ? this.#random.below(space) : 0);
  }
}

/** Where the guarded frames begin. */
function ownedEnd(memory: FakeMemory): number {
  return memory.base + (FRAMES - GUARDED_FRAMES) * FRAME_BYTES;
}

/** Guest memory that other harts write to while the device works, and whose frames lose their rights. */
export class HostileMemory implements GuestMemory {
  readonly #memory: FakeMemory;
  readonly #random: Random;
  #accesses = 0;
  #isCalm = false;

  constructor(memory: FakeMemory, random: Random) {
    this.#memory = memory;
    this.#random = random;
    const guard = new Uint8Array(FRAME_BYTES).fill(GUARD);
    for (let gpa = ownedEnd(memory); gpa < memory.base + memory.sizeBytes; gpa += FRAME_BYTES) {
      memory.setBytes(gpa, guard);
      memory.forbid(gpa, 'write');
    }
  }

  begin(): void {
    this.#accesses = 0;
  }

  calm(): void {
    this.#isCalm = true;
  }

  read(gpa: number, into: Uint8Array): boolean {
    this.#access();
    return this.#memory.read(gpa, into);
  }

  write(gpa: number, from: Uint8Array): boolean {
    this.#access();
    return this.#memory.write(gpa, from);
  }

  spans(gpa: number, sizeBytes: number, access: 'read' | 'write'): Uint8Array[] | null {
    this.#access();
    return this.#memory.spans(gpa, sizeBytes, access);
  }

  /** Takes the right to write or read some frame away. */
  forbid(): void {
    const frame = this.#memory.base + this.#random.below(FRAMES) * FRAME_BYTES;
    this.#memory.forbid(frame, this.#random.pick(['read', 'write', 'both'] as const));
  }

  check(): void {
    this.#memory.checkCanaries();
    const guarded = this.#memory.bytes(ownedEnd(this.#memory), GUARDED_FRAMES * FRAME_BYTES);
    assert.ok(
      guarded.every((byte) => byte === GUARD),
      'the device wrote to a frame that it may not write',
    );
  }

  #access(): void {
    assert.ok(++this.#accesses < SERVICE_ACCESSES_MAX, 'a service without end');
    if (this.#isCalm || !this.#random.oneIn(50)) return;
    const at = this.#memory.base + 2 * this.#random.below((ownedEnd(this.#memory) - this.#memory.base) / 2);
    this.#memory.setU16(at, this.#random.oneIn(2) ? this.#random.below(16) : this.#random.u32() & 0xffff);
  }
}

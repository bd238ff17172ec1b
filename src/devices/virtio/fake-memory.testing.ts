/**
 * Guest memory for tests: frames scattered over a shared buffer in no order, each with a canary frame behind it, so
 * that nothing works by luck of contiguity and a byte written beside a frame is found. Rights can be taken away
 * frame by frame. The driver's side has plain accessors.
 */
import assert from 'node:assert/strict';
import type { GuestMemory } from '../device.ts';
import { Random } from './random.testing.ts';

export const FRAME_BYTES = 4096;
const CANARY = 0xc5;

export interface FakeMemoryOptions {
  /** Default 256. */
  readonly frames?: number;
  /** Frames in one run, in order, without canaries: for benchmarks of what is not memory. */
  readonly contiguous?: boolean;
}

export class FakeMemory implements GuestMemory {
  readonly base = 0x8000_0000;
  readonly sizeBytes: number;
  readonly #buffer: SharedArrayBuffer;
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  /** Offset in the buffer by frame. */
  readonly #place: number[];
  readonly #readable: boolean[];
  readonly #writable: boolean[];
  #next: number;

  constructor(options: FakeMemoryOptions = {}) {
    const frames = options.frames ?? 256;
    this.sizeBytes = frames * FRAME_BYTES;
    const slots = options.contiguous ? frames : frames * 2 + 1;
    this.#buffer = new SharedArrayBuffer(slots * FRAME_BYTES);
    this.#bytes = new Uint8Array(this.#buffer);
    this.#data = new DataView(this.#buffer);
    this.#place = Array.from({ length: frames }, (_, i) => i);
    if (!options.contiguous) {
      const random = new Random(frames);
      for (let i = frames - 1; i > 0; i--) {
        const j = random.below(i + 1);
        const at = this.#place[i] as number;
        this.#place[i] = this.#place[j] as number;
        this.#place[j] = at;
      }
      for (let slot = 0; slot < slots; slot += 2) {
        this.#bytes.fill(CANARY, slot * FRAME_BYTES, (slot + 1) * FRAME_BYTES);
      }
    }
    this.#place = this.#place.map((at) => (options.contiguous ? at : at * 2 + 1) * FRAME_BYTES);
    this.#readable = this.#place.map(() => true);
    this.#writable = this.#place.map(() => true);
    this.#next = this.base;
  }

  read(gpa: number, into: Uint8Array): boolean {
    const spans = this.spans(gpa, into.length, 'read');
    if (spans === null) return false;
    let done = 0;
    for (const span of spans) {
      into.set(span, done);
      done += span.length;
    }
    return true;
  }

  write(gpa: number, from: Uint8Array): boolean {
    const spans = this.spans(gpa, from.length, 'write');
    if (spans === null) return false;
    let done = 0;
    for (const span of spans) {
      span.set(from.subarray(done, done + span.length));
      done += span.length;
    }
    return true;
  }

  spans(gpa: number, sizeBytes: number, access: 'read' | 'write'): Uint8Array[] | null {
    const start = gpa - this.base;
    if (start < 0 || start + sizeBytes > this.sizeBytes) return null;
    const rights = access === 'read' ? this.#readable : this.#writable;
    const spans: Uint8Array[] = [];
    let runStart = 0;
    let runBytes = 0;
    for (let at = start; at < start + sizeBytes; ) {
      const frame = Math.floor(at / FRAME_BYTES);
      if (rights[frame] !== true) return null;
      const take = Math.min((frame + 1) * FRAME_BYTES, start + sizeBytes) - at;
      const place = (this.#place[frame] as number) + (at % FRAME_BYTES);
      if (runBytes > 0 && place !== runStart + runBytes) {
        spans.push(new Uint8Array(this.#buffer, runStart, runBytes));
        runBytes = 0;
      }
      if (runBytes === 0) runStart = place;
      runBytes += take;
      at += take;
    }
    if (runBytes > 0) spans.push(new Uint8Array(this.#buffer, runStart, runBytes));
    return spans;
  }

  /** Takes the device's rights to the frame of `gpa` away. */
  forbid(gpa: number, access: 'read' | 'write' | 'both'): void {
    const frame = Math.floor((gpa - this.base) / FRAME_BYTES);
    if (access !== 'write') this.#readable[frame] = false;
    if (access !== 'read') this.#writable[frame] = false;
  }

  /** Fails if a byte between the frames has changed. */
  checkCanaries(): void {
    for (const place of this.#place) {
      const behind = this.#bytes.subarray(place + FRAME_BYTES, place + 2 * FRAME_BYTES);
      assert.ok(
        behind.every((byte) => byte === CANARY),
        `a byte behind the frame at ${place} was overwritten`,
      );
    }
  }

  /** The driver's allocator: `sizeBytes` at a multiple of `align`, never freed. */
  allocate(sizeBytes: number, align = 16): number {
    const at = Math.ceil(this.#next / align) * align;
    assert.ok(at + sizeBytes <= this.base + this.sizeBytes, 'the fake memory is too small for this test');
    this.#next = at + sizeBytes;
    return at;
  }

  u16(gpa: number): number {
    if (crosses(gpa, 2)) return new DataView(this.bytes(gpa, 2).buffer).getUint16(0, true);
    return this.#data.getUint16(this.#at(gpa), true);
  }

  u32(gpa: number): number {
    if (crosses(gpa, 4)) return new DataView(this.bytes(gpa, 4).buffer).getUint32(0, true);
    return this.#data.getUint32(this.#at(gpa), true);
  }

  setU16(gpa: number, value: number): void {
    if (crosses(gpa, 2)) this.setBytes(gpa, new Uint8Array(Uint16Array.of(value).buffer));
    else this.#data.setUint16(this.#at(gpa), value, true);
  }

  setU32(gpa: number, value: number): void {
    if (crosses(gpa, 4)) this.setBytes(gpa, new Uint8Array(Uint32Array.of(value).buffer));
    else this.#data.setUint32(this.#at(gpa), value, true);
  }

  setU64(gpa: number, value: number): void {
    this.setU32(gpa, value >>> 0);
    this.setU32(gpa + 4, Math.floor(value / 2 ** 32));
  }

  bytes(gpa: number, count: number): Uint8Array {
    const out = new Uint8Array(count);
    for (let i = 0; i < count; i++) out[i] = this.#bytes[this.#at(gpa + i)] as number;
    return out;
  }

  setBytes(gpa: number, from: Uint8Array): void {
    for (let i = 0; i < from.length; i++) this.#bytes[this.#at(gpa + i)] = from[i] as number;
  }

  /** The driver does not ask for rights. */
  #at(gpa: number): number {
    const start = gpa - this.base;
    const place = this.#place[Math.floor(start / FRAME_BYTES)];
    assert.ok(place !== undefined, `the fake driver touches 0x${gpa.toString(16)}`);
    return place + (start % FRAME_BYTES);
  }
}

/** Whether a word at `gpa` lies in two frames. */
function crosses(gpa: number, bytes: number): boolean {
  return (gpa % FRAME_BYTES) + bytes > FRAME_BYTES;
}

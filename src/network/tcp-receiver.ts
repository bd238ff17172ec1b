/**
 * The receiving half of a TCP connection with the guest (RFC 9293, 3.8, 3.10.7.4): which bytes are the next in
 * order, which came too early and are kept, and how large a window the guest is offered. Bytes in order go straight
 * to the host's socket; they count against the window until the host has taken them, which is the back-pressure.
 *
 *      taken by the host     pending at the host      next            edge (last offered)
 *     ----------------------|------------------------|---------------|
 *                           '---- limit: grows while data flows -----'
 */
// hot: `accept` once per segment
import type { BufferBudget } from './byte-ring.ts';
import { sequenceDifference } from './tcp.ts';

/** A connection's first window; it doubles as data flows. */
export const FIRST_WINDOW_BYTES = 1 << 16;

export interface ByteSink {
  /** The next bytes of the stream: `bytes` from `at` to `end`, lent. */
  take(bytes: Uint8Array, at: number, end: number): void;
}

/** What became of a segment: taken, seen before, kept for later, or not to be kept. */
export type Acceptance = 'in-order' | 'old' | 'early' | 'dropped';

interface EarlySegment {
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

export class TcpReceiver {
  readonly #limitBytes: number;
  readonly #earlyLimit: number;
  readonly #budget: BufferBudget;
  readonly #segmentBytes: number;
  /** Sorted by sequence; they may overlap. */
  readonly #early: EarlySegment[] = [];
  #earlyBytes = 0;
  #windowBytes = FIRST_WINDOW_BYTES;
  #next: number;
  #edge: number;
  #pendingBytes = 0;
  #sinceGrowthBytes = 0;
  #finAt: number | undefined;
  #ended = false;

  /** `first` is the guest's first byte. The caller has reserved FIRST_WINDOW_BYTES of the budget; `free` returns it. */
  constructor(first: number, segmentBytes: number, limitBytes: number, earlyLimit: number, budget: BufferBudget) {
    this.#next = this.#edge = first;
    this.#segmentBytes = segmentBytes;
    this.#limitBytes = limitBytes;
    this.#earlyLimit = earlyLimit;
    this.#budget = budget;
  }

  /** The next sequence number in order: the acknowledgement. */
  get next(): number {
    return this.#next;
  }

  /** Whether the guest's FIN has come, in order. */
  get ended(): boolean {
    return this.#ended;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Whether a segment touches what was offered (RFC 9293, table 6), one that merely probes a closed window included. */
  touches(sequence: number, sequenceBytes: number): boolean {
    const from = sequenceDifference(sequence, this.#next);
    const end = sequenceDifference((sequence + sequenceBytes) | 0, this.#next);
    return end >= 0 && from <= sequenceDifference(this.#edge, this.#next) && end >= from;
  }

  /** Takes the payload `bytes[at, end)` of a segment that `touches`; bytes in order go to `sink` at once. */
  accept(sequence: number, bytes: Uint8Array, at: number, end: number, fin: boolean, sink: ByteSink): Acceptance {
    if (this.#ended) return 'old';
    const offset = sequenceDifference(sequence, this.#next);
    const skip = Math.max(0, -offset);
    const room = sequenceDifference(this.#edge, this.#next) - Math.max(0, offset);
    const from = at + skip;
    const to = Math.min(end, from + Math.max(0, room));
    const whole = to === end;
    // A FIN takes no room of the window; it counts when everything before it fitted.
    if (fin && whole) this.#finAt = (sequence + (end - at)) | 0;
    if (from > end || (from === end && !fin)) return 'old';
    if (offset > 0) return this.#keep(sequence, bytes.subarray(from, to)) ? 'early' : 'dropped';
    if (to > from) this.#advance(bytes, from, to, sink);
    this.#takeEarly(sink);
    if (this.#finAt !== undefined && this.#finAt === this.#next) {
      this.#next = (this.#next + 1) | 0;
      this.#ended = true;
      this.#dropEarly();
    }
    return whole || to > from ? 'in-order' : 'dropped';
  }

  /** Whether segments are missing before one that is kept. */
  get hasGap(): boolean {
    return this.#early.length > 0;
  }

  /** The host has taken this many bytes. */
  drained(byteCount: number): void {
    this.#pendingBytes = Math.max(0, this.#pendingBytes - byteCount);
  }

  /** Whether the window could be opened so far that the guest should be told (RFC 9293, 3.8.6.2.2). */
  wantsUpdate(): boolean {
    const gain = sequenceDifference((this.#next + this.#freeBytes()) | 0, this.#edge);
    return gain >= Math.min(this.#windowBytes / 2, 2 * this.#segmentBytes);
  }

  /** The window field for a segment that is about to be sent with the scale `shift`; what it offers is remembered. */
  offer(shift: number): number {
    const kept = sequenceDifference(this.#edge, this.#next);
    const free = this.#freeBytes();
    const gain = free - kept;
    // The right edge never moves left, and not in silly steps either.
    const offered = gain >= Math.min(this.#windowBytes / 2, this.#segmentBytes) ? free : kept;
    const field = Math.min(0xffff, offered >>> shift);
    const edge = (this.#next + field * 2 ** shift) | 0;
    if (sequenceDifference(edge, this.#edge) > 0) this.#edge = edge;
    return field;
  }

  /** Gives all buffers back. */
  free(): void {
    this.#dropEarly();
    this.#budget.release(this.#windowBytes);
    this.#windowBytes = 0;
  }

  #freeBytes(): number {
    return Math.max(0, this.#windowBytes - this.#pendingBytes);
  }

  #advance(bytes: Uint8Array, from: number, to: number, sink: ByteSink): void {
    const length = to - from;
    this.#next = (this.#next + length) | 0;
    this.#pendingBytes += length;
    this.#sinceGrowthBytes += length;
    if (this.#sinceGrowthBytes > 2 * this.#windowBytes) this.#grow();
    sink.take(bytes, from, to);
  }

  #grow(): void {
    this.#sinceGrowthBytes = 0;
    if (this.#windowBytes * 2 <= this.#limitBytes && this.#budget.reserve(this.#windowBytes)) this.#windowBytes *= 2;
  }

  #keep(sequence: number, bytes: Uint8Array): boolean {
    if (bytes.length === 0) return true;
    if (this.#early.length >= this.#earlyLimit || this.#earlyBytes + bytes.length > this.#windowBytes) return false;
    let index = this.#early.length;
    for (; index > 0; index -= 1) {
      const before = this.#early[index - 1];
      if (before === undefined) break;
      const distance = sequenceDifference(sequence, before.sequence);
      if (distance === 0 && bytes.length <= before.bytes.length) return true;
      if (distance >= 0) break;
    }
    this.#early.splice(index, 0, { sequence, bytes: bytes.slice() });
    this.#earlyBytes += bytes.length;
    return true;
  }

  #takeEarly(sink: ByteSink): void {
    for (;;) {
      const first = this.#early[0];
      if (first === undefined) return;
      const skip = sequenceDifference(this.#next, first.sequence);
      if (skip < 0) return;
      this.#early.shift();
      this.#earlyBytes -= first.bytes.length;
      if (skip < first.bytes.length) this.#advance(first.bytes, skip, first.bytes.length, sink);
    }
  }

  #dropEarly(): void {
    this.#early.length = 0;
    this.#earlyBytes = 0;
  }
}

/**
 * The sending half of a TCP connection with the guest (RFC 9293, 3.8): what the host gave us, cut into segments,
 * kept until acknowledged, sent again when lost, held back by the guest's window and the congestion window, and
 * probed for when that window is closed. The SYN is not its business: it starts behind it.
 *
 *      acknowledged     una      sent       next    max      not sent        end (= una + ring [+ FIN])
 *     --------------------|------------------|-------|------------------------|
 *                         '---- in flight ---'       ^ beyond it nothing was ever sent
 */
// hot: one call to `transmit` and one to `acknowledge` per segment or two
import { assert } from '../base/assert.ts';
import { type BufferBudget, ByteRing } from './byte-ring.ts';
import type { NetworkCounters } from './counters.ts';
import { sequenceDifference } from './tcp.ts';
import { CongestionWindow } from './tcp-congestion.ts';
import { RetransmissionTimeout } from './tcp-retransmission.ts';

/** Timeouts in a row after which the guest counts as gone: about three minutes. */
const MAX_TIMEOUTS = 10;
const NEVER = Number.POSITIVE_INFINITY;

export interface SegmentSink {
  /** Sends `lengthBytes` of `ring` from `offset`; false, with nothing sent, when the guest cannot receive. */
  sendData(sequence: number, ring: ByteRing, offset: number, lengthBytes: number, fin: boolean, push: boolean): boolean;
}

export class TcpSender {
  readonly ring: ByteRing;
  /** The guest's largest segment, and the largest packet's payload it takes in one frame (a multiple, or the same). */
  readonly segmentBytes: number;
  largestBytes: number;
  readonly #counters: NetworkCounters['tcp'];
  readonly #congestion: CongestionWindow;
  readonly #timeout = new RetransmissionTimeout();
  #una: number;
  #next: number;
  #max: number;
  #windowBytes: number;
  #widestWindowBytes: number;
  #windowSequence: number;
  #windowAck: number;
  #finQueued = false;
  #finAcknowledged = false;
  #timeouts = 0;
  #dueMs = NEVER;
  #timedSequence = 0;
  #timedAtMs = -1;

  constructor(
    first: number,
    segmentBytes: number,
    limitBytes: number,
    budget: BufferBudget,
    counters: NetworkCounters['tcp'],
  ) {
    this.ring = new ByteRing(limitBytes, budget);
    this.segmentBytes = segmentBytes;
    this.largestBytes = segmentBytes;
    this.#counters = counters;
    this.#congestion = new CongestionWindow(segmentBytes);
    this.#una = this.#next = this.#max = first;
    this.#windowBytes = this.#widestWindowBytes = 0;
    this.#windowSequence = this.#windowAck = first;
  }

  /** The sequence number of the next new segment. */
  get next(): number {
    return this.#next;
  }

  /** When `onTimer` must be called; infinity for never. */
  get dueMs(): number {
    return this.#dueMs;
  }

  get finQueued(): boolean {
    return this.#finQueued;
  }

  get finAcknowledged(): boolean {
    return this.#finAcknowledged;
  }

  /** Whether the guest has gone silent for good. */
  get exhausted(): boolean {
    return this.#timeouts > MAX_TIMEOUTS;
  }

  /** No more data: a FIN follows what is queued. */
  finish(): void {
    this.#finQueued = true;
  }

  /** Sets the guest's window when the connection opens. */
  open(windowBytes: number, sequence: number, acknowledgement: number): void {
    this.#windowBytes = windowBytes;
    this.#widestWindowBytes = Math.max(windowBytes, this.segmentBytes);
    this.#windowSequence = sequence;
    this.#windowAck = acknowledgement;
  }

  /** Whether an acknowledgement speaks of something never sent. */
  isBeyond(acknowledgement: number): boolean {
    return sequenceDifference(acknowledgement, this.#max) > 0;
  }

  /**
   * Takes an acknowledgement (not beyond `max`), with the window in bytes; `bare` when its segment carried neither
   * data nor FIN and so may be a duplicate (RFC 5681, 2). Call `transmit` afterwards.
   */
  acknowledge(
    acknowledgement: number,
    sequence: number,
    windowBytes: number,
    bare: boolean,
    nowMs: number,
    sink: SegmentSink,
  ): void {
    const acked = sequenceDifference(acknowledgement, this.#una);
    const windowBefore = this.#windowBytes;
    this.#updateWindow(acknowledgement, sequence, windowBytes);
    if (acked > 0) {
      this.#advance(acknowledgement, acked, nowMs, sink);
      return;
    }
    if (acked < 0) return;
    if (this.#next === this.#una) {
      // An answer to a window probe: the guest lives, however long its window stays closed.
      this.#timeouts = 0;
      return;
    }
    if (!bare || this.#windowBytes !== windowBefore) return;
    this.#counters.duplicateAcks += 1;
    if (this.#congestion.duplicate(this.#flightBytes()) === 'retransmit') {
      this.#counters.fastRetransmits += 1;
      this.#resendFirst(nowMs, sink);
    }
  }

  /** Sends what windows and readiness allow; false when the guest was not ready for all of it. */
  transmit(nowMs: number, sink: SegmentSink): boolean {
    for (;;) {
      const unsent = this.#unsentBytes();
      const finPending = this.#finPending();
      if (unsent === 0 && !finPending) break;
      const flight = this.#flightBytes();
      const room = Math.min(this.#congestion.windowBytes, this.#windowBytes) - flight;
      const length = Math.min(unsent, this.#largestSegment(room), Math.max(0, room));
      if (length === 0 && unsent > 0) break;
      // Silly window avoidance (RFC 9293, 3.8.6.2.1): a full segment, all there is, or half the widest window.
      if (length < unsent && length < this.segmentBytes && length < this.#widestWindowBytes / 2) break;
      const last = length === unsent;
      const fin = finPending && last;
      if (!sink.sendData(this.#next, this.ring, flight, length, fin, last)) return false;
      this.#sent(length + (fin ? 1 : 0), nowMs);
    }
    this.#armProbe(nowMs);
    return true;
  }

  /** To be called at `dueMs`: sends the oldest segment again, or probes a closed window; then call `transmit`. */
  onTimer(nowMs: number, sink: SegmentSink): void {
    this.#dueMs = NEVER;
    this.#timeouts += 1;
    this.#timeout.backOff();
    this.#timedAtMs = -1;
    if (this.exhausted) return;
    const flight = this.#flightBytes();
    if (flight > 0) {
      this.#counters.retransmits += 1;
      this.#congestion.timedOut(flight);
      // Go back to the first unacknowledged byte; the congestion window paces what follows (RFC 5681, 3.1).
      this.#next = this.#una;
    }
    if (this.#windowBytes < this.segmentBytes) this.#probe(nowMs, sink);
    if (this.#flightBytes() > 0 || this.#unsentBytes() > 0 || this.#finPending())
      this.#dueMs = nowMs + this.#timeout.timeoutMs;
  }

  /** Postpones the timer while the guest cannot receive, so that a paused guest does not count as gone. */
  postpone(nowMs: number): void {
    if (this.#dueMs !== NEVER) this.#dueMs = nowMs + this.#timeout.timeoutMs;
  }

  free(): void {
    this.#dueMs = NEVER;
    this.ring.free();
  }

  #advance(acknowledgement: number, acked: number, nowMs: number, sink: SegmentSink): void {
    const dataBytes = Math.min(acked, this.ring.length);
    if (acked > dataBytes) this.#finAcknowledged = true;
    this.ring.drop(dataBytes);
    this.#counters.bytesToGuest += dataBytes;
    const inFlight = sequenceDifference(acknowledgement, this.#next) < 0;
    this.#una = acknowledgement;
    if (!inFlight) this.#next = acknowledgement;
    if (this.#timedAtMs >= 0 && sequenceDifference(acknowledgement, this.#timedSequence) >= 0) {
      this.#timeout.sample(nowMs - this.#timedAtMs);
      this.#timedAtMs = -1;
    }
    this.#timeouts = 0;
    this.#timeout.reset();
    if (this.#congestion.acknowledged(acked) && inFlight) this.#resendFirst(nowMs, sink);
    this.#dueMs = inFlight ? nowMs + this.#timeout.timeoutMs : NEVER;
  }

  #updateWindow(acknowledgement: number, sequence: number, windowBytes: number): void {
    const newer = sequenceDifference(sequence, this.#windowSequence);
    if (newer < 0 || (newer === 0 && sequenceDifference(acknowledgement, this.#windowAck) < 0)) return;
    this.#windowBytes = windowBytes;
    this.#widestWindowBytes = Math.max(this.#widestWindowBytes, windowBytes);
    this.#windowSequence = sequence;
    this.#windowAck = acknowledgement;
  }

  #flightBytes(): number {
    return sequenceDifference(this.#next, this.#una);
  }

  #unsentBytes(): number {
    return Math.max(0, this.ring.length - this.#flightBytes());
  }

  #finPending(): boolean {
    return this.#finQueued && !this.#finAcknowledged && this.#flightBytes() <= this.ring.length;
  }

  #largestSegment(room: number): number {
    if (this.largestBytes <= this.segmentBytes || room <= this.segmentBytes) return this.segmentBytes;
    return Math.min(this.largestBytes, room - (room % this.segmentBytes));
  }

  #sent(sequenceBytes: number, nowMs: number): void {
    const again = sequenceDifference(this.#next, this.#max) < 0;
    this.#next = (this.#next + sequenceBytes) | 0;
    if (sequenceDifference(this.#next, this.#max) > 0) this.#max = this.#next;
    if (this.#dueMs === NEVER) this.#dueMs = nowMs + this.#timeout.timeoutMs;
    if (!again && this.#timedAtMs < 0) {
      this.#timedSequence = this.#next;
      this.#timedAtMs = nowMs;
    }
  }

  #resendFirst(nowMs: number, sink: SegmentSink): void {
    this.#timedAtMs = -1;
    const length = Math.min(this.segmentBytes, this.ring.length, this.#flightBytes());
    const fin = this.#finQueued && length === this.ring.length && this.#flightBytes() > length;
    assert(length > 0 || fin, 'nothing to send again');
    this.#counters.retransmits += 1;
    sink.sendData(this.#una, this.ring, 0, length, fin, true);
    this.#dueMs = nowMs + this.#timeout.timeoutMs;
  }

  #armProbe(nowMs: number): void {
    const waits = this.#unsentBytes() > 0 || this.#finPending();
    if (this.#dueMs === NEVER && waits) this.#dueMs = nowMs + this.#timeout.timeoutMs;
  }

  /** One byte, or as many as the narrow window takes, beyond or within it (RFC 9293, 3.8.6.1). */
  #probe(nowMs: number, sink: SegmentSink): void {
    const length = Math.min(this.#unsentBytes(), Math.max(1, this.#windowBytes));
    const fin = length === this.#unsentBytes() && this.#finPending();
    if (length === 0 && !fin) return;
    this.#counters.windowProbes += 1;
    if (!sink.sendData(this.#next, this.ring, sequenceDifference(this.#next, this.#una), length, fin, true)) return;
    const end = (this.#next + length + (fin ? 1 : 0)) | 0;
    if (sequenceDifference(end, this.#max) > 0) this.#max = end;
    if (length <= this.#windowBytes && length > 0) this.#sent(length + (fin ? 1 : 0), nowMs);
  }
}

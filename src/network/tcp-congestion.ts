/**
 * Congestion control towards the guest: slow start, congestion avoidance, fast retransmit and fast recovery
 * (RFC 5681) with partial acknowledgements (NewReno, RFC 6582). The link itself loses nothing, but a guest's full
 * receive ring may, and a virtual switch may stand between. Counts in bytes; no selective acknowledgements.
 */
const INITIAL_SEGMENTS = 10;
const DUPLICATE_THRESHOLD = 3;
/** Above this the window of either side is long the bound. */
const MAX_WINDOW_BYTES = 1 << 26;

/** What to do after a duplicate acknowledgement. */
export type DuplicateVerdict = 'nothing' | 'retransmit' | 'send-more';

export class CongestionWindow {
  #windowBytes: number;
  #thresholdBytes = MAX_WINDOW_BYTES;
  #duplicates = 0;
  /** Bytes that were outstanding when the loss was noticed and are not acknowledged yet; above 0 during recovery. */
  #recoverBytes = 0;
  readonly #segmentBytes: number;

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes;
    this.#windowBytes = INITIAL_SEGMENTS * segmentBytes;
  }

  get windowBytes(): number {
    return Math.floor(this.#windowBytes);
  }

  get recovering(): boolean {
    return this.#recoverBytes > 0;
  }

  /** New data were acknowledged; true when the next hole must be sent again at once (a partial acknowledgement). */
  acknowledged(ackedBytes: number): boolean {
    this.#duplicates = 0;
    if (this.#recoverBytes > 0) {
      this.#recoverBytes -= ackedBytes;
      if (this.#recoverBytes > 0) {
        this.#windowBytes = Math.max(this.#segmentBytes, this.#windowBytes - ackedBytes + this.#segmentBytes);
        return true;
      }
      this.#recoverBytes = 0;
      this.#windowBytes = this.#thresholdBytes;
      return false;
    }
    const slowStart = this.#windowBytes < this.#thresholdBytes;
    const growth = slowStart ? ackedBytes : Math.max(1, (this.#segmentBytes * ackedBytes) / this.#windowBytes);
    this.#windowBytes = Math.min(MAX_WINDOW_BYTES, this.#windowBytes + growth);
    return false;
  }

  /** The same acknowledgement came again while `flightBytes` were outstanding. */
  duplicate(flightBytes: number): DuplicateVerdict {
    this.#duplicates += 1;
    if (this.#recoverBytes > 0) {
      this.#windowBytes += this.#segmentBytes;
      return 'send-more';
    }
    if (this.#duplicates !== DUPLICATE_THRESHOLD) return 'nothing';
    this.#recoverBytes = flightBytes;
    this.#thresholdBytes = Math.max(flightBytes / 2, 2 * this.#segmentBytes);
    this.#windowBytes = this.#thresholdBytes + DUPLICATE_THRESHOLD * this.#segmentBytes;
    return 'retransmit';
  }

  /** The retransmission timer fired while `flightBytes` were outstanding. */
  timedOut(flightBytes: number): void {
    this.#duplicates = 0;
    this.#recoverBytes = 0;
    this.#thresholdBytes = Math.max(flightBytes / 2, 2 * this.#segmentBytes);
    this.#windowBytes = this.#segmentBytes;
  }
}

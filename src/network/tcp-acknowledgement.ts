/**
 * When a connection acknowledges (RFC 9293, 3.8.6.3; RFC 5681, 4.2): at once for every second segment, the end of a
 * burst and whatever tells the guest of a loss; a little later for the rest, in the hope of data to ride on.
 */
import { sequenceDifference } from './tcp.ts';

const DELAY_MS = 20;
const NEVER = Number.POSITIVE_INFINITY;

export class Acknowledgement {
  /** When a delayed one is due; infinity when none is. */
  dueMs = NEVER;
  #wanted = false;
  #sent: number;

  /** `first` is the guest's first byte. */
  constructor(first: number) {
    this.#sent = first;
  }

  /** Whether one must be sent now. */
  get wanted(): boolean {
    return this.#wanted;
  }

  /** Asks for one now. */
  demand(): void {
    this.#wanted = true;
  }

  /** Data have come: `next` is what would be acknowledged. */
  arrived(next: number, urgent: boolean, segmentBytes: number, nowMs: number): void {
    if (urgent || sequenceDifference(next, this.#sent) >= 2 * segmentBytes) this.#wanted = true;
    else if (this.dueMs === NEVER) this.dueMs = nowMs + DELAY_MS;
  }

  /** A segment that acknowledges up to `next` was sent. */
  sent(next: number): void {
    this.#sent = next;
    this.#wanted = false;
    this.dueMs = NEVER;
  }

  /** Turns a delayed one into one for now when its time has come. */
  onTimer(nowMs: number): void {
    if (this.dueMs > nowMs) return;
    this.dueMs = NEVER;
    this.#wanted = true;
  }
}

/**
 * When a connection acknowledges (RFC 9293, 3.8.6.3; RFC 5681, 4.2): at once for every second segment, the end of a
 * burst and whatever tells the guest of a loss; a little later for the rest, in the hope of data to ride on. The end
 * of a burst waits for the host's answer for a moment, as long as answers come soon: an acknowledgement of its own would be
 * a frame and an interrupt more for each request of the guest's. A guest that waits for that acknowledgement (RFC 896) gives
 * itself away: it sends on when that has come, and no answer. It waits once, and then not again for many answers.
 */
import { sequenceDifference } from './tcp.ts';

const DELAY_MS = 20;
/** How soon an answer has to come. Most of the host's own programs take less, what is behind a network more. */
const ANSWER_MS = 2;
/** So many answers in time make up for one acknowledgement that the guest had waited for. */
const ANSWERS_AFTER_WAIT = 64;
const NEVER = Number.POSITIVE_INFINITY;
const LONG_AGO = Number.NEGATIVE_INFINITY;

export class Acknowledgement {
  /** When a delayed one is due; infinity when none is. */
  dueMs = NEVER;
  #wanted = false;
  #sent: number;
  /** When the last burst ended; long ago once it was answered. */
  #askedMs = LONG_AGO;
  /** Above zero: answers are waited for. */
  #trust = 1;
  /** One was sent alone after all, and nothing has come since from either side. */
  #waitedInVain = false;
  #waitsForAnswer = false;

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

  /**
   * Data have come: `next` is what would be acknowledged. `urgent`: the guest is to hear of it now. `ends`: it was the end
   * of a burst.
   */
  arrived(next: number, urgent: boolean, ends: boolean, segmentBytes: number, nowMs: number): void {
    if (this.#waitedInVain) this.#trust = -ANSWERS_AFTER_WAIT;
    this.#waitedInVain = false;
    if (ends) this.#askedMs = nowMs;
    if (urgent || sequenceDifference(next, this.#sent) >= 2 * segmentBytes) this.#wanted = true;
    else if (!ends) this.dueMs = Math.min(this.dueMs, nowMs + DELAY_MS);
    else if (this.#trust > 0) {
      this.#waitsForAnswer = true;
      this.dueMs = Math.min(this.dueMs, nowMs + ANSWER_MS);
    } else this.#wanted = true;
  }

  /** Data go to the guest. */
  answered(nowMs: number): void {
    if (nowMs - this.#askedMs <= ANSWER_MS) this.#trust = Math.min(this.#trust + 1, 1);
    this.#askedMs = LONG_AGO;
    this.#waitedInVain = false;
  }

  /** A segment that acknowledges up to `next` was sent. */
  sent(next: number): void {
    this.#sent = next;
    this.#wanted = false;
    this.#waitsForAnswer = false;
    this.dueMs = NEVER;
  }

  /** Turns a delayed one into one for now when its time has come. */
  onTimer(nowMs: number): void {
    if (this.dueMs > nowMs) return;
    if (this.#waitsForAnswer) {
      this.#trust = 0;
      this.#waitedInVain = true;
    }
    this.dueMs = NEVER;
    this.#wanted = true;
  }
}

/**
 * Which pair of queues a received frame goes to (virtio 1.2, section 5.1.6.5.6): the one on which the driver last sent of
 * the same flow, so that a flow stays with the processor that works on it; a flow of which nothing has been sent yet goes
 * where its hash says. Either way a flow keeps its pair while the driver keeps sending it there.
 *
 * The memory is bounded: a place for each value of the hash's low bits. A flow that finds its place taken leaves it to the
 * one that is there until that has not been seen for some frames, and goes by its hash meanwhile; nothing flips back and forth.
 */
import { flowHash } from './flow-hash.ts';

const PLACES = 1024;
/** Frames of others that a place outlasts without one of its own. */
const CREDIT = 16;

export class Steering {
  readonly #flows = new Uint32Array(PLACES);
  /** Pair plus 1; 0: the place is free. */
  readonly #pairs = new Uint8Array(PLACES);
  readonly #credit = new Uint8Array(PLACES);

  /** The driver has sent a frame on a pair. */
  sent(frame: Uint8Array, pair: number): void {
    const flow = flowHash(frame);
    const place = flow % PLACES;
    if (this.#pairs[place] !== 0 && this.#flows[place] !== flow && (this.#credit[place] as number) > 0) {
      this.#credit[place] = (this.#credit[place] as number) - 1;
      return;
    }
    this.#flows[place] = flow;
    this.#pairs[place] = pair + 1;
    this.#credit[place] = CREDIT;
  }

  /** The pair, of `pairs`, for a received frame. */
  pairOf(frame: Uint8Array, pairs: number): number {
    const flow = flowHash(frame);
    const place = flow % PLACES;
    const known = this.#flows[place] === flow ? (this.#pairs[place] as number) : 0;
    if (known === 0 || known > pairs) return Math.floor(flow / PLACES) % pairs;
    this.#credit[place] = CREDIT;
    return known - 1;
  }

  /** The driver has started anew. */
  forget(): void {
    this.#pairs.fill(0);
  }
}

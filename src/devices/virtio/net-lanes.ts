/**
 * Frames that wait for the receive queues, a lane for each pair: a pair whose queue has no buffers holds no other one up.
 * A lane has a bound and refuses what goes beyond; whoever was refused is told when all that refused have run empty.
 */
import { FrameFifo } from './frame-fifo.ts';
import type { FrameOffload } from './net-port.ts';

/** Of each lane. */
const LANE_BYTES = 1 << 20;

export class ReceiveLanes {
  /** Made when there is the first frame. */
  readonly #lanes: (FrameFifo | undefined)[] = [];
  /** A bit for each lane that refused a frame. */
  #refused = 0;

  /** Copies a frame in; false when there is no room. */
  push(pair: number, frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    return this.of(pair).push(frame, offload);
  }

  of(pair: number): FrameFifo {
    let lane = this.#lanes[pair];
    if (lane === undefined) {
      lane = new FrameFifo(LANE_BYTES);
      this.#lanes[pair] = lane;
    }
    return lane;
  }

  waiting(pair: number): number {
    return this.#lanes[pair]?.frames ?? 0;
  }

  refused(pair: number): void {
    this.#refused |= 1 << pair;
  }

  /** Whether frames had been refused and are taken again: true once. */
  takeRoom(): boolean {
    for (const pair of this.#lanes.keys())
      if (((this.#refused >>> pair) & 1) !== 0 && this.waiting(pair) > 0) return false;
    const isNews = this.#refused !== 0;
    this.#refused = 0;
    return isNews;
  }

  /** Drops what waits in the lanes from `first` on; how many frames. */
  clear(first = 0): number {
    let dropped = 0;
    for (let pair = first; pair < this.#lanes.length; pair++) {
      dropped += this.waiting(pair);
      this.#lanes[pair]?.clear();
    }
    return dropped;
  }
}

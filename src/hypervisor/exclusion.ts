/**
 * The barrier that brings all processors of a machine out of the engine, whatever partition's vCPUs they run: dropping
 * code, and what else changes under everybody. It counts processors, of which there are as many as when the machine was
 * made, and not vCPUs, which come and go. A vCPU that has no processor is outside.
 *
 *   enter:   inside = 1; barrier up? -> inside = 0, wait, again        leave: inside = 0
 *   exclude: barrier 0 -> 1 (or join the waiters), wait for inside = 0 of all, act, barrier 1 -> 0
 */
import { array, struct } from '../base/struct.ts';
import type { MachineMemory } from '../engine/index.ts';
import { MOST_PROCESSORS } from './scheduler-block.ts';

export const exclusionBlock = struct('exclusion', {
  /** 1: every processor is to stay outside the engine until it is 0 again. */
  barrier: 'i32',
  /** 1 while the processor is inside. */
  inside: array('i32', MOST_PROCESSORS),
});

export class Exclusion {
  readonly #barrier: Int32Array;
  readonly #inside: Int32Array;

  /** `at`: a block of the machine. */
  constructor({ buffer }: MachineMemory, at: number) {
    this.#barrier = new Int32Array(buffer, at + exclusionBlock.offset.barrier, 1);
    this.#inside = new Int32Array(buffer, at + exclusionBlock.offset.inside, MOST_PROCESSORS);
  }

  /** May the processor enter the engine? If so it counts as inside until `leave`. */
  tryEnter(processor: number): boolean {
    Atomics.store(this.#inside, processor, 1);
    if (Atomics.load(this.#barrier, 0) === 0) return true;
    this.leave(processor);
    return false;
  }

  leave(processor: number): void {
    Atomics.store(this.#inside, processor, 0);
  }

  /**
   * Runs `act` on the processor's own thread while it counts as inside, whether it is in the engine or not: what changes
   * under everybody does not change meanwhile. False, and nothing is done: the processor is outside, and is to stay there.
   */
  within(processor: number, act: () => boolean): boolean {
    if (Atomics.load(this.#inside, processor) === 1) return act();
    if (!this.tryEnter(processor)) return false;
    try {
      return act();
    } finally {
      this.leave(processor);
    }
  }

  /** Somebody waits until every processor is outside. */
  get isUp(): boolean {
    return Atomics.load(this.#barrier, 0) === 1;
  }

  /** Blocks while the barrier is up; only on threads that may block. */
  awaitBarrier(): void {
    while (Atomics.load(this.#barrier, 0) === 1) Atomics.wait(this.#barrier, 0, 1, 10);
  }

  /**
   * Runs `act` while no processor is in the engine; false (and nothing done) if somebody else is doing such a thing.
   * The caller's own processor must be outside.
   */
  exclude(act: () => void): boolean {
    if (Atomics.compareExchange(this.#barrier, 0, 0, 1) !== 0) return false;
    try {
      for (let processor = 0; processor < MOST_PROCESSORS; processor++)
        while (Atomics.load(this.#inside, processor) === 1) pauseBriefly(this.#barrier);
      act();
    } finally {
      Atomics.store(this.#barrier, 0, 0);
      Atomics.notify(this.#barrier, 0);
    }
    return true;
  }
}

/** Gives the processor away for a moment where the thread may block. */
function pauseBriefly(barrier: Int32Array): void {
  try {
    Atomics.wait(barrier, 0, 1, 0.05);
  } catch {
    // A browser's main thread may not block: spin.
  }
}

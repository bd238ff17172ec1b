/** The machine's clock, the same on every thread: timebase ticks since the machine was made. */
import { TICKS_PER_MS } from '../../machine/index.ts';

/** A moment that all threads of the process agree on, in nanoseconds. */
export function clockEpoch(): bigint {
  return process.hrtime.bigint();
}

/** `performance.now` is cheaper than hrtime, but counts from each thread's own start. */
export function ticksSince(epoch: bigint): () => number {
  const offsetMs = Number(process.hrtime.bigint() - epoch) / 1e6 - performance.now();
  return () => (performance.now() + offsetMs) * TICKS_PER_MS;
}

/** The machine's clock, the same on every thread: timebase ticks since the machine was made. */
import { TICKS_PER_MS } from '../../machine/index.ts';

/** A moment that all threads of the process agree on, in nanoseconds. */
export function clockEpoch(): bigint {
  return process.hrtime.bigint();
}

/**
 * `performance.now` is cheaper than hrtime, but counts from each thread's own start. `header`: of the machine's memory; its
 * clock is shifted once, when it stands in for another, before any vCPU runs.
 */
export function ticksSince(epoch: bigint, header: { readonly clockShiftMs: number }): () => number {
  const offsetMs = Number(offsetNs(process.hrtime.bigint, () => performance.now()) - epoch) / 1e6;
  return () => (performance.now() + offsetMs + header.clockShiftMs) * TICKS_PER_MS;
}

/** Two readings that have no more than this between them were not interrupted. */
const CLOSE_NS = 2000n;
const TRIES = 1000;

/**
 * What `ns` says where `ms` says 0. A thread may be interrupted between two readings, for milliseconds, and its clock would
 * lag behind the others' by as much for good: a guest's events would stand in the wrong order. So the closest of many
 * readings counts, as soon as one is close enough.
 */
export function offsetNs(ns: () => bigint, ms: () => number): bigint {
  let best = 0n;
  let closest: bigint | undefined;
  for (let i = 0; i < TRIES && (closest === undefined || closest > CLOSE_NS); i++) {
    const before = ns();
    const now = ms();
    const apart = ns() - before;
    if (closest !== undefined && apart >= closest) continue;
    closest = apart;
    best = before + apart / 2n - BigInt(Math.round(now * 1e6));
  }
  return best;
}

/**
 * Which pages were written since somebody last looked: for checkpoints of a guest that runs (docs/replication.md).
 *
 *            swept: what it holds is known elsewhere
 *   written ------------------------------------------> clean
 *      ^                                                  |
 *      +--------------------------------------------------+
 *        a store, an atomic, cbo.zero, a walk that sets A or D, a device, a debugger, a loader, a call of the SBI
 *
 * An entry of the guest-physical map says whether its page is clean. No write translation or page slot leads to a clean
 * page: who sweeps has all vCPUs empty what they write through, so the first writer comes to the map, and takes the flag
 * away. The frame stays the same, and so do read translations and code. After that writes cost nothing more until the
 * next sweep.
 */
import { FRAME_BYTES, GPA } from './memory-plan.ts';

export interface PageRange {
  readonly first: number;
  readonly end: number;
}

const KNOWN = GPA.present | GPA.clean;

/** See GuestPhysicalMap.sweep. */
export function sweepPages(
  entries: Uint32Array,
  { first, end }: PageRange,
  held: Uint8Array,
  written: (page: number, host: number) => void,
): void {
  for (let page = first; page < end; page++) {
    const entry = entries[page] ?? 0;
    if ((entry & KNOWN) === KNOWN) continue;
    if ((entry & GPA.present) !== 0) {
      // A frame whose first user might have given it back is kept: somebody knows what it holds.
      entries[page] = (entry & ~GPA.fresh) | GPA.clean;
      written(page, (entry >>> 8) * FRAME_BYTES);
    } else if (held[page] === 1) written(page, 0);
  }
}

export function countWritten(entries: Uint32Array, { first, end }: PageRange): number {
  let count = 0;
  for (let page = first; page < end; page++) if (((entries[page] ?? 0) & KNOWN) === GPA.present) count++;
  return count;
}

export function endSweeps(entries: Uint32Array, { first, end }: PageRange): void {
  for (let page = first; page < end; page++) Atomics.and(entries, page, ~GPA.clean);
}

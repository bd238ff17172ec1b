/** Dropping regions from TypeScript, as generated code does (drop_regions in regions.ts): for devices and overlays. */
import { DECODED_COVER, DECODED_HEADER_BYTES, DECODED_LINKS, headerLayout, PLAN, REGION_BYTES } from './memory-plan.ts';
import { SPECIAL } from './operations.ts';

export interface RegionMemory {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
}

/** Does something while nobody else has one of the header's spin locks. They are held for microseconds. */
export function withLock<T>(words: Int32Array, lock: 'regionLock' | 'sourceLock', act: () => T): T {
  const index = (PLAN.header + headerLayout.offset[lock]) / 4;
  while (Atomics.compareExchange(words, index, 0, 1) !== 0);
  try {
    return act();
  } finally {
    Atomics.store(words, index, 0);
  }
}

/** Drops every region that has instructions of the page with these decoded entries. */
export function dropRegions({ u8, u32, u64 }: RegionMemory, entries: number): void {
  const links = (entries - DECODED_HEADER_BYTES + DECODED_LINKS) / 4;
  // A full fence: what the caller wrote before is seen by whoever makes a region, or that one's links are seen here.
  if (Atomics.add(u32, links, 0) === 0) return;
  const lock = (PLAN.header + headerLayout.offset.regionLock) / 4;
  while (Atomics.compareExchange(u32, lock, 0, 1) !== 0);
  let link = Atomics.exchange(u32, links, 0);
  u8.fill(0, entries + DECODED_COVER, entries + DECODED_COVER + 256);
  while (link !== 0) {
    const pair = (PLAN.regionLinks + link * 8) / 4;
    const region = u32[pair] ?? 0;
    const record = (PLAN.regions + region * REGION_BYTES) / 4;
    const head = u32[record] ?? 0;
    if (head !== 0) {
      u32[record] = 0;
      // The head may have been written and decoded anew meanwhile.
      if (u64[head / 8] === ((BigInt(region) << 32n) | BigInt(SPECIAL.region)))
        u64[head / 8] = BigInt(SPECIAL.undecoded);
      const dropped = (PLAN.header + headerLayout.offset.regionsDropped) / 4;
      u32[dropped] = (u32[dropped] ?? 0) + 1;
    }
    link = u32[pair + 1] ?? 0;
  }
  Atomics.store(u32, lock, 0);
}

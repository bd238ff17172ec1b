/** Dropping regions from TypeScript, as generated code does (drop_regions in regions.ts): for devices and overlays. */
import {
  DECODED_COVER,
  DECODED_HEADER_BYTES,
  DECODED_LINKS,
  decodedHeader,
  headerLayout,
  PLAN,
  REGION_BYTES,
} from './memory-plan.ts';
import { SPECIAL } from './operations.ts';

export interface RegionMemory {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly u64: BigUint64Array;
}

/** Does something while nobody else has one of the header's spin locks. They are held for microseconds. */
export function withLock<T>(
  words: Int32Array | Uint32Array,
  lock: 'regionLock' | 'sourceLock' | 'poolLock' | 'sharersLock',
  act: () => T,
): T {
  const index = (PLAN.header + headerLayout.offset[lock]) / 4;
  while (Atomics.compareExchange(words, index, 0, 1) !== 0);
  try {
    return act();
  } finally {
    Atomics.store(words, index, 0);
  }
}

/**
 * Empties decoded entries, `end` not included. Entry by entry: harts execute from them meanwhile, and V8 fills shared bytes
 * one at a time, so that they would meet halves of entries.
 */
export function emptyEntries({ u64 }: Pick<RegionMemory, 'u64'>, first: number, end: number): void {
  u64.fill(0n, first / 8, end / 8);
}

/** The decoded entry that names a region. */
export function entryOfRegion(number: number): bigint {
  return (BigInt(number) << 32n) | BigInt(SPECIAL.region);
}

/** Whether a region begins at that decoded entry. */
export function isRegionHead({ u32 }: Pick<RegionMemory, 'u32'>, entry: number): boolean {
  return ((u32[entry / 4] ?? 0) & 1023) === SPECIAL.region;
}

/** Nobody enters the region any more. False: it was dropped before. The caller holds the lock of regions. */
export function dropRegion({ u32, u64 }: RegionMemory, number: number): boolean {
  const record = (PLAN.regions + number * REGION_BYTES) / 4;
  const head = u32[record] ?? 0;
  if (head === 0) return false;
  u32[record] = 0;
  // The head may have been written and decoded anew meanwhile.
  if (u64[head / 8] === entryOfRegion(number)) u64[head / 8] = BigInt(SPECIAL.undecoded);
  return true;
}

/** Writes to the page with these decoded entries go unnoticed (quiet-code.ts): no region is to be installed. */
export function isQuietPage({ u32 }: RegionMemory, entries: number): boolean {
  return Atomics.load(u32, (entries - DECODED_HEADER_BYTES + decodedHeader.offset.quiet) / 4) !== 0;
}

/** Drops every region that has instructions of the page with these decoded entries. */
export function dropRegions(memory: RegionMemory, entries: number): void {
  const { u8, u32 } = memory;
  const links = (entries - DECODED_HEADER_BYTES + DECODED_LINKS) / 4;
  // A full fence: what the caller wrote before is seen by whoever makes a region, or that one's links are seen here.
  if (Atomics.add(u32, links, 0) === 0) return;
  withLock(u32, 'regionLock', () => {
    const counter = (PLAN.header + headerLayout.offset.regionsDropped) / 4;
    let link = Atomics.exchange(u32, links, 0);
    u8.fill(0, entries + DECODED_COVER, entries + DECODED_COVER + 256);
    while (link !== 0) {
      const [region = 0, next = 0] = u32.subarray((PLAN.regionLinks + link * 8) / 4);
      if (dropRegion(memory, region)) u32[counter] = (u32[counter] ?? 0) + 1;
      link = next;
    }
  });
}

/**
 * Entries of the L1 and L2 tables (QEMU's docs/interop/qcow2, "Cluster mapping"), as two halves of 32 bits:
 *
 *     L1         63 copied | 62..56 reserved | 55..9 the L2 table's place | 8..0 reserved
 *     L2         63 copied | 62 compressed   | 55..9 the cluster's place  | 0 reads as zeros (version 3)
 *     L2, 62 set 61..x sectors more | x-1..0 the data's place in bytes, x = 62 - (cluster bits - 8)
 *
 * "Copied" says that nobody else refers to it: it may be written in place.
 */

const COPIED = 0x8000_0000;
const COMPRESSED = 0x4000_0000;
const PLACE_HIGH = 0x00ff_ffff;
const PLACE_LOW = 0xffff_fe00;
const ZERO = 1;
const SECTOR_BYTES = 512;

/** What a guest's cluster is. `at` is in bytes of the file. */
export type Cluster =
  | { readonly kind: 'unallocated' }
  /** With a place that is kept for it, perhaps. */
  | { readonly kind: 'zero'; readonly at: number; readonly copied: boolean }
  | { readonly kind: 'data'; readonly at: number; readonly copied: boolean }
  | { readonly kind: 'compressed'; readonly at: number; readonly sizeBytes: number };

const UNALLOCATED: Cluster = { kind: 'unallocated' };

/** A table's entries in the file's byte order; the view may be of any table. */
export function clusterAt(table: DataView, slot: number, version: 2 | 3, clusterBits: number): Cluster {
  const high = table.getUint32(slot * 8);
  const low = table.getUint32(slot * 8 + 4);
  if (high === 0 && low === 0) return UNALLOCATED;
  if ((high & COMPRESSED) !== 0) return compressed(high, low, clusterBits);
  const at = placeOf(high, low);
  const copied = (high & COPIED) !== 0;
  if (version === 3 && (low & ZERO) !== 0) return { kind: 'zero', at, copied };
  return at === 0 ? UNALLOCATED : { kind: 'data', at, copied };
}

function compressed(high: number, low: number, clusterBits: number): Cluster {
  const sectorBits = clusterBits - 8;
  const placeBitsHigh = 30 - sectorBits;
  const at = (high & (2 ** placeBitsHigh - 1)) * 2 ** 32 + low;
  const sectors = ((high & (COMPRESSED - 1)) >>> placeBitsHigh) + 1;
  return { kind: 'compressed', at, sizeBytes: sectors * SECTOR_BYTES - (at % SECTOR_BYTES) };
}

/** The place that an entry of an L1 table, a refcount table or of an L2 table's plain cluster names; 0: none. */
export function placeAt(table: DataView, slot: number): number {
  return placeOf(table.getUint32(slot * 8), table.getUint32(slot * 8 + 4));
}

function placeOf(high: number, low: number): number {
  return (high & PLACE_HIGH) * 2 ** 32 + ((low & PLACE_LOW) >>> 0);
}

/** Writes a place without flags, as refcount tables have it. */
export function setPlace(table: DataView, slot: number, at: number): void {
  table.setUint32(slot * 8, Math.floor(at / 2 ** 32));
  table.setUint32(slot * 8 + 4, at >>> 0);
}

/** Writes a place that is referred to from here alone. */
export function setOwned(table: DataView, slot: number, at: number): void {
  setPlace(table, slot, at);
  table.setUint32(slot * 8, (table.getUint32(slot * 8) | COPIED) >>> 0);
}

export function setUnallocated(table: DataView, slot: number): void {
  setPlace(table, slot, 0);
}

/** Version 3: reads as zeros; `at` is the place that is kept for it and referred to from here alone, or 0. */
export function setZero(table: DataView, slot: number, at: number): void {
  if (at === 0) setPlace(table, slot, 0);
  else setOwned(table, slot, at);
  table.setUint32(slot * 8 + 4, table.getUint32(slot * 8 + 4) | ZERO);
}

/** Whether an L1 or L2 entry has the flag of a cluster that is referred to once. */
export function isCopied(table: DataView, slot: number): boolean {
  return (table.getUint32(slot * 8) & COPIED) !== 0;
}

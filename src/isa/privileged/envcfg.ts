/**
 * Fields of menvcfg and senvcfg ("Machine Environment Configuration Register"). FIOM is kept but changes nothing,
 * since fences order I/O and memory alike here.
 */
export const ENVCFG = {
  FIOM: 1n << 0n,
  /** cbo.inval below: 0 illegal, 1 flushes, 3 invalidates; 2 is reserved. */
  CBIE: 3n << 4n,
  CBCFE: 1n << 6n,
  CBZE: 1n << 7n,
  ADUE: 1n << 61n,
  PBMTE: 1n << 62n,
  STCE: 1n << 63n,
} as const;

/** Bits of a page-table entry (privileged specification, "Sv39 page table entry"). */
export const PTE = {
  v: 1n,
  r: 2n,
  w: 4n,
  x: 8n,
  u: 16n,
  g: 32n,
  a: 64n,
  d: 128n,
  n: 1n << 63n,
  pbmt: 3n << 61n,
  reserved: 0x7fn << 54n,
} as const;

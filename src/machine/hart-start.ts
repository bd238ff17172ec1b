/** Registers of harts that do not start in machine mode: what firmware would have set for them. */

/** CSRs of a hart that starts in supervisor mode over the built-in SBI. */
export const SUPERVISOR_START = {
  pmpaddr0: (1n << 54n) - 1n,
  pmpcfg0: 0x1fn,
  medeleg: 0xb1ffn,
  mideleg: 0x222n,
  mcounteren: 7n,
  scounteren: 7n,
  // STCE, PBMTE, ADUE, CBZE, CBCFE, CBIE.
  menvcfg: (7n << 61n) | 0xf0n,
  // SE, ENVCFG, CSRIND, AIA, IMSIC.
  mstateen0: (3n << 62n) | (7n << 58n),
} as const;

/** Further, with the hypervisor extension: a guest's calls, its guest-page faults and virtual instructions; all of mstateen0. */
export const HYPERVISOR_START = {
  medeleg: SUPERVISOR_START.medeleg | 0xf0_0400n,
  mstateen0: (1n << 64n) - 1n,
} as const;

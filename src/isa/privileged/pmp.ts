/**
 * Physical memory protection's constants ("Physical Memory Protection", and the Smepmp extension): 16 entries,
 * granularity of 4 bytes. What writes do is in ../csr/pmp.ts, the check of an access in pmp-check.ts.
 *
 *   pmpcfg byte:  7  6..5  4..3   2   1   0
 *                 L   0     A     X   W   R
 */
import type { StateField } from '../state.ts';

// biome-ignore format: table
export const PMP_ADDRESS_FIELDS = [
  'pmpaddr0', 'pmpaddr1', 'pmpaddr2', 'pmpaddr3', 'pmpaddr4', 'pmpaddr5', 'pmpaddr6', 'pmpaddr7',
  'pmpaddr8', 'pmpaddr9', 'pmpaddr10', 'pmpaddr11', 'pmpaddr12', 'pmpaddr13', 'pmpaddr14', 'pmpaddr15',
] as const satisfies readonly StateField[];
export const PMP_ENTRIES: number = PMP_ADDRESS_FIELDS.length;

export const PMP = { R: 1, W: 2, X: 4, A: 0x18, L: 0x80 } as const;
/** The field A. */
export const PMP_A = { off: 0x00, tor: 0x08, na4: 0x10, napot: 0x18 } as const;
/** Bits of pmpaddr: address bits 55 to 2. */
export const PMP_ADDRESS = (1n << 54n) - 1n;

export const MSECCFG = { MML: 1n << 0n, MMWP: 1n << 1n, RLB: 1n << 2n } as const;

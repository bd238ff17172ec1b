/** Paging modes of satp (privileged specification, "Supervisor Address Translation and Protection (satp) Register"). */
import { FEATURE } from '../state.ts';

export interface PagingMode {
  readonly name: 'Sv39' | 'Sv48' | 'Sv57';
  /** What satp.MODE holds. */
  readonly mode: number;
  readonly levels: number;
  readonly feature: bigint;
}

export const PAGING_MODES: readonly PagingMode[] = [
  { name: 'Sv39', mode: 8, levels: 3, feature: FEATURE.sv39 },
  { name: 'Sv48', mode: 9, levels: 4, feature: FEATURE.sv48 },
  { name: 'Sv57', mode: 10, levels: 5, feature: FEATURE.sv57 },
];

export const SATP_MODE_SHIFT = 60;
export const SATP_PPN = (1n << 44n) - 1n;

/**
 * Which status area is active next, by the cause of the change (mechanism 2): a table of data, with a counter for each
 * cause. A hart has two status areas (../state.ts): HS-mode's, the host's, and VS-mode's, the guest's. What happens
 * between the two, or within the guest, is one of these causes; a hart that runs no guest has none of them.
 *
 *   guest active:  trap taken in M, in HS  -> host       trap taken in VS, sret in VS -> guest
 *   host active:   sret with SPV, mret with MPV -> guest
 */

export type Area = 'host' | 'guest';

export interface AreaRow {
  readonly name: 'trapToMachine' | 'trapToHypervisor' | 'trapToGuest' | 'sretToGuest' | 'mretToGuest' | 'sretInGuest';
  readonly cause: string;
  readonly selects: Area;
  /** Number of its first counter, and how many it has: traps have one for each code, CODES exceptions, then CODES interrupts. */
  readonly counter: number;
  readonly counters: number;
}

/** Codes of exceptions, and of interrupts, that are counted apart: those that the hart can raise are lower. */
export const CODES = 32;
const TRAP_CODES = 2 * CODES;

// biome-ignore format: table
export const AREA_BY_CAUSE = {
  trapToMachine:    { name: 'trapToMachine', cause: 'trap of a guest, taken in M-mode', selects: 'host', counter: 0, counters: TRAP_CODES },
  trapToHypervisor: { name: 'trapToHypervisor', cause: 'trap of a guest, taken in HS-mode', selects: 'host', counter: TRAP_CODES, counters: TRAP_CODES },
  trapToGuest:      { name: 'trapToGuest', cause: 'trap of a guest, delegated to VS-mode', selects: 'guest', counter: 2 * TRAP_CODES, counters: TRAP_CODES },
  sretToGuest:      { name: 'sretToGuest', cause: 'sret with hstatus.SPV', selects: 'guest', counter: 3 * TRAP_CODES, counters: 1 },
  mretToGuest:      { name: 'mretToGuest', cause: 'mret with mstatus.MPV', selects: 'guest', counter: 3 * TRAP_CODES + 1, counters: 1 },
  sretInGuest:      { name: 'sretInGuest', cause: 'sret in VS-mode', selects: 'guest', counter: 3 * TRAP_CODES + 2, counters: 1 },
} as const satisfies { readonly [name in AreaRow['name']]: AreaRow };

export const AREA_COUNTERS: number = 3 * TRAP_CODES + 3;

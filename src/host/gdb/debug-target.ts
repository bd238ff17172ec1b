/**
 * What a debugger needs of a machine. Harts are numbered from 0; addresses are the hart's own, virtual where it
 * translates. Everything but `interrupt` is asked for only while the machine stands still.
 */

/** An answer now or later. */
export type Soon<T> = T | Promise<T>;

export interface HartRegisters {
  readonly pc: bigint;
  /** x0 to x31. */
  readonly x: readonly bigint[];
  /** The 64 bits of f0 to f31. */
  readonly f: readonly bigint[];
}

/** In which mode a hart executes, and whether as a guest of its own guest: VS and VU are modes 1 and 0 of V = 1. */
export interface Privilege {
  readonly mode: 0 | 1 | 3;
  readonly isVirtual: boolean;
}

export type DebugRegister = { readonly kind: 'pc' } | { readonly kind: 'x' | 'f'; readonly number: number };

/** What a hart may do when the machine goes on: run, one instruction, nothing. */
export type Move = 'continue' | 'step' | 'stay';

/** Why the harts stand still, and which of them is the reason; or that there is no machine any more. */
export type StopReason =
  | { readonly kind: 'breakpoint' | 'step' | 'interrupt'; readonly hart: number }
  | { readonly kind: 'ended'; readonly code: number };

export interface DebugTarget {
  readonly harts: number;
  readRegisters(hart: number): Soon<HartRegisters>;
  writeRegister(hart: number, register: DebugRegister, value: bigint): Soon<void>;
  readPrivilege(hart: number): Soon<Privilege>;
  /**
   * As machine mode reads it: without permission checks, and a guest's guest has CSRs of its own names (vsepc beside
   * sepc). Undefined for a CSR that the hart does not have.
   */
  readCsr(hart: number, csr: number): Soon<bigint | undefined>;
  /** Legalised as the guest's own writes; false for a CSR that the hart does not have, or that is read-only. */
  writeCsr(hart: number, csr: number, value: bigint): Soon<boolean>;
  /** `length` bytes, or as many of the first as can be read; undefined where not even the first can. */
  readMemory(hart: number, address: bigint, length: number): Soon<Uint8Array | undefined>;
  /** All or nothing; false where any byte cannot be written. */
  writeMemory(hart: number, address: bigint, bytes: Uint8Array): Soon<boolean>;
  /**
   * Harts stop before the instruction at `address`, whichever address space it is in: `hart`'s of now, or where there is
   * nothing, another hart's. Setting it twice is one.
   */
  setBreakpoint(hart: number, address: bigint): Soon<boolean>;
  clearBreakpoint(address: bigint): Soon<boolean>;
  /**
   * Lets each hart make its move (by hart); resolves when all stand still again. The reason is a hart that was allowed
   * to move. One that steps, and the one that was the reason of the last stop, move past a breakpoint that they stand
   * on. Not to be called while it is under way.
   */
  resume(moves: readonly Move[]): Promise<StopReason>;
  /**
   * Halts all harts; what waits for `resume` learns of it, too, however early in it this comes. Does nothing where they
   * stand still.
   */
  interrupt(): Promise<StopReason>;
  kill(): Soon<void>;
}

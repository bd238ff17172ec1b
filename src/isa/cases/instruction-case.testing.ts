/**
 * What a directed case of an instruction is, where it runs, and what comes out: the common ground of the generator,
 * of the expectations, and of the machines that run the cases.
 *
 *   RAM:  CASE_RAM ... vector ... code at CASE_PC ... data window over a page boundary ...
 */
import type { CompressedRow, Row } from '../row.ts';

export const CASE_RAM = { base: 0x8000_0000n, sizeBytes: 0x8000 } as const;
/** mtvec. */
export const CASE_VECTOR = 0x8000_0800n;
/** Where the instruction lies; instructions to be executed before end here. */
export const CASE_PC = 0x8000_1000n;
/** Memory that cases may change: a page boundary lies in its middle. */
export const CASE_DATA = { base: 0x8000_3f80n, sizeBytes: 256, middle: 0x8000_4000n } as const;

export interface InstructionCase {
  /** `amoadd.w rd=rs1`. */
  readonly name: string;
  readonly row: Row | CompressedRow;
  readonly bits: number;
  readonly length: 2 | 4;
  /** Instructions of 32 bits to execute first, such as the load-reserved of a store-conditional. */
  readonly before: readonly number[];
  /** Contents of registers; those not named hold a pattern of their own (initialX, initialF). */
  readonly x: ReadonlyMap<number, bigint>;
  readonly f: ReadonlyMap<number, bigint>;
  readonly frm: number;
  /** Whether mstatus.FS is Initial; else Off. */
  readonly isFloatOn: boolean;
}

/** The state behind the case. Machine mode throughout. */
export interface Outcome {
  readonly pc: bigint;
  readonly trap: { readonly cause: number; readonly tval: bigint } | undefined;
  readonly x: readonly bigint[];
  readonly f: readonly bigint[];
  readonly fflags: number;
  readonly isFloatDirty: boolean;
  /** The data window. */
  readonly data: Uint8Array;
}

/** A machine that can run cases. */
export interface CaseMachine {
  run(instructionCase: InstructionCase): Outcome;
}

export function initialX(instructionCase: InstructionCase, index: number): bigint {
  if (index === 0) return 0n;
  return instructionCase.x.get(index) ?? 0x1010_1010_0000_0000n + BigInt(index);
}

export function initialF(instructionCase: InstructionCase, index: number): bigint {
  return instructionCase.f.get(index) ?? 0xffff_ffff_4100_0000n + BigInt(index);
}

const DATA = Uint8Array.from({ length: CASE_DATA.sizeBytes }, (_, i) => i * 37 + 0x85);

/** The window's bytes before the case, with both signs at every size. A copy. */
export function initialData(): Uint8Array {
  return DATA.slice();
}

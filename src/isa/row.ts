/**
 * A row of the instruction table: the manual's bit pattern, the assembly, one sentence, the semantics. Decoder,
 * assembler, disassembler, reference machine, interpreter and translator all derive from the rows.
 *
 * Patterns read as in the manual, most significant bit first: literal bits, register fields (rd rs1 rs2 rs3, with a
 * prime the three-bit ones of compressed instructions, as in `rd'`), `rm`, `csr`, `zimm`, `aq`, `rl`, `fm`, `pred`,
 * `succ`, and immediates `imm[12|10:5]` (sign-extended from their top bit) or `uimm[5:0]` (zero-extended).
 * `-` is a bit that is ignored.
 */
import type { Semantics } from './machine.ts';

/** What the engine must know to treat a row well; it says nothing that the semantics does not say. */
export type RowKind = 'alu' | 'branch' | 'jump' | 'load' | 'store' | 'amo' | 'float' | 'csr' | 'system' | 'hint';

export interface Row {
  readonly name: string;
  readonly pattern: string;
  /**
   * Operands as the assembler writes them: `addi rd, rs1, imm`, `lw rd, imm(rs1)`, `fadd.s frd, frs1, frs2, rm`. One
   * with `?` may be left out where it is zero, `rm` where it is the default. See operands.ts for the names.
   */
  readonly assembly: string;
  /** The extension that brings it: `i m a f d c zba ...`; several joined by `+` are all needed. */
  readonly extension: string;
  readonly kind: RowKind;
  readonly summary: string;
  readonly semantics: Semantics;
}

/**
 * A compressed row has no semantics of its own: it expands to an instruction of 32 bits, `expansion` in assembly
 * with the row's own operands. `except` lists reserved encodings: `uimm=0`, `rd=0`, `rd=2`.
 */
export interface CompressedRow {
  readonly name: string;
  readonly pattern: string;
  readonly assembly: string;
  readonly extension: string;
  readonly expansion: string;
  readonly summary: string;
  readonly except?: readonly string[];
}

export function row(
  name: string,
  pattern: string,
  assembly: string,
  extension: string,
  kind: RowKind,
  summary: string,
  semantics: Semantics,
): Row {
  return { name, pattern, assembly, extension, kind, summary, semantics };
}

export function compressed(
  name: string,
  pattern: string,
  assembly: string,
  extension: string,
  expansion: string,
  summary: string,
  except?: readonly string[],
): CompressedRow {
  return { name, pattern, assembly, extension, expansion, summary, ...(except ? { except } : {}) };
}

/**
 * Encoding: the instruction table with its patterns parsed, and the bits of an instruction from its operands. The
 * operands of an assembly template are the names in it, in order; those of a compressed row's expansion stand in the
 * places of the operands of the row that it names.
 */
import { assert, must } from '../base/assert.ts';
import { type FieldName, type Pattern, parsePattern, writeField, writeImmediate } from './pattern.ts';
import { registerNumber } from './registers.ts';
import type { CompressedRow, Row } from './row.ts';
import { COMPRESSED_ROWS, ROWS } from './table.ts';

/** A row with its pattern parsed. */
export interface RowCode {
  readonly row: Row;
  readonly pattern: Pattern;
}

export interface CompressedCode {
  readonly row: CompressedRow;
  readonly pattern: Pattern;
  readonly excepted: readonly { readonly operand: OperandName; readonly value: number }[];
  readonly target: RowCode;
  /** What the target's operands get: an operand of the compressed row, or a number. */
  readonly operands: readonly { readonly to: OperandName; readonly from: OperandName | number }[];
}

/** Values of operands, by field; `imm` is the immediate, whatever its signedness. */
export type OperandName = FieldName | 'imm';
export type OperandValues = { readonly [name in OperandName]?: number | undefined };

/** The names in assembly templates. */
const OPERAND_NAMES = {
  rd: 'rd',
  rs1: 'rs1',
  rs2: 'rs2',
  rs3: 'rs3',
  frd: 'rd',
  frs1: 'rs1',
  frs2: 'rs2',
  frs3: 'rs3',
  imm: 'imm',
  uimm: 'imm',
  zimm: 'zimm',
  fconst: 'zimm',
  csr: 'csr',
  rm: 'rm',
  pred: 'pred',
  succ: 'succ',
  fm: 'fm',
  aq: 'aq',
  rl: 'rl',
} as const satisfies Record<string, OperandName>;

/** Every row, those with more literal bits before those that contain them. */
export const ROW_CODES: readonly RowCode[] = ROWS.map((row) => ({ row, pattern: parsePattern(row.pattern) })).sort(
  (a, b) => literals(b.pattern) - literals(a.pattern),
);

const CODE_BY_NAME: ReadonlyMap<string, RowCode> = new Map(ROW_CODES.map((code) => [code.row.name, code]));

export const COMPRESSED_CODES: readonly CompressedCode[] = COMPRESSED_ROWS.map(compressedCode);

/** The row of that name. */
export function rowCode(name: string): RowCode {
  return must(CODE_BY_NAME.get(name), `no row ${name}`);
}

/** The names and constants in a template, without the mnemonic: `lw rd, imm(rs1)` -> rd, imm, rs1. */
export function templateOperands(assembly: string): readonly string[] {
  const space = assembly.indexOf(' ');
  return space < 0 ? [] : (assembly.slice(space + 1).match(/[\w.-]+/g) ?? []);
}

/** The field that a template's name means: `frd` and `rd` are one field, `uimm` and `imm` the immediate. */
export function operandName(name: string): OperandName | undefined {
  const known: Readonly<Record<string, OperandName>> = OPERAND_NAMES;
  return Object.hasOwn(known, name) ? known[name] : undefined;
}

/** The bits (unsigned) of an instruction; operands not given are zero. Undefined if a value does not fit its field. */
export function encode(pattern: Pattern, values: OperandValues): number | undefined {
  let bits = pattern.match | 0;
  for (const field of pattern.fields) {
    const written = writeField(field, values[field.name] ?? (field.prime ? 8 : 0));
    if (written === undefined) return undefined;
    bits |= written;
  }
  if (pattern.immediate) {
    const written = writeImmediate(pattern.immediate, values.imm ?? 0);
    if (written === undefined) return undefined;
    bits |= written;
  }
  return bits >>> 0;
}

function compressedCode(row: CompressedRow): CompressedCode {
  const target = rowCode(row.expansion.split(' ', 1)[0] as string);
  const to = templateOperands(target.row.assembly);
  const from = templateOperands(row.expansion);
  assert(to.length === from.length, `${row.name} expands to another number of operands than ${target.row.name} has`);
  return {
    row,
    pattern: parsePattern(row.pattern),
    excepted: (row.except ?? []).map((text) => {
      const [name, value] = text.split('=') as [string, string];
      return { operand: must(operandName(name), `${row.name}: ${text}`), value: Number(value) };
    }),
    target,
    operands: to.map((name, i) => ({
      to: must(operandName(name), `${target.row.name}: ${name}`),
      from: constantOrOperand(from[i] as string),
    })),
  };
}

function constantOrOperand(text: string): OperandName | number {
  const operand = operandName(text);
  if (operand) return operand;
  const register = registerNumber(text);
  if (register !== undefined) return register;
  assert(/^-?\d+$/.test(text), `not an operand: ${text}`);
  return Number(text);
}

function literals(pattern: Pattern): number {
  return pattern.mask.toString(2).replaceAll('0', '').length;
}

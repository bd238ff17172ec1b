/**
 * How operands are written: the names that assembly templates use, each with its printed and its parsed form, in the
 * conventions of the GNU tools. The assembler reads what the disassembler prints.
 */
import { CSR_BY_NAME, CSR_BY_NUMBER } from './csr/index.ts';
import type { Immediate } from './pattern.ts';
import { F_NAMES, floatRegisterNumber, registerNumber, X_NAMES } from './registers.ts';

/** What an operand's text may depend on. */
export interface OperandContext {
  /** The instruction's address: branches and jumps are written with their target's. */
  readonly pc: bigint;
  /** The immediate of the pattern, where there is one. */
  readonly immediate: Immediate | undefined;
  /** Whether the immediate is an offset from the instruction's address. */
  readonly relative: boolean;
  /** The value of an expression; undefined if it is none. */
  evaluate(text: string): bigint | undefined;
}

interface OperandSyntax {
  print(value: number, context: OperandContext): string;
  /** Undefined if the text is no such operand. */
  parse(text: string, context: OperandContext): number | undefined;
}

const X: OperandSyntax = { print: (value) => X_NAMES[value] as string, parse: registerNumber };
const F: OperandSyntax = { print: (value) => F_NAMES[value] as string, parse: floatRegisterNumber };

export const ROUNDING_MODE_NAMES: readonly string[] = ['rne', 'rtz', 'rdn', 'rup', 'rmm', 'rm5', 'rm6', 'dyn'];
/** From bit 3 down: input, output, read, write. */
const FENCE_LETTERS = 'iorw';

/** FLI's constants by number. */
const CONSTANTS: readonly string[] = [
  ...['-1', 'min', '1.52587890625e-05', '3.0517578125e-05', '0.00390625', '0.0078125', '0.0625', '0.125'],
  ...['0.25', '0.3125', '0.375', '0.4375', '0.5', '0.625', '0.75', '0.875'],
  ...['1', '1.25', '1.5', '1.75', '2', '2.5', '3', '4'],
  ...['8', '16', '128', '256', '32768', '65536', 'inf', 'nan'],
];

/** The names in templates. A name in a template that is not here stands for itself (`sp`, `rtz`). */
export const OPERAND_SYNTAX: Readonly<Record<string, OperandSyntax>> = {
  rd: X,
  rs1: X,
  rs2: X,
  frd: F,
  frs1: F,
  frs2: F,
  frs3: F,
  imm: { print: printImmediate, parse: parseImmediate },
  uimm: { print: printImmediate, parse: parseImmediate },
  zimm: { print: String, parse: parseNumber },
  rm: { print: (value) => ROUNDING_MODE_NAMES[value] as string, parse: (text) => indexOf(ROUNDING_MODE_NAMES, text) },
  csr: {
    print: (value) => CSR_BY_NUMBER.get(value)?.name ?? `0x${value.toString(16)}`,
    parse: (text, context) => CSR_BY_NAME.get(text)?.number ?? parseNumber(text, context),
  },
  pred: { print: printFence, parse: parseFence },
  succ: { print: printFence, parse: parseFence },
  fconst: { print: (value) => CONSTANTS[value] as string, parse: parseConstant },
};

/** The default rounding mode: dyn, but rne where the result is exact whatever the mode. */
export function defaultRoundingMode(row: string): number {
  return EXACT_CONVERSIONS.has(row) ? 0 : 7;
}

const EXACT_CONVERSIONS = new Set(['fcvt.d.w', 'fcvt.d.wu', 'fcvt.d.s', 'fcvt.s.h', 'fcvt.d.h']);

/** Upper immediates are written without their twelve zeros, as 20 bits. */
function printImmediate(value: number, { immediate, relative, pc }: OperandContext): string {
  if (relative) return `0x${BigInt.asUintN(64, pc + BigInt(value)).toString(16)}`;
  if (immediate?.lowBit === 12) return `0x${((value >>> 12) & 0xfffff).toString(16)}`;
  return immediate?.signed === false && (immediate.topBit === 5 || immediate.topBit === 4) && immediate.lowBit === 0
    ? `0x${value.toString(16)}`
    : String(value);
}

function parseImmediate(text: string, context: OperandContext): number | undefined {
  const value = context.evaluate(text);
  if (value === undefined) return undefined;
  if (context.relative) return toInt32(BigInt.asIntN(64, value - context.pc));
  if (context.immediate?.lowBit !== 12) return toInt32(value);
  return value < -0x80000n || value > 0xfffffn ? undefined : Number(BigInt.asIntN(32, value << 12n));
}

function parseNumber(text: string, context: OperandContext): number | undefined {
  const value = context.evaluate(text);
  return value === undefined ? undefined : toInt32(value);
}

function toInt32(value: bigint): number | undefined {
  return BigInt.asIntN(32, value) === value ? Number(value) : undefined;
}

function printFence(value: number): string {
  const letters = [...FENCE_LETTERS].filter((_, i) => ((value >> (3 - i)) & 1) === 1).join('');
  return letters === '' ? '0' : letters;
}

function parseFence(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^i?o?r?w?$/.test(text) || text === '') return undefined;
  return [...text].reduce((bits, letter) => bits | (8 >> FENCE_LETTERS.indexOf(letter)), 0);
}

function parseConstant(text: string): number | undefined {
  const byName = indexOf(CONSTANTS, text);
  if (byName !== undefined || text.trim() === '') return byName;
  return indexOf(CONSTANTS.map(Number), Number(text));
}

function indexOf<T>(list: readonly T[], value: T): number | undefined {
  const index = list.indexOf(value);
  return index < 0 ? undefined : index;
}

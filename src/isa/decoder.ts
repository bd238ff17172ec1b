/**
 * The decoder: from an instruction's bits to its row and operands. It is built from the table for a set of
 * extensions; rows of others do not exist for it, so that they trap. What it is built from is exported as data, for
 * decoders in generated code: the rows in the order in which to try them, and the expansions of all 16-bit
 * instructions.
 */
import { assert, must } from '../base/assert.ts';
import {
  COMPRESSED_CODES,
  type CompressedCode,
  encode,
  type OperandName,
  type OperandValues,
  ROW_CODES,
  type RowCode,
} from './code.ts';
import { matches, type Pattern, readField, readImmediate } from './pattern.ts';
import type { CompressedRow, Row } from './row.ts';

/** An instruction. Operands are read where 32-bit instructions have them, whether or not the row has such a field. */
export interface Decoded {
  readonly row: Row;
  /** The row of 16 bits that expanded to `row`. */
  readonly compressed: CompressedRow | undefined;
  readonly length: 2 | 4;
  /** The instruction as it was fetched, unsigned (16 or 32 bits), and what it expanded to (32 bits). */
  readonly bits: number;
  readonly expanded: number;
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  readonly rs3: number;
  readonly rm: number;
  /** 32 bits, signed; 0 where the row has none. */
  readonly imm: number;
  readonly csr: number;
  readonly zimm: number;
}

export interface Decoder {
  /** The enabled rows. The first whose mask and match fit is the instruction's. */
  readonly rows: readonly RowCode[];
  /** The 32-bit instruction that each 16-bit pattern is short for; 0: illegal. Indexed by the 16 bits. */
  readonly expansions: Uint32Array;
  /** The lowest 16 bits decide the length: other than 11 in bits 1 and 0 means that the upper half is ignored. */
  decode(bits: number): Decoded | undefined;
}

/** A decoder of these extensions (as extensions.ts resolves them). */
export function createDecoder(extensions: ReadonlySet<string>): Decoder {
  const has = (row: Row | CompressedRow): boolean => row.extension.split('+').every((name) => extensions.has(name));
  const rows = ROW_CODES.filter(({ row }) => has(row));
  const codes = COMPRESSED_CODES.filter((code) => has(code.row) && has(code.target.row));
  const expansions = new Uint32Array(0x10000);
  /** Which of `codes` expanded it, counted from 1. */
  const origins = new Uint8Array(0x10000);
  assert(codes.length < 256, 'an origin fits a byte');
  codes.forEach((code, i) => {
    expandAll(code, (bits, expansion) => {
      expansions[bits] = expansion;
      origins[bits] = i + 1;
    });
  });
  const buckets = new Map<number, readonly RowCode[]>();

  function bucketOf(bits: number): readonly RowCode[] {
    const key = (bits & KEY) >>> 0;
    let bucket = buckets.get(key);
    if (!bucket) {
      bucket = rows.filter(({ pattern }) => ((pattern.match ^ key) & pattern.mask & KEY) === 0);
      buckets.set(key, bucket);
    }
    return bucket;
  }

  return {
    rows,
    expansions,
    decode(bits) {
      const short = (bits & 3) !== 3;
      const fetched = short ? bits & 0xffff : bits >>> 0;
      const expanded = short ? (expansions[fetched] as number) : fetched;
      if (expanded === 0) return undefined;
      const code = bucketOf(expanded).find(({ pattern }) => matches(pattern, expanded));
      if (!code) return undefined;
      const { immediate } = code.pattern;
      return {
        row: code.row,
        compressed: short ? codes[(origins[fetched] ?? 0) - 1]?.row : undefined,
        length: short ? 2 : 4,
        bits: fetched,
        expanded,
        rd: (expanded >>> 7) & 31,
        rs1: (expanded >>> 15) & 31,
        rs2: (expanded >>> 20) & 31,
        rs3: expanded >>> 27,
        rm: (expanded >>> 12) & 7,
        imm: immediate ? readImmediate(immediate, expanded) : 0,
        csr: expanded >>> 20,
        zimm: (expanded >>> 15) & 31,
      };
    },
  };
}

/** opcode, funct3 and funct7: bits that choose a short list of rows to try. */
const KEY = 0xfe00707f;

/** What a 16-bit instruction is short for; undefined if its encoding is reserved. */
export function expand(code: CompressedCode, bits: number): number | undefined {
  const values = valuesOf(code, bits);
  if (code.excepted.some(({ operand, value }) => values[operand] === value)) return undefined;
  return expandTo(code, values, bits);
}

function expandTo(code: CompressedCode, values: OperandValues, bits: number): number {
  const operands: { [name in OperandName]?: number } = {};
  for (const { to, from } of code.operands) operands[to] = typeof from === 'number' ? from : (values[from] ?? 0);
  return must(
    encode(code.target.pattern, operands satisfies OperandValues),
    `${code.row.name}: ${bits} does not expand`,
  );
}

/**
 * Tells what every instruction of a compressed row is short for. Operands are fields moved to other places, so each free
 * bit changes the same bits of the expansion whatever the others are: one expansion for each such bit says them all,
 * which every thread that decodes does as it starts.
 */
function expandAll(code: CompressedCode, tell: (bits: number, expansion: number) => void): void {
  const { match, mask } = code.pattern;
  const first = expandPlain(code, match);
  const all = [match];
  const expansions = [first];
  for (let bit = 1; bit < 0x10000; bit <<= 1) {
    if ((mask & bit) !== 0) continue;
    const change = expandPlain(code, match | bit) ^ first;
    for (let i = 0, count = all.length; i < count; i++) {
      all.push((all[i] ?? 0) | bit);
      expansions.push((expansions[i] ?? 0) ^ change);
    }
  }
  const { pattern } = code;
  const excepted = code.excepted.map(({ operand, value }) => ({
    value,
    field: pattern.fields.find(({ name }) => name === operand),
  }));
  const isExcepted = (bits: number): boolean => {
    for (const { field, value } of excepted) {
      const found = field ? readField(field, bits) : pattern.immediate && readImmediate(pattern.immediate, bits);
      if (found === value) return true;
    }
    return false;
  };
  for (let i = 0; i < all.length; i++) {
    const bits = all[i] ?? 0;
    if (excepted.length === 0 || !isExcepted(bits)) tell(bits, (expansions[i] ?? 0) >>> 0);
  }
}

/** The same for one of them, reserved or not. */
function expandPlain(code: CompressedCode, bits: number): number {
  return expandTo(code, valuesOf(code, bits), bits);
}

function valuesOf(code: CompressedCode, bits: number): OperandValues {
  const values: { [name in OperandName]?: number } = {};
  for (const field of code.pattern.fields) values[field.name] = readField(field, bits);
  if (code.pattern.immediate) values.imm = readImmediate(code.pattern.immediate, bits);
  return values;
}

/** Every instruction of a pattern whose bits lie within `within`: all subsets of the bits that the mask leaves free. */
export function* instructionsOf(pattern: Pattern, within: number): Generator<number> {
  const free = ~pattern.mask & within;
  let subset = 0;
  do {
    yield (pattern.match | subset) >>> 0;
    subset = (subset - free) & free;
  } while (subset !== 0);
}

/**
 * The decoder: from an instruction's bits to its row and operands. It is built from the table for a set of
 * extensions; rows of others do not exist for it, so that they trap. What it is built from is exported as data, for
 * decoders in generated code: the rows in the order in which to try them, and the expansions of all 16-bit
 * instructions.
 */
import { must } from '../base/assert.ts';
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
  const origins: (CompressedRow | undefined)[] = new Array(0x10000).fill(undefined);
  const expansions = new Uint32Array(0x10000);
  for (const code of codes) {
    for (const bits of instructionsOf(code.pattern, 0xffff)) {
      const expansion = expand(code, bits);
      if (expansion === undefined) continue;
      expansions[bits] = expansion;
      origins[bits] = code.row;
    }
  }
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
        compressed: short ? origins[fetched] : undefined,
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
  const values: { [name in OperandName]?: number } = {};
  for (const field of code.pattern.fields) values[field.name] = readField(field, bits);
  if (code.pattern.immediate) values.imm = readImmediate(code.pattern.immediate, bits);
  if (code.excepted.some(({ operand, value }) => values[operand] === value)) return undefined;
  const operands: { [name in OperandName]?: number } = {};
  for (const { to, from } of code.operands) operands[to] = typeof from === 'number' ? from : (values[from] ?? 0);
  return must(
    encode(code.target.pattern, operands satisfies OperandValues),
    `${code.row.name}: ${bits} does not expand`,
  );
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

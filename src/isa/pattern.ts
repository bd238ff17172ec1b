/**
 * Bit patterns of rows, parsed. A pattern names an instruction's bits from the most significant one down, so its
 * parts lie where the widths of those before them put them:
 *
 *     imm[12|10:5] rs2   rs1   000   imm[4:1|11] 1100011
 *     31        25 24 20 19 15 14 12 11        7 6     0
 *
 * From this come mask and match (the literal bits), the fields, and the pieces of the immediate.
 */
import { assert, must } from '../base/assert.ts';

/** Fields other than the immediate. Those of 32-bit instructions lie at one place each (FIELD_BITS). */
export const FIELD_BITS = {
  rd: { at: 7, width: 5 },
  rs1: { at: 15, width: 5 },
  rs2: { at: 20, width: 5 },
  rs3: { at: 27, width: 5 },
  rm: { at: 12, width: 3 },
  csr: { at: 20, width: 12 },
  zimm: { at: 15, width: 5 },
  aq: { at: 26, width: 1 },
  rl: { at: 25, width: 1 },
  fm: { at: 28, width: 4 },
  pred: { at: 24, width: 4 },
  succ: { at: 20, width: 4 },
} as const;

export type FieldName = keyof typeof FIELD_BITS;

/** A run of bits of the immediate: `width` bits from bit `fromBit` of the instruction are at `toBit` of the value. */
export interface ImmediatePiece {
  readonly fromBit: number;
  readonly toBit: number;
  readonly width: number;
}

export interface Immediate {
  /** Sign-extended from its top bit. */
  readonly signed: boolean;
  /** Number of the highest bit, and of the lowest one that the instruction holds. */
  readonly topBit: number;
  readonly lowBit: number;
  readonly pieces: readonly ImmediatePiece[];
}

export interface Field {
  readonly name: FieldName;
  readonly at: number;
  readonly width: number;
  /** Three bits that mean x8 to x15 (f8 to f15). */
  readonly prime: boolean;
}

export interface Pattern {
  /** 2 or 4 bytes. */
  readonly length: 2 | 4;
  /** An instruction `bits` is of this pattern if `(bits & mask) >>> 0 === match`. Both unsigned. */
  readonly mask: number;
  readonly match: number;
  readonly fields: readonly Field[];
  readonly immediate: Immediate | undefined;
}

/** Parses a row's pattern; an ill-formed one is a bug. */
export function parsePattern(source: string): Pattern {
  const tokens = source.split(' ');
  const width = tokens.reduce((sum, token) => sum + widthOf(token), 0);
  assert(width === 32 || width === 16, `${source}: ${width} bits`);
  let at = width;
  let mask = 0;
  let match = 0;
  const fields: Field[] = [];
  const pieces: ImmediatePiece[] = [];
  let signed: boolean | undefined;
  for (const token of tokens) {
    at -= widthOf(token);
    if (/^[01-]+$/.test(token)) {
      mask += literalBits(token, /[01]/) * 2 ** at;
      match += literalBits(token, /1/) * 2 ** at;
    } else if (token.includes('[')) {
      signed = token.startsWith('imm');
      pieces.push(...piecesOf(token, at));
    } else {
      fields.push(fieldOf(token, at, width, source));
    }
  }
  return {
    length: width === 32 ? 4 : 2,
    mask,
    match,
    fields,
    immediate: signed === undefined ? undefined : immediateOf(signed, pieces, source),
  };
}

/** Whether `bits` (unsigned or not) is an instruction of the pattern. */
export function matches(pattern: Pattern, bits: number): boolean {
  return (bits & pattern.mask) >>> 0 === pattern.match;
}

/** The immediate's value: 32 bits, signed. */
export function readImmediate(immediate: Immediate, bits: number): number {
  let value = 0;
  for (const { fromBit, toBit, width } of immediate.pieces) value |= ((bits >>> fromBit) & ones(width)) << toBit;
  if (!immediate.signed) return value;
  const unused = 31 - immediate.topBit;
  return (value << unused) >> unused;
}

/** The instruction's bits that hold the immediate, signed; undefined if it cannot hold that value. */
export function writeImmediate(immediate: Immediate, value: number): number | undefined {
  let bits = 0;
  for (const { fromBit, toBit, width } of immediate.pieces) bits |= ((value >>> toBit) & ones(width)) << fromBit;
  return readImmediate(immediate, bits) === value ? bits : undefined;
}

/** The value of a field; primed registers as their numbers, 8 to 15. */
export function readField(field: Field, bits: number): number {
  const value = (bits >>> field.at) & ones(field.width);
  return field.prime ? value + 8 : value;
}

/** The instruction's bits that hold the field, signed; undefined if it cannot hold that value. */
export function writeField(field: Field, value: number): number | undefined {
  const stored = field.prime ? value - 8 : value;
  if (!Number.isInteger(stored) || stored < 0 || stored > ones(field.width)) return undefined;
  return stored << field.at;
}

function ones(width: number): number {
  return 2 ** width - 1;
}

function widthOf(token: string): number {
  if (/^[01-]+$/.test(token)) return token.length;
  const bracket = token.indexOf('[');
  if (bracket >= 0) return ranges(token).reduce((sum, [high, low]) => sum + high - low + 1, 0);
  if (token.endsWith("'")) return 3;
  return nameOf(token).width;
}

function nameOf(token: string): { readonly at: number; readonly width: number } {
  assert(token in FIELD_BITS, `no such field: ${token}`);
  return FIELD_BITS[token as FieldName];
}

/** `imm[12|10:5]` -> [[12, 12], [10, 5]]. */
function ranges(token: string): readonly (readonly [number, number])[] {
  const inside = must(/^u?imm\[([\d:|]+)\]$/.exec(token), `no such field: ${token}`)[1] as string;
  return inside.split('|').map((part) => {
    const [high, low] = part.split(':').map(Number) as [number, number?];
    return [high, low ?? high];
  });
}

function piecesOf(token: string, lowestBit: number): readonly ImmediatePiece[] {
  let at = lowestBit + widthOf(token);
  return ranges(token).map(([high, low]) => {
    const width = high - low + 1;
    at -= width;
    return { fromBit: at, toBit: low, width };
  });
}

function immediateOf(signed: boolean, pieces: readonly ImmediatePiece[], source: string): Immediate {
  const topBit = Math.max(...pieces.map(({ toBit, width }) => toBit + width - 1));
  const lowBit = Math.min(...pieces.map(({ toBit }) => toBit));
  const held = pieces.reduce((sum, { width }) => sum + width, 0);
  assert(held === topBit - lowBit + 1, `${source}: bits of the immediate are missing or twice there`);
  return { signed, topBit, lowBit, pieces };
}

function fieldOf(token: string, at: number, width: number, source: string): Field {
  const prime = token.endsWith("'");
  const name = (prime ? token.slice(0, -1) : token) as FieldName;
  const place = nameOf(name);
  assert(width === 16 || place.at === at, `${source}: ${name} is not in its place`);
  return { name, at, width: prime ? 3 : place.width, prime };
}

function literalBits(token: string, which: RegExp): number {
  return Number.parseInt(Array.from(token, (c) => (which.test(c) ? '1' : '0')).join(''), 2);
}

/**
 * Conversions (RISC-V manual, F, D, Zfh, and Zfa's fround, fcvtmod and fli). Integers are 64-bit unsigned register
 * values on both sides: a 32-bit source reads the low half, a 32-bit result is sign-extended, the unsigned one too. Left out: FMVH and FMVP, which RV64 does not have.
 */
import { assert, must } from '../assert.ts';
import {
  type FloatFormat,
  type FloatResult,
  f64,
  type IntegerResult,
  NV,
  NX,
  nan,
  RNE,
  type RoundingMode,
  RTZ,
  signed,
  unpack,
} from './format.ts';
import { round, roundToMultiple } from './round.ts';

/** An integer operand's kind, by the letters of the mnemonics: fcvt.w.d, fcvt.lu.s. */
export type IntegerType = 'w' | 'wu' | 'l' | 'lu';

const RANGES: Readonly<Record<IntegerType, { least: bigint; greatest: bigint }>> = {
  w: { least: -(2n ** 31n), greatest: 2n ** 31n - 1n },
  wu: { least: 0n, greatest: 2n ** 32n - 1n },
  l: { least: -(2n ** 63n), greatest: 2n ** 63n - 1n },
  lu: { least: 0n, greatest: 2n ** 64n - 1n },
};

/** From one format to another. Widening is exact; a NaN becomes the canonical one, a signaling one is invalid. */
export function convert(from: FloatFormat, to: FloatFormat, a: bigint, mode: RoundingMode): FloatResult {
  const x = unpack(from, a);
  if (x.kind === 'nan') return nan(to, [x]);
  if (x.kind === 'infinity') return { bits: signed(to, x.negative, to.infinity), flags: 0 };
  return round(to, { ...x, remainder: false }, mode);
}

/**
 * FCVT to an integer. Rounds first; where the rounded value does not fit, the result is the nearest integer of the
 * type and only NV is raised. A NaN counts as +infinity.
 */
export function toInteger(format: FloatFormat, type: IntegerType, a: bigint, mode: RoundingMode): IntegerResult {
  const { least, greatest } = RANGES[type];
  const x = unpack(format, a);
  if (x.kind === 'nan') return { value: register(type, greatest), flags: NV };
  if (x.kind === 'infinity') return { value: register(type, x.negative ? least : greatest), flags: NV };
  const { count, inexact } = roundToMultiple({ ...x, remainder: false }, 0, mode);
  const integer = x.negative ? -count : count;
  if (integer < least) return { value: register(type, least), flags: NV };
  if (integer > greatest) return { value: register(type, greatest), flags: NV };
  return { value: register(type, integer), flags: inexact ? NX : 0 };
}

/** FCVT from an integer. Zero becomes +0. */
export function fromInteger(format: FloatFormat, type: IntegerType, value: bigint, mode: RoundingMode): FloatResult {
  assert(BigInt.asUintN(64, value) === value, `not a register value: ${value}`);
  const integer = readRegister(type, value);
  const negative = integer < 0n;
  return round(format, { negative, significand: negative ? -integer : integer, exponent: 0, remainder: false }, mode);
}

/** FCVTMOD.W.D (Zfa): truncates and keeps the low 32 bits; NaNs and infinities give 0; flags are those of FCVT.W.D. */
export function toIntegerModulo(a: bigint): IntegerResult {
  const { flags } = toInteger(f64, 'w', a, RTZ);
  const x = unpack(f64, a);
  if (x.kind !== 'finite') return { value: 0n, flags };
  const { count } = roundToMultiple({ ...x, remainder: false }, 0, RTZ);
  return { value: register('w', x.negative ? -count : count), flags };
}

/** FROUND (Zfa): to an integral number of the same format, sign of zero kept. Raises nothing but NV for signaling NaNs. */
export function roundToIntegral(format: FloatFormat, a: bigint, mode: RoundingMode): FloatResult {
  const { bits, flags } = roundToIntegralExact(format, a, mode);
  return { bits, flags: flags & NV };
}

/** FROUNDNX (Zfa): FROUND that raises NX when the result differs from the operand. */
export function roundToIntegralExact(format: FloatFormat, a: bigint, mode: RoundingMode): FloatResult {
  const x = unpack(format, a);
  if (x.kind === 'nan') return nan(format, [x]);
  if (x.kind === 'infinity' || x.exponent >= 0) return { bits: a, flags: 0 };
  const { count, inexact } = roundToMultiple({ ...x, remainder: false }, 0, mode);
  const { bits } = round(format, { negative: x.negative, significand: count, exponent: 0, remainder: false }, RNE);
  return { bits, flags: inexact ? NX : 0 };
}

/**
 * FLI's constant number `index` (0 to 31, the instruction's rs1 field; Zfa). In f16, 2^16 overflows to infinity,
 * and 2^-15 and 2^-16 are subnormal.
 */
export function loadImmediate(format: FloatFormat, index: number): bigint {
  assert(Number.isInteger(index) && index >= 0 && index < 32, `no such constant: ${index}`);
  if (index === 1) return format.smallestNormal;
  if (index === 31) return format.canonicalNaN;
  return convert(f64, format, patternOf(must(FLI[index])), RNE).bits;
}

// biome-ignore format: eight a row, as the manual's table counts
const FLI: readonly number[] = [
  -1, Number.NaN, 2 ** -16, 2 ** -15, 2 ** -8, 2 ** -7, 0.0625, 0.125,
  0.25, 0.3125, 0.375, 0.4375, 0.5, 0.625, 0.75, 0.875,
  1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4,
  8, 16, 128, 256, 2 ** 15, 2 ** 16, Number.POSITIVE_INFINITY, Number.NaN,
];

function patternOf(number: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, number);
  return view.getBigUint64(0);
}

function register(type: IntegerType, integer: bigint): bigint {
  const extended = type === 'w' || type === 'wu' ? BigInt.asIntN(32, integer) : integer;
  return BigInt.asUintN(64, extended);
}

function readRegister(type: IntegerType, value: bigint): bigint {
  switch (type) {
    case 'w':
      return BigInt.asIntN(32, value);
    case 'wu':
      return BigInt.asUintN(32, value);
    case 'l':
      return BigInt.asIntN(64, value);
    case 'lu':
      return value;
  }
}

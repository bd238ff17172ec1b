/**
 * Comparisons, minimum and maximum, classification and sign injection: whatever looks at operands without rounding
 * (RISC-V manual, F and Zfa). FMIN and FMAX are IEEE 754-2019's minimumNumber and maximumNumber (F version 2.2);
 * Zfa's FMINM and FMAXM are its minimum and maximum.
 */
import {
  type FloatFormat,
  type FloatResult,
  type IntegerResult,
  type NaNOperand,
  NV,
  nan,
  type Unpacked,
  unpack,
} from './format.ts';

/** FEQ: invalid for signaling NaNs only. */
export function equal(format: FloatFormat, a: bigint, b: bigint): IntegerResult {
  return compare(format, a, b, 'quiet', (order) => order === 0);
}

/** FLT: invalid for every NaN. */
export function less(format: FloatFormat, a: bigint, b: bigint): IntegerResult {
  return compare(format, a, b, 'signaling', (order) => order < 0);
}

/** FLE: invalid for every NaN. */
export function lessOrEqual(format: FloatFormat, a: bigint, b: bigint): IntegerResult {
  return compare(format, a, b, 'signaling', (order) => order <= 0);
}

/** FLTQ (Zfa): invalid for signaling NaNs only. */
export function lessQuiet(format: FloatFormat, a: bigint, b: bigint): IntegerResult {
  return compare(format, a, b, 'quiet', (order) => order < 0);
}

/** FLEQ (Zfa): invalid for signaling NaNs only. */
export function lessOrEqualQuiet(format: FloatFormat, a: bigint, b: bigint): IntegerResult {
  return compare(format, a, b, 'quiet', (order) => order <= 0);
}

/** FMIN: the lesser; -0 is below +0; one NaN gives the other operand, two the canonical NaN. */
export function minimumNumber(format: FloatFormat, a: bigint, b: bigint): FloatResult {
  return numberPreferred(format, a, b, rank(format, a) <= rank(format, b) ? a : b);
}

/** FMAX: the greater, otherwise like FMIN. */
export function maximumNumber(format: FloatFormat, a: bigint, b: bigint): FloatResult {
  return numberPreferred(format, a, b, rank(format, a) >= rank(format, b) ? a : b);
}

/** FMINM (Zfa): like FMIN, but any NaN gives the canonical NaN. */
export function minimum(format: FloatFormat, a: bigint, b: bigint): FloatResult {
  return nanPreferred(format, a, b, rank(format, a) <= rank(format, b) ? a : b);
}

/** FMAXM (Zfa): like FMAX, but any NaN gives the canonical NaN. */
export function maximum(format: FloatFormat, a: bigint, b: bigint): FloatResult {
  return nanPreferred(format, a, b, rank(format, a) >= rank(format, b) ? a : b);
}

/** FCLASS: one bit of ten, from -infinity (0) upwards to +infinity (7), signaling (8) and quiet NaN (9). No flags. */
export function classify(format: FloatFormat, a: bigint): IntegerResult {
  return { value: 1n << BigInt(classOf(format, unpack(format, a))), flags: 0 };
}

/** FSGNJ: the magnitude of a, the sign of b. No flags, NaNs included. */
export function copySign(format: FloatFormat, a: bigint, b: bigint): bigint {
  return (a & ~format.signBit) | (b & format.signBit);
}

/** FSGNJN: the magnitude of a, the opposite of b's sign. */
export function copySignNegated(format: FloatFormat, a: bigint, b: bigint): bigint {
  return copySign(format, a, ~b);
}

/** FSGNJX: the magnitude of a, its sign turned where b is negative. */
export function copySignXor(format: FloatFormat, a: bigint, b: bigint): bigint {
  return a ^ (b & format.signBit);
}

function compare(
  format: FloatFormat,
  a: bigint,
  b: bigint,
  predicate: 'quiet' | 'signaling',
  holds: (order: number) => boolean,
): IntegerResult {
  const nans = [unpack(format, a), unpack(format, b)].filter(isNaNOperand);
  if (nans.length > 0) {
    return { value: 0n, flags: predicate === 'signaling' || nans.some((operand) => operand.signaling) ? NV : 0 };
  }
  const zeros = ((a | b) & ~format.signBit) === 0n;
  const difference = rank(format, a) - rank(format, b);
  const order = zeros || difference === 0n ? 0 : difference < 0n ? -1 : 1;
  return { value: holds(order) ? 1n : 0n, flags: 0 };
}

function numberPreferred(format: FloatFormat, a: bigint, b: bigint, chosen: bigint): FloatResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  const { flags } = nan(format, [x, y]);
  if (x.kind === 'nan' && y.kind === 'nan') return { bits: format.canonicalNaN, flags };
  if (x.kind === 'nan') return { bits: b, flags };
  return { bits: y.kind === 'nan' ? a : chosen, flags };
}

function nanPreferred(format: FloatFormat, a: bigint, b: bigint, chosen: bigint): FloatResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  if (x.kind === 'nan' || y.kind === 'nan') return nan(format, [x, y]);
  return { bits: chosen, flags: 0 };
}

/** A pattern's place in the order of all numbers, -0 just below +0. */
function rank(format: FloatFormat, bits: bigint): bigint {
  return (bits & format.signBit) === 0n ? bits : ~(bits ^ format.signBit);
}

function classOf(format: FloatFormat, x: Unpacked): number {
  if (x.kind === 'nan') return x.signaling ? 8 : 9;
  const away = distanceFromZero(format, x);
  return x.negative ? 3 - away : 4 + away;
}

/** Zero, subnormal, normal, infinite. */
function distanceFromZero(format: FloatFormat, x: Exclude<Unpacked, NaNOperand>): 0 | 1 | 2 | 3 {
  if (x.kind === 'infinity') return 3;
  if (x.significand === 0n) return 0;
  return x.significand < format.smallestNormal ? 1 : 2;
}

function isNaNOperand(operand: Unpacked): operand is NaNOperand {
  return operand.kind === 'nan';
}

/**
 * Addition, subtraction, multiplication, division, square root and fused multiply-add (IEEE 754-2019, 5.4.1; RISC-V
 * FADD, FSUB, FMUL, FDIV, FSQRT, FMADD and its three relatives). Finite operands become integers, the result is
 * computed exactly, or with a remainder that says "and a bit more", and rounded once. What a NaN, an infinity and a
 * zero do is said before that, in the order of IEEE 754-2019, 7.2.
 */
import {
  DZ,
  type Finite,
  type FloatFormat,
  type FloatResult,
  type Infinite,
  nan,
  negate,
  RDN,
  type RoundingMode,
  signed,
  unpack,
} from './format.ts';
import { bitLength, type Exact, round } from './round.ts';

/** a + b. */
export function add(format: FloatFormat, a: bigint, b: bigint, mode: RoundingMode): FloatResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  if (x.kind === 'nan' || y.kind === 'nan') return nan(format, [x, y]);
  return sum(format, x, y, mode);
}

/** a - b, which is a + (-b): turning a NaN's sign changes nothing that a result shows. */
export function subtract(format: FloatFormat, a: bigint, b: bigint, mode: RoundingMode): FloatResult {
  return add(format, a, negate(format, b), mode);
}

/** a * b. */
export function multiply(format: FloatFormat, a: bigint, b: bigint, mode: RoundingMode): FloatResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  if (x.kind === 'nan' || y.kind === 'nan') return nan(format, [x, y]);
  if (zeroTimesInfinity(x, y)) return nan(format, [], true);
  const p = product(x, y);
  if (p.kind === 'infinity') return { bits: signed(format, p.negative, format.infinity), flags: 0 };
  return round(format, exactly(p), mode);
}

/** a / b. A finite number, not zero, divided by zero is an infinity and raises DZ; 0/0 and inf/inf are invalid. */
export function divide(format: FloatFormat, a: bigint, b: bigint, mode: RoundingMode): FloatResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  if (x.kind === 'nan' || y.kind === 'nan') return nan(format, [x, y]);
  const negative = x.negative !== y.negative;
  if (x.kind === 'infinity') {
    if (y.kind === 'infinity') return nan(format, [], true);
    return { bits: signed(format, negative, format.infinity), flags: 0 };
  }
  if (y.kind === 'infinity') return { bits: signed(format, negative, 0n), flags: 0 };
  if (y.significand === 0n) {
    if (x.significand === 0n) return nan(format, [], true);
    return { bits: signed(format, negative, format.infinity), flags: DZ };
  }
  // Enough bits that the quotient has two more than the format's precision.
  const shift = Math.max(0, format.fractionBits + 3 + bitLength(y.significand) - bitLength(x.significand));
  const dividend = x.significand << BigInt(shift);
  const significand = dividend / y.significand;
  const remainder = significand * y.significand !== dividend;
  return round(format, { negative, significand, exponent: x.exponent - y.exponent - shift, remainder }, mode);
}

/** The square root of a. Of -0 it is -0; of anything else below zero it is invalid. */
export function squareRoot(format: FloatFormat, a: bigint, mode: RoundingMode): FloatResult {
  const x = unpack(format, a);
  if (x.kind === 'nan') return nan(format, [x]);
  const zero = x.kind === 'finite' && x.significand === 0n;
  if (zero) return { bits: a, flags: 0 };
  if (x.negative) return nan(format, [], true);
  if (x.kind === 'infinity') return { bits: a, flags: 0 };
  // An even exponent, and a radicand of twice the root's bits.
  const missing = 2 * (format.fractionBits + 3) - bitLength(x.significand);
  const shift = missing + ((x.exponent - missing) & 1);
  const radicand = x.significand << BigInt(shift);
  const significand = integerSquareRoot(radicand);
  const remainder = significand * significand !== radicand;
  return round(format, { negative: false, significand, exponent: (x.exponent - shift) / 2, remainder }, mode);
}

/**
 * a * b + c, rounded once (FMADD). Zero times infinity is invalid even when c is a quiet NaN (RISC-V manual, F;
 * IEEE 754-2019, 7.2 c, leaves it open).
 */
export function multiplyAdd(format: FloatFormat, a: bigint, b: bigint, c: bigint, mode: RoundingMode): FloatResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  const z = unpack(format, c);
  if (x.kind !== 'nan' && y.kind !== 'nan' && zeroTimesInfinity(x, y)) return nan(format, [], true);
  if (x.kind === 'nan' || y.kind === 'nan' || z.kind === 'nan') return nan(format, [x, y, z]);
  return sum(format, product(x, y), z, mode);
}

/** a * b - c (FMSUB): c's sign turned. */
export function multiplySubtract(
  format: FloatFormat,
  a: bigint,
  b: bigint,
  c: bigint,
  mode: RoundingMode,
): FloatResult {
  return multiplyAdd(format, a, b, negate(format, c), mode);
}

/** -(a * b) + c (FNMSUB): a factor's sign turned. Not the negated FMSUB: directed rounding and exact zeros differ. */
export function negatedMultiplySubtract(
  format: FloatFormat,
  a: bigint,
  b: bigint,
  c: bigint,
  mode: RoundingMode,
): FloatResult {
  return multiplyAdd(format, negate(format, a), b, c, mode);
}

/** -(a * b) - c (FNMADD): a factor's sign and c's turned. */
export function negatedMultiplyAdd(
  format: FloatFormat,
  a: bigint,
  b: bigint,
  c: bigint,
  mode: RoundingMode,
): FloatResult {
  return multiplyAdd(format, negate(format, a), b, negate(format, c), mode);
}

/** The greatest integer whose square is not above `value`. */
export function integerSquareRoot(value: bigint): bigint {
  if (value < 2n) return value;
  // Newton's iteration from above falls until it has arrived.
  let root = 1n << BigInt((bitLength(value) + 1) >> 1);
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

function sum(format: FloatFormat, x: Finite | Infinite, y: Finite | Infinite, mode: RoundingMode): FloatResult {
  if (x.kind === 'infinity') {
    if (y.kind === 'infinity' && x.negative !== y.negative) return nan(format, [], true);
    return { bits: signed(format, x.negative, format.infinity), flags: 0 };
  }
  if (y.kind === 'infinity') return { bits: signed(format, y.negative, format.infinity), flags: 0 };
  const exponent = Math.min(x.exponent, y.exponent);
  const total = atExponent(x, exponent) + atExponent(y, exponent);
  // An exact zero has the sign that both have, else it is +0, or -0 when rounding down (IEEE 754-2019, 6.3).
  const zeroNegative = x.negative === y.negative ? x.negative : mode === RDN;
  const negative = total === 0n ? zeroNegative : total < 0n;
  return round(format, { negative, significand: total < 0n ? -total : total, exponent, remainder: false }, mode);
}

function product(x: Finite | Infinite, y: Finite | Infinite): Finite | Infinite {
  const negative = x.negative !== y.negative;
  if (x.kind === 'infinity' || y.kind === 'infinity') return { kind: 'infinity', negative };
  return { kind: 'finite', negative, significand: x.significand * y.significand, exponent: x.exponent + y.exponent };
}

function zeroTimesInfinity(x: Finite | Infinite, y: Finite | Infinite): boolean {
  if (x.kind === y.kind) return false;
  return (x.kind === 'finite' && x.significand === 0n) || (y.kind === 'finite' && y.significand === 0n);
}

function exactly(x: Finite): Exact {
  return { negative: x.negative, significand: x.significand, exponent: x.exponent, remainder: false };
}

function atExponent(x: Finite, exponent: number): bigint {
  const magnitude = x.significand << BigInt(x.exponent - exponent);
  return x.negative ? -magnitude : magnitude;
}

/**
 * Rounding (IEEE 754-2019, 4.3 and 7.4 to 7.6): the one place where an exact result becomes a floating-point number.
 * RISC-V detects tininess after rounding (manual, F, "Subnormal Arithmetic"), so a result is tiny when, rounded to the
 * format's precision as though exponents had no bounds, it lies strictly between the two smallest normal numbers.
 */
import { assert } from '../assert.ts';
import {
  type FloatFormat,
  type FloatResult,
  NX,
  OF,
  RDN,
  RMM,
  RNE,
  type RoundingMode,
  RTZ,
  RUP,
  signed,
  UF,
} from './format.ts';

/**
 * A real number as operations compute it: (-1)^negative * (significand + r) * 2^exponent, where r is 0 or, with
 * `remainder`, some fraction strictly between 0 and 1 that a quotient or a root left over. Rounding need not know
 * which, as long as the significand holds more bits than the result does.
 */
export interface Exact {
  readonly negative: boolean;
  readonly significand: bigint;
  readonly exponent: number;
  readonly remainder: boolean;
}

/** Rounds to a number of `format`. Overflow, underflow and inexact follow from the value alone. */
export function round(format: FloatFormat, exact: Exact, mode: RoundingMode): FloatResult {
  const { negative, significand } = exact;
  if (significand === 0n && !exact.remainder) return { bits: signed(format, negative, 0n), flags: 0 };

  const precision = format.fractionBits + 1;
  const freeUnit = exact.exponent + bitLength(significand) - precision;
  const unit = Math.max(freeUnit, format.leastExponent);
  const { count, inexact } = roundToMultiple(exact, unit, mode);

  // The patterns of one sign are in the order of their values and a binade's end is the next one's start, so a
  // carry into the exponent needs no case of its own: count the last places from the start of the binade.
  const magnitude = count + BigInt(unit - format.leastExponent) * format.smallestNormal;
  if (unit > format.greatestExponent || magnitude >= format.infinity) {
    return { bits: signed(format, negative, overflowed(format, negative, mode)), flags: OF | NX };
  }
  let flags = inexact ? NX : 0;
  if (inexact && freeUnit < format.leastExponent && isTiny(format, exact, freeUnit, mode)) flags |= UF;
  return { bits: signed(format, negative, magnitude), flags };
}

/** Rounds to a multiple of 2^unit: how many units, and whether anything was lost. */
export function roundToMultiple(exact: Exact, unit: number, mode: RoundingMode): { count: bigint; inexact: boolean } {
  const drop = unit - exact.exponent;
  if (drop <= 0) {
    assert(!exact.remainder, 'too few bits to round');
    return { count: exact.significand << BigInt(-drop), inexact: false };
  }
  const below = exact.significand >> BigInt(drop);
  const rest = exact.significand - (below << BigInt(drop));
  const half = 1n << BigInt(drop - 1);
  const inexact = rest !== 0n || exact.remainder;
  const aboveHalf = rest > half || (rest === half && exact.remainder);
  const exactlyHalf = rest === half && !exact.remainder;
  const up = inexact && roundsAway(mode, exact.negative, (below & 1n) === 1n, aboveHalf, exactlyHalf);
  return { count: up ? below + 1n : below, inexact };
}

/** Number of bits of a non-negative integer without its leading zeros. */
export function bitLength(value: bigint): number {
  const hex = value.toString(16);
  return hex.length * 4 - (Math.clz32(Number.parseInt(hex.charAt(0), 16)) - 28);
}

function roundsAway(
  mode: RoundingMode,
  negative: boolean,
  odd: boolean,
  aboveHalf: boolean,
  exactlyHalf: boolean,
): boolean {
  switch (mode) {
    case RNE:
      return aboveHalf || (exactlyHalf && odd);
    case RTZ:
      return false;
    case RDN:
      return negative;
    case RUP:
      return !negative;
    case RMM:
      return aboveHalf || exactlyHalf;
  }
}

/** Modes that round towards zero from the result's side stop at the largest finite number. */
function overflowed(format: FloatFormat, negative: boolean, mode: RoundingMode): bigint {
  const stops = mode === RTZ || mode === (negative ? RUP : RDN);
  return stops ? format.largestFinite : format.infinity;
}

function isTiny(format: FloatFormat, exact: Exact, freeUnit: number, mode: RoundingMode): boolean {
  const { count } = roundToMultiple(exact, freeUnit, mode);
  const exponent = freeUnit + bitLength(count) - 1;
  return exponent < format.leastExponent + format.fractionBits;
}

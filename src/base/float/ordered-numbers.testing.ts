/**
 * An independent definition of rounding, for tests. The finite numbers of a format are a sorted list (their patterns
 * count upwards); a real number is known only by comparing it with fractions; its neighbours in the list are found
 * by bisection, and the rounding mode chooses between them. Shares nothing with round.ts but the constants.
 */
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
  UF,
} from './format.ts';

export interface Fraction {
  readonly numerator: bigint;
  /** Positive. */
  readonly denominator: bigint;
}

/** A positive real number: compares itself with `x`; negative when it is less. */
export type Cut = (x: Fraction) => number;

/** The value of a finite pattern, read off as IEEE 754 section 3.4 writes it. */
export function numberOf(format: FloatFormat, bits: bigint): Fraction {
  const biased = Number((bits >> BigInt(format.fractionBits)) % (1n << BigInt(format.exponentBits)));
  const fraction = bits % (1n << BigInt(format.fractionBits));
  const bias = 2 ** (format.exponentBits - 1) - 1;
  const sign = bits >> BigInt(format.bits - 1) === 1n ? -1n : 1n;
  const leading = biased === 0 ? 0n : 1n << BigInt(format.fractionBits);
  return scaled(
    { numerator: sign * (leading + fraction), denominator: 1n },
    Math.max(biased, 1) - bias - format.fractionBits,
  );
}

export function scaled({ numerator, denominator }: Fraction, exponent: number): Fraction {
  return exponent >= 0
    ? { numerator: numerator << BigInt(exponent), denominator }
    : { numerator, denominator: denominator << BigInt(-exponent) };
}

export function compareFractions(x: Fraction, y: Fraction): number {
  const difference = x.numerator * y.denominator - y.numerator * x.denominator;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** Rounds a nonzero real number, given as its sign and its magnitude, and says which flags IEEE 754 wants. */
export function roundCut(format: FloatFormat, negative: boolean, magnitude: Cut, mode: RoundingMode): FloatResult {
  const { index, exact } = chooseNeighbour(format, negative, magnitude, mode);
  const bits = negative ? index | format.signBit : index;
  if (index > format.largestFinite) {
    return {
      bits: (overflowStops(mode, negative) ? format.largestFinite : format.infinity) | (bits & format.signBit),
      flags: OF | NX,
    };
  }
  if (exact) return { bits, flags: 0 };
  return { bits, flags: NX | (tiny(format, negative, magnitude, mode) ? UF : 0) };
}

/** Index in the list of magnitudes; the number after the largest finite one is counted, as 2^(emax+1). */
function chooseNeighbour(format: FloatFormat, negative: boolean, magnitude: Cut, mode: RoundingMode) {
  let below = 0n;
  let above = format.infinity;
  if (magnitude(magnitudeAt(format, above)) >= 0) return { index: above, exact: false };
  while (above - below > 1n) {
    const middle = (below + above) >> 1n;
    if (magnitude(magnitudeAt(format, middle)) >= 0) below = middle;
    else above = middle;
  }
  if (magnitude(magnitudeAt(format, below)) === 0) return { index: below, exact: true };
  const low = magnitudeAt(format, below);
  const high = magnitudeAt(format, above);
  const side = magnitude({
    numerator: low.numerator * high.denominator + high.numerator * low.denominator,
    denominator: 2n * low.denominator * high.denominator,
  });
  const nearest = side < 0 ? below : above;
  switch (mode) {
    case RNE:
      return { index: side === 0 ? (below % 2n === 0n ? below : above) : nearest, exact: false };
    case RMM:
      return { index: side === 0 ? above : nearest, exact: false };
    case RTZ:
      return { index: below, exact: false };
    case RDN:
      return { index: negative ? above : below, exact: false };
    case RUP:
      return { index: negative ? below : above, exact: false };
  }
}

function overflowStops(mode: RoundingMode, negative: boolean): boolean {
  return mode === RTZ || (mode === RDN && !negative) || (mode === RUP && negative);
}

/** Tiny after rounding: rounded where the same digits are far from the bottom, it would still be below the normals. */
function tiny(format: FloatFormat, negative: boolean, magnitude: Cut, mode: RoundingMode): boolean {
  if (magnitude(magnitudeAt(format, format.smallestNormal)) >= 0) return false;
  let lift = 0;
  const lifted: Cut = (x) => magnitude(scaled(x, -lift));
  while (lifted(magnitudeAt(format, format.smallestNormal)) < 0) lift++;
  const { index } = chooseNeighbour(format, negative, lifted, mode);
  return compareFractions(scaled(magnitudeAt(format, index), -lift), magnitudeAt(format, format.smallestNormal)) < 0;
}

function magnitudeAt(format: FloatFormat, index: bigint): Fraction {
  return numberOf(format, index);
}

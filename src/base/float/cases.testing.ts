/** Operands for tests: patterns at every corner of a format, and seeded random ones that favour the corners. */
import type { FloatFormat } from './format.ts';

/** A generator of unsigned 32-bit numbers (xorshift32); the same seed gives the same sequence. */
export function random32(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Zeros, subnormals, powers of two and their neighbours, halves, long runs, the largest, infinities, NaNs; both signs. */
export function corners(format: FloatFormat): readonly bigint[] {
  const { fractionBits, smallestNormal, largestFinite, infinity, canonicalNaN } = format;
  const magnitudes = new Set<bigint>([0n, 1n, 2n, 3n, smallestNormal - 1n, smallestNormal, smallestNormal + 1n]);
  const one = (infinity >> 1n) & ~(smallestNormal - 1n);
  for (const exponent of [1, fractionBits - 1, fractionBits, fractionBits + 1, Math.floor(fractionBits / 2)]) {
    for (const power of [one - BigInt(exponent) * smallestNormal, one + BigInt(exponent) * smallestNormal]) {
      if (power > 0n && power < infinity) for (const near of [power - 1n, power, power + 1n]) magnitudes.add(near);
    }
  }
  for (const near of [one - 1n, one, one + 1n, one + (smallestNormal >> 1n), one + (smallestNormal >> 2n) * 3n])
    magnitudes.add(near);
  for (const top of [largestFinite, largestFinite - 1n, largestFinite - smallestNormal, infinity]) magnitudes.add(top);
  for (const nan of [canonicalNaN, canonicalNaN + 1n, infinity + 1n, canonicalNaN - 1n]) magnitudes.add(nan);
  return [...magnitudes].flatMap((magnitude) => [magnitude, magnitude | format.signBit]);
}

/**
 * Random patterns: half with few significant bits, so that exact results, ties and cancellations happen, and with
 * exponents that often lie close together or at the ends of the range.
 */
export function randomPattern(format: FloatFormat, next: () => number): bigint {
  const { fractionBits, exponentBits } = format;
  const kind = next();
  let fraction = BigInt.asUintN(fractionBits, (BigInt(next()) << 32n) | BigInt(next()));
  if (kind & 1) fraction &= -1n << BigInt(next() % (fractionBits + 1));
  if (kind & 2 && kind & 4) fraction = BigInt.asUintN(fractionBits, ~fraction);
  const range = 2 ** exponentBits;
  const bias = range / 2 - 1;
  const spread = (next() % (2 * fractionBits + 8)) - fractionBits - 4;
  const exponents = [
    next() % range,
    bias + spread,
    bias + (spread >> 3),
    next() & 1 ? next() % 4 : range - 1 - (next() % 4),
  ];
  const exponent = Math.min(range - 1, Math.max(0, exponents[(kind >>> 3) & 3] ?? 0));
  return (kind & 32 ? format.signBit : 0n) | (BigInt(exponent) << BigInt(fractionBits)) | fraction;
}

/** Values at which instructions go wrong: boundaries of every width, and patterns that tell bits and bytes apart. */
import { type FloatFormat, f16, f32, f64 } from '../../base/float/index.ts';
import type { FloatLetter } from '../machine.ts';

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** 64-bit register values. */
export const INTEGERS: readonly bigint[] = [
  ...[0n, 1n, 2n, 3n, -1n, -2n, 31n, 32n, 63n, 64n, 65n, 127n, 128n, 255n, -128n, 0x7fffn, 0x8000n, -0x8000n],
  ...[0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 0x1_0000_0000n, -0x8000_0000n, -0x8000_0001n],
  ...[(1n << 63n) - 1n, 1n << 63n, (1n << 63n) + 1n, 0x8000_0000_8000_0000n],
  ...[0x0123_4567_89ab_cdefn, 0xfedc_ba98_7654_3210n, 0x5555_5555_5555_5555n, 0xaaaa_aaaa_aaaa_aaaan],
  ...[0x0080_00ff_0001_0000n, 0xff00_7f00_0000_8000n],
].map(u64);

/** A few of them, for products. */
export const FEW_INTEGERS: readonly bigint[] = [
  ...[0n, 1n, -1n, 0x8000_0000n, 1n << 63n, 0x0123_4567_89ab_cdefn, 0xfedc_ba98_7654_3210n, 33n],
].map(u64);

const FORMATS: Readonly<Record<FloatLetter, FloatFormat>> = { h: f16, s: f32, d: f64 };

/** Register contents (boxed, and some that are not): zeros, subnormals, normals, ties, limits, infinities, NaNs. */
export function floatRegisters(letter: FloatLetter): readonly bigint[] {
  const format = FORMATS[letter];
  const one = oneOf(format);
  const unit = format.smallestNormal;
  const power = (exponent: bigint): bigint => {
    const pattern = one + exponent * unit;
    return pattern < format.infinity ? pattern : format.largestFinite;
  };
  const positive = [
    ...[
      0n,
      1n,
      unit - 1n,
      unit,
      unit + 1n,
      one,
      one + 1n,
      one - 1n,
      one + unit / 2n,
      one - unit,
      one + unit + unit / 4n,
    ],
    ...[power(31n), power(32n) - 1n, power(63n), power(64n), power(64n) - 1n, format.largestFinite, format.infinity],
    ...[format.canonicalNaN, format.canonicalNaN + 1n, format.infinity + 1n],
  ];
  const patterns = [...positive, ...positive.map((pattern) => pattern | format.signBit)];
  const registers = patterns.map((pattern) => boxed(format, pattern));
  return format === f64 ? registers : [...registers, one, u64(boxed(format, one) ^ (1n << 63n))];
}

/** A few of them, for products of three. */
export function fewFloatRegisters(letter: FloatLetter): readonly bigint[] {
  const format = FORMATS[letter];
  const one = oneOf(format);
  const patterns = [
    ...[0n, format.signBit, 1n, one, (one + 1n) | format.signBit, one + format.smallestNormal / 2n],
    ...[
      format.largestFinite,
      format.infinity,
      format.infinity | format.signBit,
      format.canonicalNaN,
      format.infinity + 1n,
    ],
  ];
  return patterns.map((pattern) => boxed(format, pattern));
}

function oneOf(format: FloatFormat): bigint {
  return BigInt(2 ** (format.exponentBits - 1) - 1) * format.smallestNormal;
}

function boxed(format: FloatFormat, pattern: bigint): bigint {
  return u64(pattern | (-1n << BigInt(format.bits)));
}

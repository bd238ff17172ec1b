/**
 * The binary interchange formats of IEEE 754-2019 (section 3.4) that RISC-V's Zfh, F and D extensions compute in,
 * and what a bit pattern of theirs means. A pattern is an unsigned bigint of the format's width:
 *
 *     bits-1      fractionBits              0
 *     +------+---------------+--------------+
 *     | sign | exponent      | fraction     |      f16: 1+5+10   f32: 1+8+23   f64: 1+11+52
 *     +------+---------------+--------------+
 *
 * Everything in this folder is written for the reader: each operation unpacks its operands into integers, computes
 * the exact result, and rounds once. It is the oracle against which faster implementations are tested. Left out:
 * f128, bfloat16, decimal formats, traps (RISC-V has only sticky flags), and NaN payloads (RISC-V results are the
 * canonical NaN).
 */
import { assert } from '../assert.ts';

/** Accrued exception flags, as fflags holds them (RISC-V manual, F, "Floating-Point Control and Status Register"). */
export const NX = 1;
export const UF = 2;
export const OF = 4;
export const DZ = 8;
export const NV = 16;

/** Rounding modes, as instructions and frm encode them. 5 and 6 are reserved; 7 means "ask frm" and never gets here. */
export const RNE = 0;
export const RTZ = 1;
export const RDN = 2;
export const RUP = 3;
export const RMM = 4;
export type RoundingMode = 0 | 1 | 2 | 3 | 4;
export const ROUNDING_MODES: readonly RoundingMode[] = [RNE, RTZ, RDN, RUP, RMM];

export interface FloatFormat {
  readonly name: 'f16' | 'f32' | 'f64';
  readonly bits: number;
  readonly exponentBits: number;
  readonly fractionBits: number;
  /** The weight of the last place of subnormals and of the smallest normals is 2^leastExponent. */
  readonly leastExponent: number;
  /** The weight of the last place of the largest finite numbers is 2^greatestExponent. */
  readonly greatestExponent: number;
  readonly signBit: bigint;
  readonly infinity: bigint;
  /** Positive, quiet, payload zero: what every operation returns for a NaN. */
  readonly canonicalNaN: bigint;
  readonly largestFinite: bigint;
  readonly smallestNormal: bigint;
}

export const f16: FloatFormat = binary('f16', 5, 10);
export const f32: FloatFormat = binary('f32', 8, 23);
export const f64: FloatFormat = binary('f64', 11, 52);

/** A bit pattern's meaning. A finite number is (-1)^negative * significand * 2^exponent; zeros have significand 0. */
export type Unpacked = NaNOperand | Infinite | Finite;
export interface NaNOperand {
  readonly kind: 'nan';
  readonly negative: boolean;
  readonly signaling: boolean;
}
export interface Infinite {
  readonly kind: 'infinity';
  readonly negative: boolean;
}
export interface Finite {
  readonly kind: 'finite';
  readonly negative: boolean;
  readonly significand: bigint;
  readonly exponent: number;
}

/** What an operation that writes an f register gives: a pattern of its format and the flags to accrue. */
export interface FloatResult {
  readonly bits: bigint;
  readonly flags: number;
}

/** What an operation that writes an x register gives: the 64-bit unsigned register value and the flags to accrue. */
export interface IntegerResult {
  readonly value: bigint;
  readonly flags: number;
}

/** Reads a pattern. `bits` must be unsigned and no wider than the format. */
export function unpack(format: FloatFormat, bits: bigint): Unpacked {
  assert(BigInt.asUintN(format.bits, bits) === bits, `not a pattern of ${format.name}: ${bits}`);
  const negative = (bits & format.signBit) !== 0n;
  const biased = Number((bits & format.infinity) >> BigInt(format.fractionBits));
  const fraction = BigInt.asUintN(format.fractionBits, bits);
  if (biased === 2 ** format.exponentBits - 1) {
    if (fraction === 0n) return { kind: 'infinity', negative };
    return { kind: 'nan', negative, signaling: fraction < quietBit(format) };
  }
  if (biased === 0) return { kind: 'finite', negative, significand: fraction, exponent: format.leastExponent };
  const hidden = 1n << BigInt(format.fractionBits);
  return { kind: 'finite', negative, significand: hidden | fraction, exponent: format.leastExponent + biased - 1 };
}

/** The same magnitude, the sign given: for zeros, infinities and the results of rounding. */
export function signed(format: FloatFormat, negative: boolean, magnitude: bigint): bigint {
  return negative ? magnitude | format.signBit : magnitude;
}

/** The pattern with its sign bit turned; no flags, NaNs included (IEEE 754-2019, 5.5.1). */
export function negate(format: FloatFormat, bits: bigint): bigint {
  return bits ^ format.signBit;
}

/** The canonical NaN; invalid when an operand signals, or when the operation itself is (`invalid`). */
export function nan(format: FloatFormat, operands: readonly Unpacked[], invalid = false): FloatResult {
  const signaling = operands.some((operand) => operand.kind === 'nan' && operand.signaling);
  return { bits: format.canonicalNaN, flags: signaling || invalid ? NV : 0 };
}

function binary(name: FloatFormat['name'], exponentBits: number, fractionBits: number): FloatFormat {
  const bias = 2 ** (exponentBits - 1) - 1;
  const signBit = 1n << BigInt(exponentBits + fractionBits);
  const smallestNormal = 1n << BigInt(fractionBits);
  const infinity = signBit - smallestNormal;
  return {
    name,
    bits: 1 + exponentBits + fractionBits,
    exponentBits,
    fractionBits,
    leastExponent: 1 - bias - fractionBits,
    greatestExponent: bias - fractionBits,
    signBit,
    infinity,
    canonicalNaN: infinity | (1n << BigInt(fractionBits - 1)),
    largestFinite: infinity - 1n,
    smallestNormal,
  };
}

function quietBit(format: FloatFormat): bigint {
  return 1n << BigInt(format.fractionBits - 1);
}

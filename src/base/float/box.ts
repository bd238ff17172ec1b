/**
 * NaN boxing (RISC-V manual, D, "NaN Boxing of Narrower Values"): an f register is 64 bits wide; a narrower value
 * lies in its low bits under ones. Read as that format, a register without those ones is the canonical NaN. Only
 * computing instructions look at the box: stores and moves to integer registers take the low bits as they are.
 *
 *     63                  bits  bits-1        0
 *     +-----------------------+---------------+
 *     | 1 1 1 ... 1 1 1 1 1 1 | the pattern   |
 *     +-----------------------+---------------+
 */
import type { FloatFormat } from './format.ts';

/** The 64-bit register that holds `bits` (a pattern of the format). */
export function box(format: FloatFormat, bits: bigint): bigint {
  return bits | upperOnes(format);
}

/** The operand that a computing instruction of this format reads from a register. */
export function unbox(format: FloatFormat, register: bigint): bigint {
  const boxed = (register & upperOnes(format)) === upperOnes(format);
  return boxed ? BigInt.asUintN(format.bits, register) : format.canonicalNaN;
}

/** FMV.X.H, FMV.X.W, FMV.X.D: the low bits, sign-extended to an integer register; the box is not looked at. */
export function moveToInteger(format: FloatFormat, register: bigint): bigint {
  return BigInt.asUintN(64, BigInt.asIntN(format.bits, register));
}

/** FMV.H.X, FMV.W.X, FMV.D.X: the low bits of an integer register, boxed. */
export function moveFromInteger(format: FloatFormat, value: bigint): bigint {
  return box(format, BigInt.asUintN(format.bits, value));
}

function upperOnes(format: FloatFormat): bigint {
  return (1n << 64n) - (1n << BigInt(format.bits));
}

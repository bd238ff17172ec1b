/**
 * Vocabulary for generated floating-point functions: one format, one function under construction. A function takes
 * the vCPU's block, operands as i64 bit patterns (narrow ones with zeros above) and, where it rounds, the mode;
 * flags are ORed into the block's fflags.
 *
 * A finite number that is not zero is taken apart as in a textbook: sign (in place, at the pattern's sign bit),
 * exponent (biased, may be below 1 for subnormals) and significand with its leading one at bit 62:
 *
 *     63  62                                  0
 *     +---+---+-------------------------------+
 *     | 0 | 1 | fraction, zeros, sticky bit   |      value = significand / 2^62 * 2^(exponent - bias)
 *     +---+---+-------------------------------+
 */
import { type FloatFormat, f16, f32, f64, NV } from '../../base/float/index.ts';
import type { FloatLetter } from '../../isa/index.ts';
import type { F64, FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../../wasm/index.ts';
import { vcpuState } from '../vcpu-state.ts';
import type { Library } from '../wasm-machine.ts';

export const LETTERS: readonly FloatLetter[] = ['h', 's', 'd'];
export const FORMAT: Readonly<Record<FloatLetter, FloatFormat>> = { h: f16, s: f32, d: f64 };

/** Where the leading one of an unpacked significand stands. */
export const LEADING = 62;

/** A finite number, not zero, taken apart. */
export interface Parts {
  readonly sign: I64;
  readonly exponent: I64;
  readonly significand: I64;
}

export class FloatCode {
  readonly f: FunctionBuilder;
  readonly letter: FloatLetter;
  readonly format: FloatFormat;
  readonly library: Library;
  readonly vcpu: Ptr;

  constructor(f: FunctionBuilder, letter: FloatLetter, library: Library) {
    this.f = f;
    this.letter = letter;
    this.format = FORMAT[letter];
    this.library = library;
    this.vcpu = f.param<Ptr>(0).get;
  }

  /** Parameter number `index` after the vCPU's block. */
  operand(index: number): I64 {
    return this.f.param<I64>(index + 1).get;
  }

  constant(value: number | bigint): I64 {
    return this.f.i64.const(value);
  }

  get bias(): number {
    return 2 ** (this.format.exponentBits - 1) - 1;
  }

  /** ORs flags into fflags. */
  raise(flags: number): void {
    this.raiseComputed(this.f.i32.const(flags));
  }

  raiseComputed(flags: I32): void {
    const { i32 } = this.f;
    const at = vcpuState.offset.fflags;
    i32.store(this.vcpu, at, i32.or(i32.load(this.vcpu, at), flags));
  }

  /** A flag that is already up. */
  raised(flag: number): I32 {
    const { i32 } = this.f;
    return i32.and(i32.load(this.vcpu, vcpuState.offset.fflags), i32.const(flag));
  }

  magnitude(a: I64): I64 {
    return this.f.i64.and(a, this.constant(this.format.signBit - 1n));
  }

  sign(a: I64): I64 {
    return this.f.i64.and(a, this.constant(this.format.signBit));
  }

  negate(a: I64): I64 {
    return this.f.i64.xor(a, this.constant(this.format.signBit));
  }

  isZero(a: I64): I32 {
    return this.f.i64.eqz(this.magnitude(a));
  }

  isNaN(a: I64): I32 {
    return this.f.i64.gtU(this.magnitude(a), this.constant(this.format.infinity));
  }

  isInfinite(a: I64): I32 {
    return this.f.i64.eq(this.magnitude(a), this.constant(this.format.infinity));
  }

  /** Infinite or NaN. */
  isSpecial(a: I64): I32 {
    const infinity = this.constant(this.format.infinity);
    return this.f.i64.eq(this.f.i64.and(a, infinity), infinity);
  }

  /** With the quiet bit turned, signaling NaNs alone lie above the canonical one. */
  isSignaling(a: I64): I32 {
    const { i64 } = this.f;
    const { infinity, canonicalNaN } = this.format;
    const turned = i64.xor(this.magnitude(a), this.constant(canonicalNaN ^ infinity));
    return i64.gtU(turned, this.constant(canonicalNaN));
  }

  /** Finite and greater in magnitude than the smallest normal: neither overflow nor underflow can have happened. */
  isSafelyNormal(a: I64): I32 {
    const { i64 } = this.f;
    const { infinity, smallestNormal } = this.format;
    const offset = i64.sub(this.magnitude(a), this.constant(smallestNormal + 1n));
    return i64.ltU(offset, this.constant(infinity - smallestNormal - 1n));
  }

  any(...conditions: readonly I32[]): I32 {
    return conditions.reduce((all, one) => this.f.i32.or(all, one));
  }

  both(a: I32, b: I32): I32 {
    return this.f.i32.and(a, b);
  }

  /** Returns the canonical NaN if an operand is a NaN; invalid if one signals. */
  returnIfNaN(...operands: readonly I64[]): void {
    this.f.if(this.any(...operands.map((a) => this.isNaN(a))), () => {
      this.f.if(this.any(...operands.map((a) => this.isSignaling(a))), () => this.raise(NV));
      this.f.return(this.constant(this.format.canonicalNaN));
    });
  }

  returnInvalid(): void {
    this.raise(NV);
    this.f.return(this.constant(this.format.canonicalNaN));
  }

  /** Takes a finite number, not zero, apart. */
  unpack(a: I64): Parts {
    const { f } = this;
    const { i64 } = f;
    const { fractionBits, exponentBits, smallestNormal } = this.format;
    const exponent = f.local('i64');
    const significand = f.local('i64');
    f.set(significand, i64.and(a, this.constant(smallestNormal - 1n)));
    f.set(exponent, i64.and(i64.shrU(a, this.constant(fractionBits)), this.constant(2 ** exponentBits - 1)));
    f.if(
      i64.eqz(exponent.get),
      () => {
        const shift = f.let(i64.sub(i64.unary('clz', significand.get), this.constant(63 - LEADING)));
        f.set(significand, i64.shl(significand.get, shift));
        f.set(exponent, i64.sub(this.constant(LEADING + 1 - fractionBits), shift));
      },
      () => {
        const whole = i64.or(significand.get, this.constant(smallestNormal));
        f.set(significand, i64.shl(whole, this.constant(LEADING - fractionBits)));
      },
      'unlikely',
    );
    return { sign: f.let(this.sign(a)), exponent: exponent.get, significand: significand.get };
  }

  /** Rounds and packs (see round.ts) and returns the result. */
  returnRounded({ sign, exponent, significand }: Parts, mode: I64): void {
    const rounding = this.library.get(roundName(this.letter));
    this.f.return(this.f.call(rounding, this.vcpu, sign, exponent, significand, mode));
  }

  /** Shifts right by 0 or more; if ones fall out, bit 0 is set. `a` is below 2^63. */
  shiftRightSticky(a: I64, count: I64): I64 {
    const { f } = this;
    const { i64 } = f;
    const shift = f.let(f.select(i64.gtU(count, this.constant(63)), this.constant(63), count));
    const lost = i64.and(a, i64.sub(i64.shl(this.constant(1), shift), this.constant(1)));
    return f.let(i64.or(i64.shrU(a, shift), this.bit(i64.ne(lost, this.constant(0)))));
  }

  /** Shifts right by one; if a one falls out, bit 0 is set. */
  halveSticky(a: I64): I64 {
    const { i64 } = this.f;
    return i64.or(i64.shrU(a, this.constant(1)), i64.and(a, this.constant(1)));
  }

  bit(condition: I32): I64 {
    return this.f.convert('i64_extend_i32_u', condition);
  }

  /** The operand's value as an f64, exactly; a NaN stays one, its signaling bit perhaps not. */
  toDouble(a: I64): F64 {
    const { f } = this;
    if (this.letter === 'd') return f.convert('f64_reinterpret_i64', a);
    if (this.letter === 'h') return f.call(this.library.get('half_to_double'), a) as F64;
    return f.convert('f64_promote_f32', f.convert('f32_reinterpret_i32', f.convert('i32_wrap_i64', a)));
  }
}

export function roundName(letter: FloatLetter): string {
  return `round_${letter}`;
}

/** Defines a library function of (vCPU block, `operands` times i64) -> i64 for one format. */
export function defineFloatFunction(
  module: ModuleBuilder,
  library: Library,
  letter: FloatLetter,
  name: string,
  operands: number,
  body: (code: FloatCode) => void,
): FunctionRef {
  const params = [module.pointerType, ...new Array<'i64'>(operands).fill('i64')];
  const ref = module.function(name, params, ['i64'], (f) => body(new FloatCode(f, letter, library)));
  library.set(name, ref);
  return ref;
}

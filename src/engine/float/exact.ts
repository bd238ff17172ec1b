/**
 * Exact addition, multiplication, division and square root in generated code, for every operand, mode and format:
 * the path that fast.ts falls back to. Integer arithmetic on unpacked significands with a sticky bit; see
 * base/float/arithmetic.ts for the same operations written for the reader.
 */
import { DZ, RDN } from '../../base/float/index.ts';
import type { FloatLetter } from '../../isa/index.ts';
import type { I64, Local, ModuleBuilder } from '../../wasm/index.ts';
import type { Library } from '../wasm-machine.ts';
import { defineFloatFunction, type FloatCode, LEADING, type Parts } from './float-code.ts';

type Word = Local<I64>;

export function defineExact(module: ModuleBuilder, library: Library, letter: FloatLetter): void {
  defineSum(module, library, letter);
  defineFloatFunction(module, library, letter, `exact_add_${letter}`, 3, add);
  defineFloatFunction(module, library, letter, `exact_multiply_${letter}`, 3, multiply);
  defineFloatFunction(module, library, letter, `exact_divide_${letter}`, 3, divide);
  defineFloatFunction(module, library, letter, `exact_squareRoot_${letter}`, 2, squareRoot);
}

/** sum_x(vcpu, sign, exponent, significand, sign, exponent, significand, mode): two numbers, neither zero, in parts. */
function defineSum(module: ModuleBuilder, library: Library, letter: FloatLetter): void {
  defineFloatFunction(module, library, letter, `sum_${letter}`, 7, (code) => {
    const { f } = code;
    const { i64, i32 } = f;
    const [signA, exponentA, significandA] = [1, 2, 3].map((i) => f.param<I64>(i)) as [Word, Word, Word];
    const [signB, exponentB, significandB] = [4, 5, 6].map((i) => f.param<I64>(i)) as [Word, Word, Word];
    const mode = code.operand(6);
    const exponentsEqual = i64.eq(exponentA.get, exponentB.get);
    const less = code.both(exponentsEqual, i64.ltU(significandA.get, significandB.get));
    f.if(i32.or(i64.ltS(exponentA.get, exponentB.get), less), () => {
      for (const [a, b] of [
        [signA, signB],
        [exponentA, exponentB],
        [significandA, significandB],
      ] as const) {
        const keep = f.let(a.get);
        f.set(a, b.get);
        f.set(b, keep);
      }
    });
    const aligned = code.shiftRightSticky(significandB.get, f.let(i64.sub(exponentA.get, exponentB.get)));
    f.if(
      i64.eq(signA.get, signB.get),
      () => {
        const total = f.let(i64.add(significandA.get, aligned));
        f.if(i64.ltS(total, code.constant(0)), () => {
          const exponent = i64.add(exponentA.get, code.constant(1));
          code.returnRounded({ sign: signA.get, exponent, significand: code.halveSticky(total) }, mode);
        });
        code.returnRounded({ sign: signA.get, exponent: exponentA.get, significand: total }, mode);
      },
      () => {
        const difference = f.let(i64.sub(significandA.get, aligned));
        f.if(i64.eqz(difference), () => f.return(zeroOfDifference(code, mode)));
        const shift = f.let(i64.sub(i64.unary('clz', difference), code.constant(63 - LEADING)));
        const exponent = i64.sub(exponentA.get, shift);
        code.returnRounded({ sign: signA.get, exponent, significand: i64.shl(difference, shift) }, mode);
      },
    );
    f.unreachable();
  });
}

/** The sign of x - x: + except when rounding down. */
export function zeroOfDifference(code: FloatCode, mode: I64): I64 {
  const { f } = code;
  return f.select(f.i64.eq(mode, code.constant(RDN)), code.constant(code.format.signBit), code.constant(0));
}

/** Calls sum_x and returns its result. */
export function returnSum(code: FloatCode, x: Parts, y: Parts, mode: I64): void {
  const { f, library, letter, vcpu } = code;
  const sum = library.get(`sum_${letter}`);
  const result = f.call(sum, vcpu, x.sign, x.exponent, x.significand, y.sign, y.exponent, y.significand, mode);
  f.return(result);
}

function add(code: FloatCode): void {
  const { f } = code;
  const { i64, i32 } = f;
  const [a, b, mode] = [code.operand(0), code.operand(1), code.operand(2)];
  f.if(i32.or(code.isSpecial(a), code.isSpecial(b)), () => {
    code.returnIfNaN(a, b);
    const opposite = i64.eq(i64.xor(a, b), code.constant(code.format.signBit));
    f.if(opposite, () => code.returnInvalid());
    f.return(f.select(code.isInfinite(a), a, b));
  });
  f.if(code.isZero(a), () => {
    f.if(i32.eqz(code.isZero(b)), () => f.return(b));
    f.return(f.select(i64.eq(a, b), a, zeroOfDifference(code, mode)));
  });
  f.if(code.isZero(b), () => f.return(a));
  returnSum(code, code.unpack(a), code.unpack(b), mode);
}

function multiply(code: FloatCode): void {
  const { f } = code;
  const { i32 } = f;
  const [a, b, mode] = [code.operand(0), code.operand(1), code.operand(2)];
  const sign = f.let(code.sign(f.i64.xor(a, b)));
  f.if(i32.or(code.isSpecial(a), code.isSpecial(b)), () => {
    code.returnIfNaN(a, b);
    f.if(i32.or(code.isZero(a), code.isZero(b)), () => code.returnInvalid());
    f.return(f.i64.or(sign, code.constant(code.format.infinity)));
  });
  f.if(i32.or(code.isZero(a), code.isZero(b)), () => f.return(sign));
  code.returnRounded(product(code, sign, a, b), mode);
}

/** The product's high part with the rest as a sticky bit; exact for h and s, whose products fit. */
function product(code: FloatCode, sign: I64, a: I64, b: I64): Parts {
  const { f } = code;
  const { i64 } = f;
  if (code.letter !== 'd') return narrowProduct(code, sign, a, b);
  const { exponent, high, low } = wideProduct(code, a, b);
  return { sign, exponent, significand: f.let(i64.or(high, code.bit(i64.ne(low, code.constant(0))))) };
}

/** Exact product of significands of at most 24 bits. */
export function narrowProduct(code: FloatCode, sign: I64, a: I64, b: I64): Parts {
  const { f } = code;
  const { i64 } = f;
  const x = code.unpack(a);
  const y = code.unpack(b);
  const half = code.constant(31);
  const significand = f.local('i64');
  const exponent = f.local('i64');
  f.set(significand, i64.mul(i64.shrU(x.significand, half), i64.shrU(y.significand, half)));
  f.set(exponent, i64.sub(i64.add(x.exponent, y.exponent), code.constant(code.bias)));
  f.if(i64.ltS(significand.get, code.constant(0)), () => {
    f.set(significand, i64.shrU(significand.get, code.constant(1)));
    f.set(exponent, i64.add(exponent.get, code.constant(1)));
  });
  return { sign, exponent: exponent.get, significand: significand.get };
}

/** Exact 128-bit product; the leading one is at bit 62 of `high`. At least the 20 lowest bits of `low` are zero. */
export function wideProduct(code: FloatCode, a: I64, b: I64): { exponent: I64; high: I64; low: I64 } {
  const { f } = code;
  const { i64 } = f;
  const x = code.unpack(a);
  const y = code.unpack(b);
  const one = code.constant(1);
  const p = f.let(i64.shl(x.significand, one));
  const q = f.let(i64.shl(y.significand, one));
  const high = f.local('i64');
  const low = f.local('i64');
  const exponent = f.local('i64');
  f.set(high, f.call(code.library.get('mulhu'), p, q) as I64);
  f.set(low, i64.mul(p, q));
  f.set(exponent, i64.sub(i64.add(x.exponent, y.exponent), code.constant(code.bias)));
  f.if(i64.ltS(high.get, code.constant(0)), () => {
    f.set(low, i64.or(i64.shrU(low.get, one), i64.shl(high.get, code.constant(63))));
    f.set(high, i64.shrU(high.get, one));
    f.set(exponent, i64.add(exponent.get, one));
  });
  return { exponent: exponent.get, high: high.get, low: low.get };
}

function divide(code: FloatCode): void {
  const { f, format } = code;
  const { i64, i32 } = f;
  const [a, b, mode] = [code.operand(0), code.operand(1), code.operand(2)];
  const sign = f.let(code.sign(i64.xor(a, b)));
  const infinity = i64.or(sign, code.constant(format.infinity));
  f.if(i32.or(code.isSpecial(a), code.isSpecial(b)), () => {
    code.returnIfNaN(a, b);
    f.if(code.both(code.isInfinite(a), code.isInfinite(b)), () => code.returnInvalid());
    f.return(f.select(code.isInfinite(a), infinity, sign));
  });
  f.if(code.isZero(b), () => {
    f.if(code.isZero(a), () => code.returnInvalid());
    code.raise(DZ);
    f.return(infinity);
  });
  f.if(code.isZero(a), () => f.return(sign));

  const x = code.unpack(a);
  const y = code.unpack(b);
  // Significands as integers of the format's precision; the dividend doubled where it is the lesser, so that the
  // quotient lies in [1, 2).
  const spare = code.constant(LEADING - format.fractionBits);
  const lesser = f.let(code.bit(i64.ltU(x.significand, y.significand)));
  const dividend = f.let(i64.shl(i64.shrU(x.significand, spare), lesser));
  const divisor = f.let(i64.shrU(y.significand, spare));
  const exponent = i64.sub(i64.add(i64.sub(x.exponent, y.exponent), code.constant(code.bias)), lesser);
  const significand = code.letter === 'd' ? quotient53(code, dividend, divisor) : quotient39(code, dividend, divisor);
  code.returnRounded({ sign, exponent, significand }, mode);
}

/** For h and s one integer division gives 39 bits and a remainder. */
function quotient39(code: FloatCode, dividend: I64, divisor: I64): I64 {
  const { f } = code;
  const { i64 } = f;
  const shifted = f.let(i64.shl(dividend, code.constant(38)));
  const quotient = f.let(i64.op('div_u', shifted, divisor));
  const inexact = code.bit(i64.ne(i64.mul(quotient, divisor), shifted));
  return i64.or(i64.shl(quotient, code.constant(LEADING - 38)), inexact);
}

/**
 * For d the host divides to 53 bits; the remainder, which is less than a divisor in magnitude, is exact modulo 2^64,
 * and corrects the quotient to the one below and gives its next bit and the sticky one.
 */
function quotient53(code: FloatCode, dividend: I64, divisor: I64): I64 {
  const { f } = code;
  const { i64 } = f;
  const ratio = f.f64.op('div', f.convert('f64_convert_i64_u', dividend), f.convert('f64_convert_i64_u', divisor));
  const quotient = f.local('i64');
  const remainder = f.local('i64');
  f.set(quotient, f.convert('i64_trunc_sat_f64_u', f.f64.op('mul', ratio, f.f64.const(2 ** 52))));
  f.set(remainder, i64.sub(i64.shl(dividend, code.constant(52)), i64.mul(quotient.get, divisor)));
  f.if(i64.ltS(remainder.get, code.constant(0)), () => {
    f.set(quotient, i64.sub(quotient.get, code.constant(1)));
    f.set(remainder, i64.add(remainder.get, divisor));
  });
  const twice = f.let(i64.shl(remainder.get, code.constant(1)));
  const next = f.let(code.bit(i64.geU(twice, divisor)));
  const rest = i64.ne(f.select(i64.eqz(next), twice, i64.sub(twice, divisor)), code.constant(0));
  return withNextBit(code, quotient.get, next, code.bit(rest));
}

/** 53 bits, the next one, and whether anything follows. */
function withNextBit(code: FloatCode, whole: I64, next: I64, rest: I64): I64 {
  const { i64 } = code.f;
  const tail = i64.or(i64.shl(next, code.constant(LEADING - 53)), rest);
  return i64.or(i64.shl(whole, code.constant(LEADING - 52)), tail);
}

function squareRoot(code: FloatCode): void {
  const { f, format } = code;
  const { i64 } = f;
  const [a, mode] = [code.operand(0), code.operand(1)];
  code.returnIfNaN(a);
  f.if(code.isZero(a), () => f.return(a));
  f.if(i64.ne(code.sign(a), code.constant(0)), () => code.returnInvalid());
  f.if(code.isInfinite(a), () => f.return(a));

  const x = code.unpack(a);
  // Unbiased exponent e = 2h + odd; the root of significand * 2^odd lies in [1, 2), its exponent is h.
  const unbiased = f.let(i64.sub(x.exponent, code.constant(code.bias)));
  const odd = f.let(i64.and(unbiased, code.constant(1)));
  const exponent = i64.add(i64.shrS(unbiased, code.constant(1)), code.constant(code.bias));
  const integer = i64.shrU(x.significand, code.constant(LEADING - format.fractionBits));
  const radicand = f.let(i64.shl(integer, odd));
  const significand = code.letter === 'd' ? root53(code, radicand) : root26(code, radicand);
  code.returnRounded({ sign: code.constant(0), exponent, significand }, mode);
}

/** For h and s: 26 bits of the root of a 51- or 52-bit number, which an f64 holds. */
function root26(code: FloatCode, radicand: I64): I64 {
  const { f, format } = code;
  const { i64 } = f;
  const square = f.let(i64.shl(radicand, code.constant(50 - format.fractionBits)));
  const root = f.local('i64');
  const estimate = f.f64.unary('sqrt', f.convert('f64_convert_i64_u', square));
  f.set(root, f.convert('i64_trunc_sat_f64_u', estimate));
  const inexact = code.bit(i64.ne(i64.mul(root.get, root.get), square));
  return i64.or(i64.shl(root.get, code.constant(LEADING - 25)), inexact);
}

/** For d: the host's root of 53 bits, corrected downwards by its exact remainder, as in quotient53. */
function root53(code: FloatCode, radicand: I64): I64 {
  const { f } = code;
  const { i64 } = f;
  const root = f.local('i64');
  const remainder = f.local('i64');
  const scaled = f.f64.op('mul', f.convert('f64_convert_i64_u', radicand), f.f64.const(2 ** 52));
  f.set(root, f.convert('i64_trunc_sat_f64_u', f.f64.unary('sqrt', scaled)));
  f.set(remainder, i64.sub(i64.shl(radicand, code.constant(52)), i64.mul(root.get, root.get)));
  f.if(i64.ltS(remainder.get, code.constant(0)), () => {
    f.set(root, i64.sub(root.get, code.constant(1)));
    const step = i64.or(i64.shl(root.get, code.constant(1)), code.constant(1));
    f.set(remainder, i64.add(remainder.get, step));
  });
  // (root + 1/2)^2 = root^2 + root + 1/4: above it when the remainder exceeds the root. It is never met.
  const next = code.bit(i64.compare('gt_s', remainder.get, root.get));
  return withNextBit(code, root.get, next, code.bit(i64.ne(remainder.get, code.constant(0))));
}

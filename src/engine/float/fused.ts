/**
 * Exact fused multiply-add in generated code: the product is kept whole (128 bits for d, 64 for s and h), the addend
 * aligned to it with a sticky bit, and the sum rounded once.
 */
import { NV } from '../../base/float/index.ts';
import type { FloatLetter } from '../../isa/index.ts';
import type { I64, Local, ModuleBuilder } from '../../wasm/index.ts';
import type { Library } from '../wasm-machine.ts';
import { narrowProduct, returnSum, wideProduct, zeroOfDifference } from './exact.ts';
import { defineFloatFunction, type FloatCode } from './float-code.ts';

/** exact_multiplyAdd_x(vcpu, a, b, c, mode). */
export function defineFused(module: ModuleBuilder, library: Library, letter: FloatLetter): void {
  defineFloatFunction(module, library, letter, `exact_multiplyAdd_${letter}`, 4, (code) => {
    const { f } = code;
    const { i64, i32 } = f;
    const [a, b, c] = [code.operand(0), code.operand(1), code.operand(2)];
    const mode = code.operand(3);
    const sign = f.let(code.sign(i64.xor(a, b)));
    f.if(code.any(code.isSpecial(a), code.isSpecial(b), code.isSpecial(c)), () => returnSpecial(code, sign, a, b, c));
    f.if(i32.or(code.isZero(a), code.isZero(b)), () => {
      f.if(i32.eqz(code.isZero(c)), () => f.return(c));
      f.return(f.select(i64.eq(sign, c), c, zeroOfDifference(code, mode)));
    });
    if (letter === 'd') {
      returnWide(code, sign, a, b, c, mode);
    } else {
      const product = narrowProduct(code, sign, a, b);
      f.if(code.isZero(c), () => code.returnRounded(product, mode));
      returnSum(code, product, code.unpack(c), mode);
    }
  });
}

/** At least one operand is infinite or NaN. Zero times infinity is invalid whatever c is. */
function returnSpecial(code: FloatCode, sign: I64, a: I64, b: I64, c: I64): void {
  const { f, format } = code;
  const { i64, i32 } = f;
  const zeroTimesInfinity = i32.or(
    code.both(code.isZero(a), code.isInfinite(b)),
    code.both(code.isInfinite(a), code.isZero(b)),
  );
  f.if(zeroTimesInfinity, () => code.raise(NV));
  code.returnIfNaN(a, b, c);
  f.if(zeroTimesInfinity, () => f.return(code.constant(format.canonicalNaN)));
  const product = f.let(i64.or(sign, code.constant(format.infinity)));
  f.if(i32.or(code.isInfinite(a), code.isInfinite(b)), () => {
    const opposite = i64.eq(i64.xor(product, c), code.constant(format.signBit));
    f.if(opposite, () => code.returnInvalid());
    f.return(product);
  });
  f.return(c);
}

/** 128-bit significands: the leading one at bit 62 of the high word. */
interface Wide {
  readonly sign: Local<I64>;
  readonly exponent: Local<I64>;
  readonly high: Local<I64>;
  readonly low: Local<I64>;
}

function returnWide(code: FloatCode, sign: I64, a: I64, b: I64, c: I64, mode: I64): void {
  const { f } = code;
  const { i64, i32 } = f;
  const zero = code.constant(0);
  const x = wide(code);
  const y = wide(code);
  const product = wideProduct(code, a, b);
  f.set(x.sign, sign);
  f.set(x.exponent, product.exponent);
  f.set(x.high, product.high);
  f.set(x.low, product.low);
  const sticky = (high: I64, low: I64): I64 => i64.or(high, code.bit(i64.ne(low, zero)));
  f.if(code.isZero(c), () => {
    code.returnRounded({ sign, exponent: x.exponent.get, significand: sticky(x.high.get, x.low.get) }, mode);
  });
  const addend = code.unpack(c);
  f.set(y.sign, addend.sign);
  f.set(y.exponent, addend.exponent);
  f.set(y.high, addend.significand);
  f.set(y.low, zero);

  // The greater first. With equal high words the product, which has low bits, is not the lesser.
  const less = code.both(i64.eq(x.exponent.get, y.exponent.get), i64.ltU(x.high.get, y.high.get));
  f.if(i32.or(i64.ltS(x.exponent.get, y.exponent.get), less), () => swap(code, x, y));
  shiftRightSticky(code, y, f.let(i64.sub(x.exponent.get, y.exponent.get)));

  f.if(i64.eq(x.sign.get, y.sign.get), () => {
    const low = f.let(i64.add(x.low.get, y.low.get));
    const carry = code.bit(i64.ltU(low, y.low.get));
    const high = f.let(i64.add(i64.add(x.high.get, y.high.get), carry));
    f.if(i64.ltS(high, zero), () => {
      const significand = i64.or(code.halveSticky(high), code.bit(i64.ne(low, zero)));
      const exponent = i64.add(x.exponent.get, code.constant(1));
      code.returnRounded({ sign: x.sign.get, exponent, significand }, mode);
    });
    code.returnRounded({ sign: x.sign.get, exponent: x.exponent.get, significand: sticky(high, low) }, mode);
  });

  const borrow = code.bit(i64.ltU(x.low.get, y.low.get));
  f.set(x.high, i64.sub(i64.sub(x.high.get, y.high.get), borrow));
  f.set(x.low, i64.sub(x.low.get, y.low.get));
  f.if(i64.eqz(i64.or(x.high.get, x.low.get)), () => f.return(zeroOfDifference(code, mode)));
  f.if(i64.eqz(x.high.get), () => {
    // All of the high word cancelled: nothing was shifted out, and the low word's last bits are zero.
    f.set(x.high, i64.shrU(x.low.get, code.constant(1)));
    f.set(x.low, zero);
    f.set(x.exponent, i64.sub(x.exponent.get, code.constant(63)));
  });
  const shift = f.let(i64.sub(i64.unary('clz', x.high.get), code.constant(1)));
  // In two steps, because a shift by 64 would be none.
  const fill = i64.shrU(i64.shrU(x.low.get, code.constant(1)), i64.sub(code.constant(63), shift));
  const high = f.let(i64.or(i64.shl(x.high.get, shift), fill));
  const significand = sticky(high, i64.shl(x.low.get, shift));
  code.returnRounded({ sign: x.sign.get, exponent: i64.sub(x.exponent.get, shift), significand }, mode);
}

function wide(code: FloatCode): Wide {
  const { f } = code;
  return { sign: f.local('i64'), exponent: f.local('i64'), high: f.local('i64'), low: f.local('i64') };
}

function swap(code: FloatCode, x: Wide, y: Wide): void {
  const { f } = code;
  for (const part of ['sign', 'exponent', 'high', 'low'] as const) {
    const keep = f.let(x[part].get);
    f.set(x[part], y[part].get);
    f.set(y[part], keep);
  }
}

function shiftRightSticky(code: FloatCode, y: Wide, count: I64): void {
  const { f } = code;
  const { i64 } = f;
  const one = code.constant(1);
  const shift = f.let(f.select(i64.gtU(count, code.constant(127)), code.constant(127), count));
  const lost = f.local('i64');
  f.if(
    i64.ltU(shift, code.constant(64)),
    () => {
      f.set(lost, i64.and(y.low.get, i64.sub(i64.shl(one, shift), one)));
      const fill = i64.shl(i64.shl(y.high.get, one), i64.sub(code.constant(63), shift));
      f.set(y.low, i64.or(i64.shrU(y.low.get, shift), fill));
      f.set(y.high, i64.shrU(y.high.get, shift));
    },
    () => {
      // Wasm takes the count modulo 64.
      f.set(lost, i64.or(y.low.get, i64.and(y.high.get, i64.sub(i64.shl(one, shift), one))));
      f.set(y.low, i64.shrU(y.high.get, shift));
      f.set(y.high, code.constant(0));
    },
  );
  f.set(y.low, i64.or(y.low.get, code.bit(i64.ne(lost.get, code.constant(0)))));
}

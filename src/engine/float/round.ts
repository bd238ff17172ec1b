/**
 * Rounding and packing in generated code (the counterpart of base/float/round.ts): from sign, exponent and a
 * significand with guard bits to a pattern, with overflow, underflow (tininess after rounding) and inexact raised.
 */
import { NX, OF, RDN, RNE, RUP, UF } from '../../base/float/index.ts';
import type { FloatLetter } from '../../isa/index.ts';
import type { I64, ModuleBuilder } from '../../wasm/index.ts';
import type { Library } from '../wasm-machine.ts';
import { defineFloatFunction, type FloatCode, LEADING, roundName } from './float-code.ts';

/** round_x(vcpu, sign, exponent, significand, mode). The significand's leading one is at bit 62. */
export function defineRound(module: ModuleBuilder, library: Library, letter: FloatLetter): void {
  defineFloatFunction(module, library, letter, roundName(letter), 4, (code) => {
    const { f, format } = code;
    const { i64, i32 } = f;
    const sign = code.operand(0);
    const exponent = f.param<I64>(2);
    const significand = f.param<I64>(3);
    const mode = code.operand(3);
    const drop = LEADING - format.fractionBits;
    const half = code.constant(1n << BigInt(drop - 1));
    const mask = code.constant((1n << BigInt(drop)) - 1n);

    const increment = f.let(incrementOf(code, sign, mode, half, mask));
    const underflow = f.local('i32');
    f.if(
      i64.compare('le_s', exponent.get, code.constant(0)),
      () => {
        // Not tiny only if the carry of rounding at full precision reaches the smallest normal.
        const carries = i64.ltS(i64.add(significand.get, increment), code.constant(0));
        const tiny = i32.or(i64.ne(exponent.get, code.constant(0)), i32.eqz(carries));
        f.set(underflow, f.select(tiny, i32.const(UF), i32.const(0)));
        const shift = f.let(i64.sub(code.constant(1), exponent.get));
        f.set(significand, code.shiftRightSticky(significand.get, shift));
        f.set(exponent, code.constant(1));
      },
      undefined,
      'unlikely',
    );
    const rest = f.let(i64.and(significand.get, mask));
    const tie = code.both(i64.eq(rest, half), i64.eq(mode, code.constant(RNE)));
    const count = i64.shrU(i64.add(significand.get, increment), code.constant(drop));
    const even = i64.and(count, i64.xor(code.bit(tie), code.constant(-1)));
    // The hidden bit adds one to the exponent field, as does a carry out of the fraction.
    const field = i64.shl(i64.sub(exponent.get, code.constant(1)), code.constant(format.fractionBits));
    const magnitude = f.let(i64.add(even, field));

    const infinity = code.constant(format.infinity);
    const tooGreat = i64.compare('gt_s', exponent.get, code.constant(2 ** format.exponentBits - 2));
    f.if(
      i32.or(tooGreat, i64.geU(magnitude, infinity)),
      () => {
        code.raise(OF | NX);
        const towardsZero = i64.eqz(increment);
        f.return(i64.or(sign, f.select(towardsZero, code.constant(format.largestFinite), infinity)));
      },
      undefined,
      'unlikely',
    );
    f.if(i64.ne(rest, code.constant(0)), () => code.raiseComputed(i32.or(underflow.get, i32.const(NX))));
    f.return(i64.or(sign, magnitude));
  });
}

/** What to add below the last place before cutting off: a half to nearest, nothing, or all ones away from zero. */
function incrementOf(code: FloatCode, sign: I64, mode: I64, half: I64, mask: I64): I64 {
  const { f } = code;
  const { i64 } = f;
  const nearest = i64.eqz(i64.and(mode, code.constant(3)));
  const away = f.select(i64.eqz(sign), code.constant(RUP), code.constant(RDN));
  return f.select(nearest, half, f.select(i64.eq(mode, away), mask, code.constant(0)));
}

/**
 * The arithmetic functions that generated code calls. Each tries the host's own instruction first, which rounds to
 * nearest even as IEEE 754 says, and is taken at its word when
 *   - the mode is RNE,
 *   - the result is neither NaN nor infinite and, where that is possible, not so small that it may have underflowed,
 *   - NX is already up in fflags, or the result is proved exact.
 * Everything else goes to the exact functions. So inexactness costs nothing once NX is sticky, which it is soon in
 * most programs; the first inexact operation takes the slow path and raises it. No proof of exactness here may err
 * on the side of exactness; erring on the other side costs only time.
 *
 * f16 has no fast path: the host has no such instructions.
 */
import { NX, RNE } from '../../base/float/index.ts';
import type { FloatLetter } from '../../isa/index.ts';
import type { F32, F64, FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder } from '../../wasm/index.ts';
import type { Library } from '../wasm-machine.ts';
import { defineFloatFunction, type FloatCode } from './float-code.ts';

/** The host's instructions of one format. Values come from `from` and `op` of the same host, so they fit its type. */
interface Host {
  from(bits: I64): F32 | F64;
  to(value: F32 | F64): I64;
  op(name: 'add' | 'sub' | 'mul' | 'div', a: F32 | F64, b: F32 | F64): F32 | F64;
  sqrt(a: F32 | F64): F32 | F64;
  isZero(a: F32 | F64): I32;
}

/** Defines add, subtract, multiply, divide, squareRoot, multiplyAdd and its relatives; without `fast`, all exact. */
export function defineArithmeticFunctions(
  module: ModuleBuilder,
  library: Library,
  letter: FloatLetter,
  { fast, fused }: { readonly fast: boolean; readonly fused: boolean },
): void {
  const define = (name: string, operands: number, body: (code: FloatCode, values: readonly I64[], mode: I64) => void) =>
    defineFloatFunction(module, library, letter, `${name}_${letter}`, operands + 1, (code) => {
      const values = Array.from({ length: operands }, (_, i) => code.operand(i));
      body(code, values, code.operand(operands));
    });
  const exact = (name: string): FunctionRef => library.get(`exact_${name}_${letter}`);
  const tries = fast && letter !== 'h';

  for (const name of ['add', 'subtract'] as const) {
    define(name, 2, (code, [a, b], mode) => {
      const addend = name === 'add' ? (b as I64) : code.f.let(code.negate(b as I64));
      if (tries) tryAdd(code, a as I64, addend, mode);
      code.f.return(code.f.call(exact('add'), code.vcpu, a as I64, addend, mode));
    });
  }
  for (const [name, attempt] of [
    ['multiply', tryMultiply],
    ['divide', tryDivide],
  ] as const) {
    define(name, 2, (code, [a, b], mode) => {
      if (tries) attempt(code, a as I64, b as I64, mode);
      code.f.return(code.f.call(exact(name), code.vcpu, a as I64, b as I64, mode));
    });
  }
  define('squareRoot', 1, (code, [a], mode) => {
    if (tries) trySquareRoot(code, a as I64, mode);
    code.f.return(code.f.call(exact('squareRoot'), code.vcpu, a as I64, mode));
  });
  // The negated forms turn operands' signs (base/float/arithmetic.ts says which).
  const forms = [
    ['multiplyAdd', false, false],
    ['multiplySubtract', false, true],
    ['negatedMultiplySubtract', true, false],
    ['negatedMultiplyAdd', true, true],
  ] as const;
  for (const [name, turnsProduct, turnsAddend] of forms) {
    define(name, 3, (code, [a, b, c], mode) => {
      const factor = turnsProduct ? code.f.let(code.negate(a as I64)) : (a as I64);
      const addend = turnsAddend ? code.f.let(code.negate(c as I64)) : (c as I64);
      if (tries && fused) tryMultiplyAdd(code, factor, b as I64, addend, mode);
      else if (tries && letter === 's') tryMultiplyAddSingle(code, factor, b as I64, addend, mode);
      code.f.return(code.f.call(exact('multiplyAdd'), code.vcpu, factor, b as I64, addend, mode));
    });
  }
}

/** Finite sums never underflow (what is tiny is exact); the rounding error is a number, and Knuth's TwoSum gives it. */
function tryAdd(code: FloatCode, a: I64, b: I64, mode: I64): void {
  const { f } = code;
  whenNearest(code, mode, () => {
    const host = hostOf(code);
    const x = f.let(host.from(a));
    const y = f.let(host.from(b));
    const sum = f.let(host.op('add', x, y));
    const bits = f.let(host.to(sum));
    f.if(f.i32.eqz(code.isSpecial(bits)), () => {
      returnIfInexactIsUp(code, bits);
      const rest = f.let(host.op('sub', sum, x));
      const error = host.op('add', host.op('sub', x, host.op('sub', sum, rest)), host.op('sub', y, rest));
      f.if(host.isZero(error), () => f.return(bits));
    });
  });
}

function tryMultiply(code: FloatCode, a: I64, b: I64, mode: I64): void {
  const { f } = code;
  whenNearest(code, mode, () => {
    const host = hostOf(code);
    const bits = f.let(host.to(host.op('mul', host.from(a), host.from(b))));
    f.if(code.isSafelyNormal(bits), () => {
      returnIfInexactIsUp(code, bits);
      const exact =
        code.letter === 's'
          ? f.f64.compare('eq', code.toDouble(bits), f.f64.op('mul', code.toDouble(a), code.toDouble(b)))
          : fitsDouble(code, a, b);
      f.if(exact, () => f.return(bits));
    });
  });
}

function tryDivide(code: FloatCode, a: I64, b: I64, mode: I64): void {
  const { f } = code;
  whenNearest(code, mode, () => {
    const host = hostOf(code);
    const bits = f.let(host.to(host.op('div', host.from(a), host.from(b))));
    f.if(code.isSafelyNormal(bits), () => {
      returnIfInexactIsUp(code, bits);
      const back = f.f64.op('mul', code.toDouble(bits), code.toDouble(b));
      f.if(
        returnsExactly(code, back, a, () => fitsDouble(code, bits, b)),
        () => f.return(bits),
      );
    });
  });
}

/** Roots of what is not below zero neither overflow nor underflow. */
function trySquareRoot(code: FloatCode, a: I64, mode: I64): void {
  const { f } = code;
  whenNearest(code, mode, () => {
    f.if(code.isSafelyNormal(a), () => {
      f.if(f.i64.eqz(code.sign(a)), () => {
        const host = hostOf(code);
        const bits = f.let(host.to(host.sqrt(host.from(a))));
        returnIfInexactIsUp(code, bits);
        const root = f.let(code.toDouble(bits));
        f.if(
          returnsExactly(code, f.f64.op('mul', root, root), a, () => fitsDouble(code, bits, bits)),
          () => {
            f.return(bits);
          },
        );
      });
    });
  });
}

/** Where the host's relaxed multiply-add is fused (see probe.ts). */
function tryMultiplyAdd(code: FloatCode, a: I64, b: I64, c: I64, mode: I64): void {
  const { f } = code;
  whenNearest(code, mode, () => {
    const host = hostOf(code);
    const bits = f.let(host.to(f.relaxedMultiplyAdd(host.from(a), host.from(b), host.from(c))));
    f.if(code.isSafelyNormal(bits), () => {
      returnIfInexactIsUp(code, bits);
      // Exact if the product is, and then the sum with it, and that rounds to nothing less.
      const product = f.let(f.f64.op('mul', code.toDouble(a), code.toDouble(b)));
      const addend = f.let(code.toDouble(c));
      const sum = f.let(f.f64.op('add', product, addend));
      const rest = f.let(f.f64.op('sub', sum, product));
      const error = f.f64.op(
        'add',
        f.f64.op('sub', product, f.f64.op('sub', sum, rest)),
        f.f64.op('sub', addend, rest),
      );
      const exactSum = code.both(
        f.f64.compare('eq', error, f.f64.const(0)),
        f.f64.compare('eq', sum, code.toDouble(bits)),
      );
      const exactProduct =
        code.letter === 's'
          ? exactSum
          : code.both(fitsDouble(code, a, b), code.isSafelyNormal(f.convert('i64_reinterpret_f64', product)));
      f.if(code.both(exactSum, exactProduct), () => f.return(bits));
    });
  });
}

/**
 * f32 in f64: the product is exact, the sum rounds to 53 bits and then to 24. The second rounding can go wrong only
 * if the first gave exactly the middle between two f32; that (and all else) is left to the exact function.
 */
function tryMultiplyAddSingle(code: FloatCode, a: I64, b: I64, c: I64, mode: I64): void {
  const { f } = code;
  const { f64, i64 } = f;
  whenNearest(code, mode, () => {
    const product = f.let(f64.op('mul', code.toDouble(a), code.toDouble(b)));
    const addend = f.let(code.toDouble(c));
    const sum = f.let(f64.op('add', product, addend));
    const rounded = f.let(f.convert('f32_demote_f64', sum));
    const bits = f.let(f.convert('i64_extend_i32_u', f.convert('i32_reinterpret_f32', rounded)));
    const below = i64.and(f.convert('i64_reinterpret_f64', sum), code.constant(0x1fffffff));
    f.if(code.both(code.isSafelyNormal(bits), i64.ne(below, code.constant(0x10000000))), () => {
      returnIfInexactIsUp(code, bits);
      const rest = f.let(f64.op('sub', sum, product));
      const error = f64.op('add', f64.op('sub', product, f64.op('sub', sum, rest)), f64.op('sub', addend, rest));
      const exactSum = f64.compare('eq', error, f64.const(0));
      const exactRounding = f64.compare('eq', f.convert('f64_promote_f32', rounded), sum);
      f.if(code.both(exactSum, exactRounding), () => f.return(bits));
    });
  });
}

/**
 * Whether `product`, a quotient times its divisor or a root squared, says that nothing was lost. In f64 the product of
 * two f32 is exact. Of two f64 it is exact if it fits and does not underflow, for which the operand must be normal.
 */
function returnsExactly(code: FloatCode, product: F64, operand: I64, fits: () => I32): I32 {
  const equal = code.f.f64.compare('eq', product, code.toDouble(operand));
  if (code.letter === 's') return equal;
  return code.both(code.both(equal, fits()), code.isSafelyNormal(operand));
}

/**
 * Whether the product of two f64 has at most 53 bits, so that a normal result is exact: significands of 53 bits make
 * products of at most 106, and the product ends in as many zeros as its factors together.
 */
function fitsDouble(code: FloatCode, a: I64, b: I64): I32 {
  const { i64 } = code.f;
  const hidden = code.constant(code.format.smallestNormal);
  const zeros = (x: I64): I64 => i64.unary('ctz', i64.or(x, hidden));
  return i64.geU(i64.add(zeros(a), zeros(b)), code.constant(53));
}

function whenNearest(code: FloatCode, mode: I64, then: () => void): void {
  code.f.if(code.f.i64.eq(mode, code.constant(RNE)), then, undefined, 'likely');
}

function returnIfInexactIsUp(code: FloatCode, bits: I64): void {
  code.f.if(code.raised(NX), () => code.f.return(bits), undefined, 'likely');
}

function hostOf({ f, letter }: FloatCode): Host {
  return letter === 's' ? singleHost(f) : doubleHost(f);
}

function singleHost(f: FunctionBuilder): Host {
  return {
    from: (bits) => f.convert('f32_reinterpret_i32', f.convert('i32_wrap_i64', bits)),
    to: (value) => f.convert('i64_extend_i32_u', f.convert('i32_reinterpret_f32', value)),
    op: (name, a: F32, b: F32) => f.f32.op(name, a, b),
    sqrt: (a: F32) => f.f32.unary('sqrt', a),
    isZero: (a: F32) => f.f32.compare('eq', a, f.f32.const(0)),
  };
}

function doubleHost(f: FunctionBuilder): Host {
  return {
    from: (bits) => f.convert('f64_reinterpret_i64', bits),
    to: (value) => f.convert('i64_reinterpret_f64', value),
    op: (name, a: F64, b: F64) => f.f64.op(name, a, b),
    sqrt: (a: F64) => f.f64.unary('sqrt', a),
    isZero: (a: F64) => f.f64.compare('eq', a, f.f64.const(0)),
  };
}

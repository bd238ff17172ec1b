/** Library functions for arithmetic that Wasm has no instruction for: high products, division as RISC-V has it, carry-less products. */

import type { FunctionBuilder, FunctionRef, I32, I64, IntegerOps, Local, ModuleBuilder } from '../wasm/index.ts';
import type { Library } from './wasm-machine.ts';

export function defineArithmetic(module: ModuleBuilder, library: Library): void {
  const define = (name: string, body: (f: FunctionBuilder, a: I64, b: I64) => void): FunctionRef => {
    const ref = module.function(name, ['i64', 'i64'], ['i64'], (f) =>
      body(f, f.param<I64>(0).get, f.param<I64>(1).get),
    );
    library.set(name, ref);
    return ref;
  };

  for (const name of ['mulhu', 'mulh', 'mulhsu'] as const)
    define(name, (f, a, b) => f.return(highProduct(f, name, a, b)));

  for (const name of ['divu', 'remu', 'div', 'rem'] as const)
    define(name, (f, a, b) => f.return(division(f, f.i64, name, a, b)));

  // Zbc: products over GF(2); one step for each set bit of b, lowest first.
  const overBits = (f: FunctionBuilder, b: I64, step: (bit: I64) => void): void => {
    const rest = f.local('i64');
    f.set(rest, b);
    f.while(
      () => f.i64.ne(rest.get, f.i64.const(0)),
      () => {
        step(f.let(f.i64.unary('ctz', rest.get)));
        f.set(rest, f.i64.and(rest.get, f.i64.sub(rest.get, f.i64.const(1))));
      },
    );
  };
  define('clmul', (f, a, b) => {
    const out = f.local('i64');
    overBits(f, b, (bit) => f.set(out, f.i64.xor(out.get, f.i64.shl(a, bit))));
    f.return(out.get);
  });
  define('clmulh', (f, a, b) => {
    const out = f.local('i64');
    overBits(f, b, (bit) =>
      f.if(f.i64.ne(bit, f.i64.const(0)), () =>
        f.set(out, f.i64.xor(out.get, f.i64.shrU(a, f.i64.sub(f.i64.const(64), bit)))),
      ),
    );
    f.return(out.get);
  });
}

/** The high half of a product, by the products of halves. */
export function highProduct(f: FunctionBuilder, name: 'mulhu' | 'mulh' | 'mulhsu', x: I64, y: I64): I64 {
  const { i64 } = f;
  const [a, b] = [f.let(x), f.let(y)];
  const low = i64.const(0xffffffff);
  const half = i64.const(32);
  const al = f.let(i64.and(a, low));
  const ah = f.let(i64.shrU(a, half));
  const bl = f.let(i64.and(b, low));
  const bh = f.let(i64.shrU(b, half));
  const t = f.let(i64.add(i64.mul(ah, bl), i64.shrU(i64.mul(al, bl), half)));
  const u = f.let(i64.add(i64.mul(al, bh), i64.and(t, low)));
  const high = i64.add(i64.add(i64.mul(ah, bh), i64.shrU(t, half)), i64.shrU(u, half));
  // A negative factor counts 2^64 too much, times the other.
  const excess = (negative: I64, other: I64): I64 => i64.and(i64.shrS(negative, i64.const(63)), other);
  if (name === 'mulhu') return high;
  const less = i64.sub(high, excess(a, b));
  return name === 'mulhsu' ? less : i64.sub(less, excess(b, a));
}

/** Division as RISC-V has it: by zero it gives all ones, the remainder is the dividend; overflow gives the dividend and zero. */
export function division<V extends I32 | I64>(
  f: FunctionBuilder,
  ops: IntegerOps<V>,
  name: 'divu' | 'remu' | 'div' | 'rem',
  x: V,
  y: V,
): V {
  const [a, b] = [f.let(x), f.let(y)];
  const out = f.local(f.typeOf(a) as 'i64') as unknown as Local<V>;
  const isQuotient = name === 'div' || name === 'divu';
  const isSigned = name === 'div' || name === 'rem';
  const minusOne = (): void => f.set(out, isQuotient ? ops.sub(ops.const(0), a) : ops.const(0));
  const ordinary = (): void => f.set(out, ops.op(`${isQuotient ? 'div' : 'rem'}_${isSigned ? 's' : 'u'}`, a, b));
  f.if(
    ops.eqz(b),
    () => f.set(out, isQuotient ? ops.const(-1) : a),
    () => (isSigned ? f.if(ops.eq(b, ops.const(-1)), minusOne, ordinary, 'unlikely') : ordinary()),
    'unlikely',
  );
  return out.get;
}

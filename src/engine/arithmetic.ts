/** Library functions for arithmetic that Wasm has no instruction for: high products, division as RISC-V has it, carry-less products. */

import type { FunctionBuilder, FunctionRef, I64, ModuleBuilder } from '../wasm/index.ts';
import type { Library } from './wasm-machine.ts';

export function defineArithmetic(module: ModuleBuilder, library: Library): void {
  const define = (name: string, body: (f: FunctionBuilder, a: I64, b: I64) => void): FunctionRef => {
    const ref = module.function(name, ['i64', 'i64'], ['i64'], (f) =>
      body(f, f.param<I64>(0).get, f.param<I64>(1).get),
    );
    library.set(name, ref);
    return ref;
  };

  const mulhu = define('mulhu', (f, a, b) => {
    const { i64 } = f;
    const low = i64.const(0xffffffff);
    const half = i64.const(32);
    const al = f.let(i64.and(a, low));
    const ah = f.let(i64.shrU(a, half));
    const bl = f.let(i64.and(b, low));
    const bh = f.let(i64.shrU(b, half));
    const t = f.let(i64.add(i64.mul(ah, bl), i64.shrU(i64.mul(al, bl), half)));
    const u = f.let(i64.add(i64.mul(al, bh), i64.and(t, low)));
    f.return(i64.add(i64.add(i64.mul(ah, bh), i64.shrU(t, half)), i64.shrU(u, half)));
  });
  const signed = (f: FunctionBuilder, a: I64, b: I64): I64 => f.i64.and(f.i64.shrS(a, f.i64.const(63)), b);
  define('mulh', (f, a, b) =>
    f.return(f.i64.sub(f.i64.sub(f.call(mulhu, a, b) as I64, signed(f, a, b)), signed(f, b, a))),
  );
  define('mulhsu', (f, a, b) => f.return(f.i64.sub(f.call(mulhu, a, b) as I64, signed(f, a, b))));

  // Division: unsigned by zero gives all ones, remainder the dividend; signed overflow gives the dividend and zero.
  define('divu', (f, a, b) => {
    f.if(f.i64.eqz(b), () => f.return(f.i64.const(-1)), undefined, 'unlikely');
    f.return(f.i64.op('div_u', a, b));
  });
  define('remu', (f, a, b) => {
    f.if(f.i64.eqz(b), () => f.return(a), undefined, 'unlikely');
    f.return(f.i64.op('rem_u', a, b));
  });
  define('div', (f, a, b) => {
    f.if(f.i64.eqz(b), () => f.return(f.i64.const(-1)), undefined, 'unlikely');
    f.if(f.i64.eq(b, f.i64.const(-1)), () => f.return(f.i64.sub(f.i64.const(0), a)), undefined, 'unlikely');
    f.return(f.i64.op('div_s', a, b));
  });
  define('rem', (f, a, b) => {
    f.if(f.i64.eqz(b), () => f.return(a), undefined, 'unlikely');
    f.if(f.i64.eq(b, f.i64.const(-1)), () => f.return(f.i64.const(0)), undefined, 'unlikely');
    f.return(f.i64.op('rem_s', a, b));
  });

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

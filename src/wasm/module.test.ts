import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bytes, type F64, type I32, type I64, ModuleBuilder, type Ptr } from './index.ts';

const MEMORY = { width: 32, shared: true, initialPages: 1, maximumPages: 1 } as const;

function instantiate(
  module: ModuleBuilder,
  memory: WebAssembly.Memory,
): Record<string, (...args: unknown[]) => unknown> {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.build()), { env: { memory } });
  return instance.exports as Record<string, (...args: unknown[]) => unknown>;
}

test('signed LEB128 of 64-bit constants round-trips through the engine', () => {
  const values = [
    0n,
    1n,
    -1n,
    63n,
    64n,
    -64n,
    -65n,
    0x7fffffffn,
    -0x80000000n,
    0x80000000n,
    0xffffffffn,
    1n << 53n,
    (1n << 63n) - 1n,
    -(1n << 63n),
    0x0123456789abcdefn,
  ];
  for (let k = 0n; k < 63n; k++) values.push(1n << k, -(1n << k), (1n << k) - 1n);
  const module = new ModuleBuilder(MEMORY);
  values.forEach((v, i) =>
    module.export(
      `f${i}`,
      module.function(`f${i}`, [], ['i64'], (f) => f.return(f.i64.const(v))),
    ),
  );
  const exports = instantiate(module, new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }));
  values.forEach((v, i) => assert.equal(exports[`f${i}`]?.(), v));
});

test('structured control flow: loops, switch, nested calls, hints', () => {
  const module = new ModuleBuilder(MEMORY);
  const pick = module.function('pick', ['i32'], ['i32'], (f) => {
    const out = f.local('i32');
    f.switch(
      f.param<I32>(0).get,
      [0, 1, 2].map((i) => () => f.set(out, f.i32.const(10 + i))),
      () => f.set(out, f.i32.const(99)),
    );
    f.return(out.get);
  });
  const sum = module.function('sum', ['i64'], ['i64'], (f) => {
    const n = f.param<I64>(0);
    const total = f.local('i64');
    f.while(
      () => f.i64.ne(n.get, f.i64.const(0)),
      () => {
        f.set(total, f.i64.add(total.get, n.get));
        f.set(n, f.i64.sub(n.get, f.i64.const(1)));
        f.if(
          f.i64.eqz(n.get),
          () => f.set(total, f.i64.add(total.get, f.convert('i64_extend_i32_u', f.call(pick, f.i32.const(1)) as I32))),
          undefined,
          'unlikely',
        );
      },
    );
    f.return(total.get);
  });
  const swap = module.function('swap', ['i32', 'i64'], ['i64'], (f) =>
    f.return(f.atomicRmw('xchg', f.param<Ptr>(0).get, 8, 8, f.param<I64>(1).get)),
  );
  module.export('pick', pick);
  module.export('sum', sum);
  module.export('swap', swap);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const e = instantiate(module, memory);
  assert.deepEqual(
    [0, 1, 2, 3, -1].map((i) => e['pick']?.(i)),
    [10, 11, 12, 99, 99],
  );
  assert.equal(e['sum']?.(100n), 5050n + 11n);
  new BigUint64Array(memory.buffer)[1] = 7n;
  assert.equal(e['swap']?.(0, 9n), 7n);
  assert.equal(new BigUint64Array(memory.buffer)[1], 9n);
});

test('a module with memory64 addresses loads and stores beyond 32-bit arithmetic', () => {
  const module = new ModuleBuilder({ width: 64, shared: false, initialPages: 1, maximumPages: 2 });
  module.export(
    'put',
    module.function('put', ['i64', 'i32'], ['i32'], (f) => {
      const at = f.ptr.from64(f.param<I64>(0).get);
      f.i32.store(at, 4, f.param<I32>(1).get);
      f.return(f.i32.loadSized(f.ptr.add(at, f.ptr.const(4)), 0, 1, true));
    }),
  );
  const memory = new WebAssembly.Memory({ initial: 1n, maximum: 2n, address: 'i64' });
  const e = instantiate(module, memory);
  assert.equal(e['put']?.(16n, 0x1ff), -1);
});

test('a relaxed multiply-add goes through one lane', () => {
  const module = new ModuleBuilder(MEMORY);
  for (const type of ['f32', 'f64'] as const) {
    const ref = module.function(type, [type, type, type], [type], (f) => {
      const [a, b, c] = [0, 1, 2].map((i) => f.param<F64>(i).get) as [F64, F64, F64];
      f.return(f.relaxedMultiplyAdd(a, b, c));
    });
    module.export(type, ref);
  }
  const e = instantiate(module, new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }));
  assert.equal(e['f32']?.(3, 5, -2), 13);
  assert.equal(e['f64']?.(0.5, 7, 1e300), 1e300);
});

test('bytes grow', () => {
  const bytes = new Bytes();
  for (let i = 0; i < 1000; i++) bytes.u8(i & 255);
  assert.equal(bytes.view.length, 1000);
  assert.equal(bytes.view[999], 999 & 255);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { F64, FunctionBuilder, I32, I64, Ptr } from './function.ts';
import { type ListingOptions, listFunction } from './listing.ts';
import { MNEMONICS, prefixed } from './mnemonics.ts';
import { ModuleBuilder } from './module.ts';
import { readModule } from './module-reader.ts';
import { ATOMIC_RMW, BINARY, COMPARE, CONVERT, LOAD, OP, STORE, UNARY, type ValueType } from './opcodes.ts';

const MEMORY = { width: 32, shared: true, initialPages: 1, maximumPages: 1 } as const;

/** The lines of one function, built and read again. */
function listed(
  params: readonly ValueType[],
  results: readonly ValueType[],
  build: (f: FunctionBuilder, module: ModuleBuilder) => void,
  options: ListingOptions = {},
): string {
  const module = new ModuleBuilder(MEMORY, { importsLate: true });
  const ref = module.function('it', params, results, (f) => build(f, module));
  const read = readModule(module.build());
  const code = read.functions.find(({ name }) => name === 'it');
  assert.ok(code);
  return listFunction(read, code, { notes: module.notesOf(ref), ...options }).join('\n');
}

test('expressions are folded, control flow stands line by line, hints behind branches', () => {
  const text = listed(['i64'], ['i64'], (f) => {
    const n = f.param<I64>(0);
    const sum = f.local('i64');
    f.set(sum, f.i64.const(0));
    f.loop((again) => {
      f.set(sum, f.i64.add(sum.get, n.get));
      f.set(n, f.i64.sub(n.get, f.i64.const(1)));
      f.brIf(again, f.i64.ne(n.get, f.i64.const(0)), 'likely');
    });
    f.if(
      f.i64.eqz(sum.get),
      () => f.return(f.i64.const(-1)),
      () => f.return(sum.get),
      'unlikely',
    );
    f.unreachable();
  });
  assert.equal(
    text,
    `func $it (param $0 i64) (result i64)
  local i64 $1
  local.set $1 (i64.const 0)
  loop $loop1
    local.set $1 (i64.add $1 $0)
    local.set $0 (i64.sub $0 (i64.const 1))
    br_if $loop1 (i64.ne $0 (i64.const 0))  ;; likely
  end
  if (i64.eqz $1)  ;; unlikely
    return (i64.const -1)
  else
    return $1
  end
  unreachable`,
  );
});

test('memory, atomics, calls, switches, numbers', () => {
  const text = listed(['i32', 'f64'], ['f64'], (f, module) => {
    const [at, x] = [f.param<Ptr>(0).get, f.param<F64>(1).get];
    const help = module.importFunction('help', ['i64', 'i32'], ['i32']);
    const word = f.i32.load(at, 8);
    f.i64.storeSized(at, 0, 2, f.i64.const(0x1234_5678_9abcn));
    f.atomicRmw('xor', at, 4, 4, word);
    f.atomicCompareExchange(at, 0, 1, word, f.i32.const(1));
    f.memoryFill(at, f.i32.const(0), f.ptr.const(64));
    const answer = f.call(help, f.convert('i64_extend_i32_u', word), f.i32.const(-20000)) as I32;
    f.switch(answer, [() => f.atomicFence()], () => f.callIndirect(['i32'], ['i64'], word, answer));
    f.return(f.relaxedMultiplyAdd(x, f.f64.const(0.5), f.f64.unary('sqrt', x)));
  });
  assert.equal(
    text,
    `func $it (param $0 i32) (param $1 f64) (result f64)
  local i32 $2 $3 $4 $5
  local i64 $6
  local.set $2 (i32.load offset=8 $0)
  i64.store16 $0 (i64.const 0x123456789abc)
  local.set $3 (i32.atomic.rmw.xor offset=4 $0 $2)
  local.set $4 (i32.atomic.rmw8.cmpxchg_u $0 $2 (i32.const 1))
  memory.fill $0 (i32.const 0) (i32.const 64)
  local.set $5 (call $help (i64.extend_i32_u $2) (i32.const -0x4e20))
  block $block1
    block $block2
      block $block3
        br_table $block3 $block2 $5
      end
      atomic.fence
      br $block1
    end
    local.set $6 (call_indirect (param i32) (result i64) $5 $2)
    br $block1
  end
  return
    (f64x2.extract_lane
      (f64x2.relaxed_madd (f64x2.splat $1) (f64x2.splat (f64.const 0.5)) (f64x2.splat (f64.sqrt $1))))`,
  );
});

test('locals and offsets have the names that they are given, notes stand in front of what they are about', () => {
  const text = listed(
    ['i32', 'i64'],
    [],
    (f) => {
      const at = f.param<Ptr>(0).get;
      f.note(1);
      f.note(2);
      f.i64.store(at, 16, f.param<I64>(1).get);
      f.if(f.i64.eqz(f.i64.load(at, 24)), () => f.note(3));
      f.note(4);
      f.i32.store(at, 0, f.i32.const(4096));
      f.set(f.local('i64'), f.i64.const(4));
      f.unreachable();
    },
    {
      localName: (index, at) => (index < 2 ? ['state', 'value'][index] : at > 20 ? 'late' : undefined),
      offsetName: (local, offset) => (local === 0 && offset === 16 ? 'state.pc' : undefined),
      constantName: (value) => (value === 4096n ? 'a_page' : undefined),
      noteText: (value) => `note ${value}`,
    },
  );
  assert.equal(
    text,
    `func $it (param $state i32) (param $value i64)
  local i64 $late $late
  ;; note 1
  ;; note 2
  i64.store offset=state.pc $state $value
  local.set $2 (i64.load offset=24 $state)
  if (i64.eqz $2)
    ;; note 3
  end
  ;; note 4
  i32.store $state (i32.const a_page)
  local.set $late (i64.const 4)
  unreachable`,
  );
});

test('every instruction that the builder can write has a name of its own', () => {
  const tables = [UNARY, BINARY, COMPARE, LOAD, STORE].flatMap((table) =>
    Object.entries(table).flatMap(([type, names]) =>
      Object.entries(names as Record<string, number>).map(([name, code]) => [code, `${type}.${name}`] as const),
    ),
  );
  for (const [code, name] of tables) assert.equal(MNEMONICS.get(code)?.name, name);
  for (const [name, [code]] of Object.entries(CONVERT)) {
    const key = code > 255 ? prefixed(code >> 8, code & 255) : code;
    assert.equal(MNEMONICS.get(key)?.name.replace('.', '_'), name);
  }
  assert.equal(MNEMONICS.get(prefixed(OP.atomic, ATOMIC_RMW.cmpxchg + 6))?.name, 'i64.atomic.rmw32.cmpxchg_u');
  assert.equal(MNEMONICS.get(prefixed(OP.atomic, ATOMIC_RMW.add + 1))?.name, 'i64.atomic.rmw.add');
  assert.equal(MNEMONICS.get(OP.local_get)?.name, 'local.get');
  assert.equal(MNEMONICS.get(OP.call_indirect)?.name, 'call_indirect');
  const names = [...MNEMONICS.values()].map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
});

test('bytes that are no module are refused', () => {
  assert.throws(() => readModule(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 10, 200)), /ends in the middle/);
});

/**
 * Builds one Wasm function from typed expressions and structured statements.
 *
 * Expressions are nodes in an arena, numbered; statements serialise the trees they are given at once. A node is
 * pure (constants, local reads, arithmetic), so it may be used several times; it is then computed several times,
 * unless `let` fixes it in a local. Loads and calls are fixed in a local where they are built, so their order is
 * the order of the calls here. A node that reads a mutable local sees its value where the tree is serialised:
 * use `let` before changing it.
 *
 * Locals made by `let` and `local` inside a body (of if, loop, block, scope) are recycled at its end.
 * Long: one builder is one class.
 */
import { assert, must } from '../base/assert.ts';
import { Bytes } from './bytes.ts';
import type { FunctionRef, ModuleBuilder } from './module.ts';
import {
  ATOMIC,
  ATOMIC_RMW,
  alignmentOf,
  BINARY,
  COMPARE,
  CONVERT,
  EQZ,
  LOAD,
  OP,
  SIMD,
  STORE,
  UNARY,
  VALUE_TYPE,
  type ValueType,
} from './opcodes.ts';

export type I32 = number & { readonly __type: 'i32' };
export type I64 = number & { readonly __type: 'i64' };
export type F32 = number & { readonly __type: 'f32' };
export type F64 = number & { readonly __type: 'f64' };
/** An address in linear memory: i32, or i64 where the module is built for memory64. */
export type Ptr = number & { readonly __type: 'ptr' };
export type Value = I32 | I64 | F32 | F64 | Ptr;
export type TypeOf<T extends ValueType> = T extends 'i32' ? I32 : T extends 'i64' ? I64 : T extends 'f32' ? F32 : F64;
/** A mutable local variable. */
export type Local<V extends Value> = { readonly index: number; readonly get: V };
export interface Label {
  readonly depth: number;
}
/** A number that the code from an offset on belongs to. */
export interface Note {
  readonly at: number;
  readonly value: number;
}
export type Likelihood = 'likely' | 'unlikely';

const NODE = { const32: 0, const64: 1, get: 2, unary: 3, binary: 4, select: 5, constf: 6, madd: 7 } as const;

/** Operations whose low half depends on low halves alone; extensions of an i32. */
const NARROW: ReadonlySet<number> = new Set(
  (['add', 'sub', 'mul', 'and', 'or', 'xor'] as const).map((name) => BINARY.i64[name]),
);
const EXTENSIONS: ReadonlySet<number> = new Set([CONVERT.i64_extend_i32_s[0], CONVERT.i64_extend_i32_u[0]]);

export class FunctionBuilder {
  readonly module: ModuleBuilder;
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
  readonly code = new Bytes();
  readonly i32 = new IntegerOps<I32>(this, 'i32');
  readonly i64 = new IntegerOps<I64>(this, 'i64');
  readonly f32 = new FloatOps<F32>(this, 'f32');
  readonly f64 = new FloatOps<F64>(this, 'f64');
  readonly ptr = new PointerOps(this);

  #kind: number[] = [];
  #a: number[] = [];
  #b: number[] = [];
  #c: number[] = [];
  #type: ValueType[] = [];
  #locals: ValueType[] = [];
  #free: Record<ValueType, number[]> = { i32: [], i64: [], f32: [], f64: [] };
  #scope: number[] = [];
  #depth = 0;
  #hints: { at: number; likely: boolean }[] = [];
  #notes: Note[] = [];

  constructor(module: ModuleBuilder, params: readonly ValueType[], results: readonly ValueType[]) {
    this.module = module;
    this.params = params;
    this.results = results;
  }

  /** Marks what is emitted from here on with a number of the caller's, for listings (listing.ts). */
  note(value: number): void {
    this.#notes.push({ at: this.code.length, value });
  }

  // ---- locals ----

  /** The parameter, which can also be assigned to with `set`. */
  param<V extends Value>(index: number): Local<V> {
    return { index, get: this.#node(NODE.get, must(this.params[index]), index, 0, 0) as V };
  }

  local<T extends ValueType>(type: T): Local<TypeOf<T>> {
    const index = this.#allocate(type);
    return { index, get: this.#node(NODE.get, type, index, 0, 0) as TypeOf<T> };
  }

  pointerLocal(): Local<Ptr> {
    return this.local(this.module.pointerType) as unknown as Local<Ptr>;
  }

  set<V extends Value>(local: Local<V>, value: V): void {
    this.#emit(value);
    this.code.u8(OP.local_set);
    this.code.u32(local.index);
  }

  /** Computes `value` here and now; the result can be used any number of times. */
  let<V extends Value>(value: V): V {
    const kind = this.#kind[value];
    if (kind === NODE.const32 || kind === NODE.const64) return value;
    this.#emit(value);
    return this.#bind(must(this.#type[value as number])) as V;
  }

  typeOf(value: Value): ValueType {
    return must(this.#type[value]);
  }

  /** The constant that this node is, if it is an i32 or small i64 constant. */
  constantOf(value: Value): number | undefined {
    const kind = this.#kind[value];
    if (kind === NODE.const32) return this.#a[value];
    if (kind === NODE.const64) return must(this.#b[value]) * 4294967296 + (must(this.#a[value]) >>> 0);
    return undefined;
  }

  // ---- expressions ----

  constF(type: 'f32' | 'f64', value: number): F32 | F64 {
    return this.#node(NODE.constf, type, value, 0, 0) as F32 | F64;
  }

  unary(type: ValueType, opcode: number, a: Value): Value {
    return this.#node(NODE.unary, type, opcode, a, 0) as Value;
  }

  binary(type: ValueType, opcode: number, a: Value, b: Value): Value {
    return this.#node(NODE.binary, type, opcode, a, b) as Value;
  }

  const32(value: number): I32 {
    return this.#node(NODE.const32, 'i32', value | 0, 0, 0) as I32;
  }

  const64(value: number | bigint): I64 {
    if (typeof value === 'bigint')
      return this.#node(
        NODE.const64,
        'i64',
        Number(BigInt.asIntN(32, value)),
        Number(BigInt.asIntN(32, value >> 32n)),
        0,
      ) as I64;
    return this.#node(NODE.const64, 'i64', value | 0, Math.floor(value / 4294967296) | 0, 0) as I64;
  }

  select<V extends Value>(condition: I32, a: V, b: V): V {
    return this.#node(NODE.select, must(this.#type[a as number]), condition, a, b) as V;
  }

  /**
   * a * b + c by the relaxed SIMD instruction, on one lane: fused (rounded once) on hosts that fuse, rounded twice on
   * others. Which it is must be probed; a host without relaxed SIMD refuses the module.
   */
  relaxedMultiplyAdd<V extends F32 | F64>(a: V, b: V, c: V): V {
    return this.#node(NODE.madd, this.typeOf(a), a, b, c) as V;
  }

  convert<K extends keyof typeof CONVERT>(name: K, a: Value): TypeOf<(typeof CONVERT)[K][1]> {
    const [opcode, type] = CONVERT[name];
    return this.#node(NODE.unary, type, opcode, a, 0) as TypeOf<(typeof CONVERT)[K][1]>;
  }

  /**
   * The low half of an i64 expression. Where the high halves of its operands do not matter it is computed in 32 bits,
   * which hosts do not find out by themselves when the result is extended again (measured: a move more for each addiw).
   */
  low32(value: I64): I32 {
    const a = must(this.#a[value], 'not a value');
    const b = must(this.#b[value]) as I64;
    const c = must(this.#c[value]) as I64;
    switch (this.#kind[value]) {
      case NODE.const64:
        return this.const32(a);
      case NODE.unary:
        return EXTENSIONS.has(a) ? (b as Value as I32) : this.convert('i32_wrap_i64', value);
      case NODE.binary: {
        const { shl, shr_u } = BINARY.i64;
        const shift = a === shl || a === shr_u ? this.constantOf(c) : undefined;
        const isShift = (shift !== undefined && shift >= 0 && shift < 32) || this.withoutMask(c, 31) !== undefined;
        if (NARROW.has(a) || (a === shl && isShift)) return this.#narrow(a, this.low32(b), this.low32(c));
        // What comes down from the high half must be known to be zero.
        if (a === shr_u && isShift && this.#isZeroExtended(b)) return this.#narrow(a, this.low32(b), this.low32(c));
        return this.convert('i32_wrap_i64', value);
      }
      default:
        return this.convert('i32_wrap_i64', value);
    }
  }

  /** The operand of an `and` with the constant `mask`, if `value` is one. */
  withoutMask(value: I64, mask: number): I64 | undefined {
    if (this.#kind[value] !== NODE.binary || this.#a[value] !== BINARY.i64.and) return undefined;
    return this.constantOf(must(this.#c[value]) as Value) === mask ? (must(this.#b[value]) as I64) : undefined;
  }

  /** Whether the i64 is known to be the sign-extension of its low half. */
  isSignExtended(value: I64): boolean {
    if (this.#kind[value] === NODE.unary) return this.#a[value] === CONVERT.i64_extend_i32_s[0];
    return this.#kind[value] === NODE.const64 && this.#b[value] === must(this.#a[value]) >> 31;
  }

  #isZeroExtended(value: I64): boolean {
    return this.#kind[value] === NODE.unary && this.#a[value] === CONVERT.i64_extend_i32_u[0];
  }

  #narrow(opcode: number, a: I32, b: I32): I32 {
    return this.binary('i32', opcode - BINARY.i64.add + BINARY.i32.add, a, b) as I32;
  }

  // ---- memory ----

  memoryLoad(type: ValueType, opcode: number, address: Value, offset: number): Value {
    this.#emit(address);
    this.#access(opcode, offset);
    return this.#bind(type);
  }

  memoryStore(opcode: number, address: Value, offset: number, value: Value): void {
    this.#emit(address);
    this.#emit(value);
    this.#access(opcode, offset);
  }

  memoryFill(address: Ptr, byte: I32, size: Ptr): void {
    this.#emit(address);
    this.#emit(byte);
    this.#emit(size);
    this.code.append(Uint8Array.of(OP.prefix, 0x0b, 0));
  }

  memoryCopy(to: Ptr, from: Ptr, size: Ptr): void {
    this.#emit(to);
    this.#emit(from);
    this.#emit(size);
    this.code.append(Uint8Array.of(OP.prefix, 0x0a, 0, 0));
  }

  /** Sequentially consistent accesses; `sizeBytes` below the type's width zero-extends. Addresses must be aligned. */
  atomicRmw<V extends I32 | I64>(
    operation: Exclude<keyof typeof ATOMIC_RMW, 'cmpxchg'>,
    address: Ptr,
    offset: number,
    sizeBytes: number,
    value: V,
  ): V {
    const type = must(this.#type[value]) as 'i32' | 'i64';
    this.#emit(address);
    this.#emit(value);
    this.#atomic(ATOMIC_RMW[operation] + rmwVariant(type, sizeBytes), sizeBytes, offset);
    return this.#bind(type) as V;
  }

  atomicCompareExchange<V extends I32 | I64>(
    address: Ptr,
    offset: number,
    sizeBytes: number,
    expected: V,
    value: V,
  ): V {
    const type = must(this.#type[value]) as 'i32' | 'i64';
    this.#emit(address);
    this.#emit(expected);
    this.#emit(value);
    this.#atomic(ATOMIC_RMW.cmpxchg + rmwVariant(type, sizeBytes), sizeBytes, offset);
    return this.#bind(type) as V;
  }

  atomicLoad<T extends 'i32' | 'i64'>(type: T, address: Ptr, offset: number): TypeOf<T> {
    this.#emit(address);
    this.#atomic(type === 'i32' ? ATOMIC.i32_load : ATOMIC.i64_load, type === 'i32' ? 4 : 8, offset);
    return this.#bind(type) as TypeOf<T>;
  }

  atomicStore(address: Ptr, offset: number, value: I32 | I64): void {
    const type = must(this.#type[value]);
    this.#emit(address);
    this.#emit(value);
    this.#atomic(type === 'i32' ? ATOMIC.i32_store : ATOMIC.i64_store, type === 'i32' ? 4 : 8, offset);
  }

  atomicFence(): void {
    this.code.append(Uint8Array.of(OP.atomic, ATOMIC.fence, 0));
  }

  // ---- calls ----

  call(target: FunctionRef, ...args: Value[]): Value {
    assert(target.index >= 0, `${target.name} has no number yet`);
    assert(args.length === target.params.length, `${target.name}: ${args.length} arguments`);
    for (const [i, arg] of args.entries()) {
      assert(this.#type[arg] === target.params[i], `${target.name}: argument ${i} is ${this.#type[arg]}`);
      this.#emit(arg);
    }
    this.code.u8(OP.call);
    this.code.u32(target.index);
    const result = target.results[0];
    return result === undefined ? (-1 as Value) : this.#bind(result);
  }

  callIndirect(params: readonly ValueType[], results: readonly ValueType[], index: I32, ...args: Value[]): Value {
    for (const arg of args) this.#emit(arg);
    this.#emit(index);
    this.code.u8(OP.call_indirect);
    this.code.u32(this.module.typeIndex(params, results));
    this.code.u32(0);
    const result = results[0];
    return result === undefined ? (-1 as Value) : this.#bind(result);
  }

  return(value?: Value): void {
    if (value !== undefined) this.#emit(value);
    this.code.u8(OP.return);
  }

  unreachable(): void {
    this.code.u8(OP.unreachable);
  }

  // ---- structure ----

  if(condition: I32, then: () => void, otherwise?: () => void, likelihood?: Likelihood): void {
    this.#emit(condition);
    this.#hint(likelihood);
    this.code.u8(OP.if);
    this.code.u8(0x40);
    this.#body(then);
    if (otherwise) {
      this.code.u8(OP.else);
      this.#body(otherwise);
    }
    this.code.u8(OP.end);
  }

  block(body: (label: Label) => void): void {
    this.#open(OP.block, body);
  }

  /** A branch to the label goes back to the start. Falling off the end leaves the loop. */
  loop(body: (label: Label) => void): void {
    this.#open(OP.loop, body);
  }

  /** Runs `body` while `condition` (built anew at the head) holds. */
  while(condition: () => I32, body: () => void): void {
    this.block((done) => {
      this.loop((again) => {
        this.brIf(done, this.i32.eqz(condition()));
        body();
        this.br(again);
      });
    });
  }

  br(label: Label): void {
    this.code.u8(OP.br);
    this.code.u32(this.#depth - label.depth);
  }

  brIf(label: Label, condition: I32, likelihood?: Likelihood): void {
    this.#emit(condition);
    this.#hint(likelihood);
    this.code.u8(OP.br_if);
    this.code.u32(this.#depth - label.depth);
  }

  /** Jumps to the case by index; each case that does not branch away continues behind the switch. */
  switch(index: I32, cases: readonly (() => void)[], otherwise: () => void): void {
    this.block((done) => {
      const bodies = [...cases, otherwise];
      for (let i = 0; i < bodies.length; i++) {
        this.code.u8(OP.block);
        this.code.u8(0x40);
        this.#depth++;
      }
      this.#emit(index);
      this.code.u8(OP.br_table);
      this.code.u32(cases.length);
      for (let i = 0; i <= cases.length; i++) this.code.u32(i);
      for (const body of bodies) {
        this.#depth--;
        this.code.u8(OP.end);
        this.scope(body);
        this.br(done);
      }
    });
  }

  /** Locals made inside are free again afterwards. */
  scope(body: () => void): void {
    const mark = this.#scope.length;
    body();
    while (this.#scope.length > mark) {
      const index = must(this.#scope.pop());
      this.#free[must(this.#locals[index - this.params.length])].push(index);
    }
  }

  /** The finished body: local declarations, code, end; branch hints and notes by offset into it. */
  finish(): { body: Uint8Array; hints: { at: number; likely: boolean }[]; notes: readonly Note[] } {
    assert(this.#depth === 0, 'unbalanced blocks');
    const out = new Bytes();
    const runs: { type: ValueType; count: number }[] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last && last.type === type) last.count++;
      else runs.push({ type, count: 1 });
    }
    out.u32(runs.length);
    for (const { type, count } of runs) {
      out.u32(count);
      out.u8(VALUE_TYPE[type]);
    }
    const start = out.length;
    out.append(this.code.view);
    out.u8(OP.end);
    return {
      body: out.view,
      hints: this.#hints.map(({ at, likely }) => ({ at: at + start, likely })),
      notes: this.#notes.map(({ at, value }) => ({ at: at + start, value })),
    };
  }

  #node(kind: number, type: ValueType, a: number, b: number, c: number): number {
    const id = this.#kind.length;
    this.#kind.push(kind);
    this.#type.push(type);
    this.#a.push(a);
    this.#b.push(b);
    this.#c.push(c);
    return id;
  }

  #allocate(type: ValueType): number {
    let index = this.#free[type].pop();
    if (index === undefined) {
      index = this.params.length + this.#locals.length;
      this.#locals.push(type);
    }
    this.#scope.push(index);
    return index;
  }

  /** Moves the value on the stack into a new local. */
  #bind(type: ValueType): Value {
    const index = this.#allocate(type);
    this.code.u8(OP.local_set);
    this.code.u32(index);
    return this.#node(NODE.get, type, index, 0, 0) as Value;
  }

  #emit(value: Value): void {
    const a = must(this.#a[value], 'not a value');
    switch (this.#kind[value]) {
      case NODE.const32:
        this.code.u8(OP.i32_const);
        this.code.s32(a);
        return;
      case NODE.const64:
        this.code.u8(OP.i64_const);
        this.code.s64(a, must(this.#b[value]));
        return;
      case NODE.constf: {
        const type = this.#type[value];
        this.code.u8(type === 'f32' ? OP.f32_const : OP.f64_const);
        this.code.append(new Uint8Array(type === 'f32' ? new Float32Array([a]).buffer : new Float64Array([a]).buffer));
        return;
      }
      case NODE.get:
        this.code.u8(OP.local_get);
        this.code.u32(a);
        return;
      case NODE.unary:
        this.#emit(this.#b[value] as Value);
        this.#opcode(a);
        return;
      case NODE.binary:
        this.#emit(this.#b[value] as Value);
        this.#emit(this.#c[value] as Value);
        this.#opcode(a);
        return;
      case NODE.select:
        this.#emit(this.#b[value] as Value);
        this.#emit(this.#c[value] as Value);
        this.#emit(a as Value);
        this.code.u8(OP.select);
        return;
      case NODE.madd: {
        const simd = SIMD[this.typeOf(value) as 'f32' | 'f64'];
        for (const operand of [a, this.#b[value], this.#c[value]]) {
          this.#emit(operand as Value);
          this.#simd(simd.splat);
        }
        this.#simd(simd.relaxed_madd);
        this.#simd(simd.extract_lane);
        this.code.u8(0);
        return;
      }
    }
  }

  #opcode(opcode: number): void {
    if (opcode > 255) {
      this.code.u8(opcode >>> 8);
      this.code.u32(opcode & 255);
    } else this.code.u8(opcode);
  }

  #simd(opcode: number): void {
    this.code.u8(OP.simd);
    this.code.u32(opcode);
  }

  #access(opcode: number, offset: number): void {
    this.code.u8(opcode);
    this.code.u8(alignmentOf(opcode));
    this.code.u32(offset);
  }

  #atomic(opcode: number, sizeBytes: number, offset: number): void {
    this.code.u8(OP.atomic);
    this.code.u8(opcode);
    this.code.u8(Math.log2(sizeBytes));
    this.code.u32(offset);
  }

  #hint(likelihood: Likelihood | undefined): void {
    if (likelihood) this.#hints.push({ at: this.code.length, likely: likelihood === 'likely' });
  }

  #open(opcode: number, body: (label: Label) => void): void {
    this.code.u8(opcode);
    this.code.u8(0x40);
    this.#body(() => body({ depth: this.#depth }));
    this.code.u8(OP.end);
  }

  #body(body: () => void): void {
    this.#depth++;
    this.scope(body);
    this.#depth--;
  }
}

function rmwVariant(type: 'i32' | 'i64', sizeBytes: number): number {
  if (type === 'i32') return sizeBytes === 4 ? 0 : sizeBytes === 1 ? 2 : 3;
  return sizeBytes === 8 ? 1 : sizeBytes === 1 ? 4 : sizeBytes === 2 ? 5 : 6;
}

type IntegerBinary = keyof (typeof BINARY)['i32'];
type IntegerCompare = keyof (typeof COMPARE)['i32'];

/** Operations on i32 or i64, named as in the text format. */
export class IntegerOps<V extends I32 | I64> {
  readonly #f: FunctionBuilder;
  readonly #type: 'i32' | 'i64';
  constructor(f: FunctionBuilder, type: 'i32' | 'i64') {
    this.#f = f;
    this.#type = type;
  }
  const(value: number | bigint): V {
    return (this.#type === 'i32' ? this.#f.const32(Number(value)) : this.#f.const64(value)) as V;
  }
  op(name: IntegerBinary, a: V, b: V): V {
    return this.#f.binary(this.#type, BINARY[this.#type][name], a, b) as V;
  }
  compare(name: IntegerCompare, a: V, b: V): I32 {
    return this.#f.binary('i32', COMPARE[this.#type][name], a, b) as I32;
  }
  add(a: V, b: V): V {
    return this.op('add', a, b);
  }
  sub(a: V, b: V): V {
    return this.op('sub', a, b);
  }
  mul(a: V, b: V): V {
    return this.op('mul', a, b);
  }
  and(a: V, b: V): V {
    return this.op('and', a, b);
  }
  or(a: V, b: V): V {
    return this.op('or', a, b);
  }
  xor(a: V, b: V): V {
    return this.op('xor', a, b);
  }
  shl(a: V, b: V): V {
    return this.op('shl', a, b);
  }
  shrS(a: V, b: V): V {
    return this.op('shr_s', a, b);
  }
  shrU(a: V, b: V): V {
    return this.op('shr_u', a, b);
  }
  eq(a: V, b: V): I32 {
    return this.compare('eq', a, b);
  }
  ne(a: V, b: V): I32 {
    return this.compare('ne', a, b);
  }
  ltS(a: V, b: V): I32 {
    return this.compare('lt_s', a, b);
  }
  ltU(a: V, b: V): I32 {
    return this.compare('lt_u', a, b);
  }
  geU(a: V, b: V): I32 {
    return this.compare('ge_u', a, b);
  }
  leU(a: V, b: V): I32 {
    return this.compare('le_u', a, b);
  }
  gtU(a: V, b: V): I32 {
    return this.compare('gt_u', a, b);
  }
  eqz(a: V): I32 {
    return this.#f.unary('i32', EQZ[this.#type], a) as I32;
  }
  unary(name: keyof (typeof UNARY)['i32'] & keyof (typeof UNARY)['i64'], a: V): V {
    return this.#f.unary(this.#type, UNARY[this.#type][name], a) as V;
  }
  load(address: Ptr, offset = 0): V {
    return this.#f.memoryLoad(this.#type, LOAD[this.#type].load, address, offset) as V;
  }
  load8U(address: Ptr, offset = 0): V {
    return this.#f.memoryLoad(this.#type, LOAD[this.#type].load8_u, address, offset) as V;
  }
  load16U(address: Ptr, offset = 0): V {
    return this.#f.memoryLoad(this.#type, LOAD[this.#type].load16_u, address, offset) as V;
  }
  store(address: Ptr, offset: number, value: V): void {
    this.#f.memoryStore(STORE[this.#type].store, address, offset, value);
  }
  /** A load of `bytes` 1, 2, 4 (8 for i64), zero- or sign-extended. */
  loadSized(address: Ptr, offset: number, bytes: number, signed: boolean): V {
    const name = bytes === (this.#type === 'i32' ? 4 : 8) ? 'load' : `load${bytes * 8}_${signed ? 's' : 'u'}`;
    return this.#f.memoryLoad(
      this.#type,
      must((LOAD[this.#type] as Record<string, number>)[name]),
      address,
      offset,
    ) as V;
  }
  storeSized(address: Ptr, offset: number, bytes: number, value: V): void {
    const name = bytes === (this.#type === 'i32' ? 4 : 8) ? 'store' : `store${bytes * 8}`;
    this.#f.memoryStore(must((STORE[this.#type] as Record<string, number>)[name]), address, offset, value);
  }
}

/** Operations on f32 or f64. */
export class FloatOps<V extends F32 | F64> {
  readonly #f: FunctionBuilder;
  readonly #type: 'f32' | 'f64';
  constructor(f: FunctionBuilder, type: 'f32' | 'f64') {
    this.#f = f;
    this.#type = type;
  }
  const(value: number): V {
    return this.#f.constF(this.#type, value) as V;
  }
  op(name: keyof (typeof BINARY)['f64'], a: V, b: V): V {
    return this.#f.binary(this.#type, BINARY[this.#type][name], a, b) as V;
  }
  compare(name: keyof (typeof COMPARE)['f64'], a: V, b: V): I32 {
    return this.#f.binary('i32', COMPARE[this.#type][name], a, b) as I32;
  }
  unary(name: keyof (typeof UNARY)['f64'], a: V): V {
    return this.#f.unary(this.#type, UNARY[this.#type][name], a) as V;
  }
  load(address: Ptr, offset = 0): V {
    return this.#f.memoryLoad(this.#type, LOAD[this.#type].load, address, offset) as V;
  }
  store(address: Ptr, offset: number, value: V): void {
    this.#f.memoryStore(STORE[this.#type].store, address, offset, value);
  }
}

/** Address arithmetic that is right for both widths of memory. */
export class PointerOps {
  readonly #f: FunctionBuilder;
  constructor(f: FunctionBuilder) {
    this.#f = f;
  }
  get #wide(): boolean {
    return this.#f.module.pointerType === 'i64';
  }
  const(value: number): Ptr {
    return (this.#wide ? this.#f.const64(value) : this.#f.const32(value)) as unknown as Ptr;
  }
  add(a: Ptr, b: Ptr): Ptr {
    return this.#f.binary(this.#f.module.pointerType, BINARY[this.#f.module.pointerType].add, a, b) as Ptr;
  }
  op(name: IntegerBinary, a: Ptr, b: Ptr): Ptr {
    return this.#f.binary(this.#f.module.pointerType, BINARY[this.#f.module.pointerType][name], a, b) as Ptr;
  }
  eq(a: Ptr, b: Ptr): I32 {
    return this.#f.binary('i32', COMPARE[this.#f.module.pointerType].eq, a, b) as I32;
  }
  eqz(a: Ptr): I32 {
    return this.#f.unary('i32', EQZ[this.#f.module.pointerType], a) as I32;
  }
  /** Zero-extends an index. */
  from32(a: I32): Ptr {
    return (this.#wide ? this.#f.convert('i64_extend_i32_u', a) : a) as unknown as Ptr;
  }
  from64(a: I64): Ptr {
    return (this.#wide ? a : this.#f.convert('i32_wrap_i64', a)) as unknown as Ptr;
  }
  to64(a: Ptr): I64 {
    return (this.#wide ? a : this.#f.convert('i64_extend_i32_u', a)) as unknown as I64;
  }
  to32(a: Ptr): I32 {
    return (this.#wide ? this.#f.convert('i32_wrap_i64', a) : a) as unknown as I32;
  }
  load(address: Ptr, offset = 0): Ptr {
    const type = this.#f.module.pointerType;
    return this.#f.memoryLoad(type, LOAD[type].load, address, offset) as Ptr;
  }
  store(address: Ptr, offset: number, value: Ptr): void {
    const type = this.#f.module.pointerType;
    this.#f.memoryStore(STORE[type].store, address, offset, value);
  }
}

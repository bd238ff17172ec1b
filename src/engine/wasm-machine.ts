/**
 * The abstract machine as a generator of Wasm: arithmetic, conditions, state, floating point and the privileged
 * operations, which are the same wherever the code stands. Operands, control flow and memory accesses depend on the
 * place (interpreter handler, function of its own, translated region) and are left to subclasses.
 * Long: one method for each operation of Machine.
 */

import { must } from '../base/assert.ts';
import type { AccessSize, AmoOperation, AreaField, FloatLetter, Machine, StateField } from '../isa/index.ts';
import { FLOAT_OPERATIONS, type FloatOperation } from '../isa/index.ts';
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { EVERY_GUEST, HOST_SCOPE, scopeOfHgatp, scopeOfVmid } from './fence-scope.ts';
import { activeArea } from './status-areas.ts';
import { type ExitName, FAULT, GUEST_ACCESS, type VcpuField, vcpuState } from './vcpu-state.ts';

/** Functions that generated code calls, by name (see the files that define them), and what they are generated for. */
export class Library {
  readonly #functions = new Map<string, FunctionRef>();
  /** Instructions may start at any even address. */
  readonly hasCompressed: boolean;
  /** Some instructions that the hart is without are emulated. */
  readonly emulates: boolean;
  /** Traps tell what faulted (transformed-instruction.ts). */
  readonly hasHypervisor: boolean;
  constructor(options: { hasCompressed: boolean; emulates: boolean; hasHypervisor: boolean }) {
    this.hasCompressed = options.hasCompressed;
    this.emulates = options.emulates;
    this.hasHypervisor = options.hasHypervisor;
  }
  get(name: string): FunctionRef {
    return must(this.#functions.get(name), `no function ${name} in the library`);
  }
  set(name: string, ref: FunctionRef): void {
    this.#functions.set(name, ref);
  }
  entries(): Iterable<[string, FunctionRef]> {
    return this.#functions;
  }
  /** Declares functions of the module, and puts each into the library under its name. */
  declarer(module: ModuleBuilder): ModuleBuilder['declare'] {
    return (name, params, results) => {
      const ref = module.declare(name, params, results);
      this.set(name, ref);
      return ref;
    };
  }
}

const CAUSE_ILLEGAL = 2;
const CAUSE_VIRTUAL = 22;
const FIRST_READ_ONLY_CSR = 0xc00;

export abstract class WasmMachine implements Machine<I64, I32> {
  readonly f: FunctionBuilder;
  /** Address of the vCPU's block. */
  readonly vcpu: Ptr;
  readonly library: Library;

  constructor(f: FunctionBuilder, vcpu: Ptr, library: Library) {
    this.f = f;
    this.vcpu = vcpu;
    this.library = library;
  }

  abstract rs1(): I64;
  abstract rs2(): I64;
  abstract rd(value: I64): void;
  abstract frs1(): I64;
  abstract frs2(): I64;
  abstract frs3(): I64;
  abstract writeFrd(value: I64): void;
  abstract imm(): I64;
  abstract zimm(): I64;
  abstract rmField(): I32;
  abstract csrField(): I32;
  abstract rdIsNotZero(): I32;
  abstract rs1IsNotZero(): I32;
  abstract rs2IsNotZero(): I32;
  abstract pc(): I64;
  abstract next(): I64;
  abstract branch(c: I32): void;
  abstract jump(): void;
  abstract jumpTo(target: I64): void;
  abstract load(address: I64, size: AccessSize, signed: boolean): I64;
  abstract store(address: I64, size: AccessSize, value: I64): void;
  /** Ends the instruction: the fault fields are set. Emits a jump out. */
  abstract abort(): void;

  // Arithmetic.
  const(value: number | bigint): I64 {
    return this.f.i64.const(value);
  }
  add(a: I64, b: I64): I64 {
    return this.f.i64.add(a, b);
  }
  sub(a: I64, b: I64): I64 {
    return this.f.i64.sub(a, b);
  }
  and(a: I64, b: I64): I64 {
    return this.f.i64.and(a, b);
  }
  or(a: I64, b: I64): I64 {
    return this.f.i64.or(a, b);
  }
  xor(a: I64, b: I64): I64 {
    return this.f.i64.xor(a, b);
  }
  not(a: I64): I64 {
    return this.f.i64.xor(a, this.const(-1));
  }
  sll(a: I64, b: I64): I64 {
    return this.f.i64.shl(a, this.#count(b));
  }
  srl(a: I64, b: I64): I64 {
    return this.f.i64.shrU(a, this.#count(b));
  }
  sra(a: I64, b: I64): I64 {
    return this.f.i64.shrS(a, this.#count(b));
  }
  rotr(a: I64, b: I64): I64 {
    return this.f.i64.op('rotr', a, b);
  }
  mul(a: I64, b: I64): I64 {
    return this.f.i64.mul(a, b);
  }
  mulh(a: I64, b: I64): I64 {
    return this.#call('mulh', a, b);
  }
  mulhu(a: I64, b: I64): I64 {
    return this.#call('mulhu', a, b);
  }
  mulhsu(a: I64, b: I64): I64 {
    return this.#call('mulhsu', a, b);
  }
  clmul(a: I64, b: I64): I64 {
    return this.#call('clmul', a, b);
  }
  clmulh(a: I64, b: I64): I64 {
    return this.#call('clmulh', a, b);
  }
  div(a: I64, b: I64): I64 {
    return this.#call('div', a, b);
  }
  divu(a: I64, b: I64): I64 {
    return this.#call('divu', a, b);
  }
  rem(a: I64, b: I64): I64 {
    return this.#call('rem', a, b);
  }
  remu(a: I64, b: I64): I64 {
    return this.#call('remu', a, b);
  }
  clz(a: I64): I64 {
    return this.f.i64.unary('clz', a);
  }
  ctz(a: I64): I64 {
    return this.f.i64.unary('ctz', a);
  }
  popcnt(a: I64): I64 {
    return this.f.i64.unary('popcnt', a);
  }
  sext8(a: I64): I64 {
    return this.f.unary('i64', 0xc2, a) as I64;
  }
  sext16(a: I64): I64 {
    return this.f.unary('i64', 0xc3, a) as I64;
  }
  sext32(a: I64): I64 {
    return this.f.convert('i64_extend_i32_s', this.f.low32(a));
  }
  zext32(a: I64): I64 {
    return this.f.convert('i64_extend_i32_u', this.f.low32(a));
  }
  let(a: I64): I64 {
    return this.f.let(a);
  }

  // Conditions. What is known when code is generated (V of a hart without the hypervisor extension) leaves none behind.
  eq(a: I64, b: I64): I32 {
    const same = this.#isSame(a, b);
    return same === undefined ? this.f.i64.eq(a, b) : this.f.i32.const(same ? 1 : 0);
  }
  ne(a: I64, b: I64): I32 {
    const same = this.#isSame(a, b);
    return same === undefined ? this.f.i64.ne(a, b) : this.f.i32.const(same ? 0 : 1);
  }
  lts(a: I64, b: I64): I32 {
    return this.f.i64.ltS(a, b);
  }
  ltu(a: I64, b: I64): I32 {
    return this.f.i64.ltU(a, b);
  }
  both(a: I32, b: I32): I32 {
    for (const [one, other] of [[a, b] as const, [b, a] as const]) {
      const known = this.f.constantOf(one);
      if (known !== undefined) return known === 0 ? one : other;
    }
    return this.f.i32.and(a, b);
  }
  either(a: I32, b: I32): I32 {
    for (const [one, other] of [[a, b] as const, [b, a] as const]) {
      const known = this.f.constantOf(one);
      if (known !== undefined) return known === 0 ? other : one;
    }
    return this.f.i32.or(a, b);
  }
  negate(a: I32): I32 {
    const known = this.f.constantOf(a);
    return known === undefined ? this.f.i32.eqz(a) : this.f.i32.const(known === 0 ? 1 : 0);
  }
  bool(c: I32): I64 {
    return this.f.convert('i64_extend_i32_u', c);
  }
  select(c: I32, a: I64, b: I64): I64 {
    const known = this.f.constantOf(c);
    return known === undefined ? this.f.select(c, a, b) : known === 0 ? b : a;
  }
  when(c: I32, then: () => void, otherwise?: () => void): void {
    const known = this.f.constantOf(c);
    if (known === undefined) this.f.if(c, then, otherwise);
    else if (known !== 0) then();
    else otherwise?.();
  }

  // State.
  get(field: VcpuField): I64 {
    return this.f.i64.load(this.vcpu, vcpuState.offset[field]);
  }
  set(field: VcpuField, value: I64): void {
    this.f.i64.store(this.vcpu, vcpuState.offset[field], value);
  }
  get32(field: VcpuField): I32 {
    return this.f.i32.load(this.vcpu, vcpuState.offset[field]);
  }
  set32(field: VcpuField, value: I32): void {
    this.f.i32.store(this.vcpu, vcpuState.offset[field], value);
  }
  state(field: StateField): I64 {
    if (field === 'virtual' && !this.library.hasHypervisor) return this.const(0);
    return field === 'lines' || field === 'hgeip'
      ? this.f.atomicLoad('i64', this.vcpu, vcpuState.offset[field])
      : this.get(field);
  }
  setState(field: StateField, value: I64): void {
    this.set(field, value);
  }
  areaState(field: AreaField): I64 {
    return this.f.i64.load(this.#area(), vcpuState.offset[field]);
  }
  setAreaState(field: AreaField, value: I64): void {
    this.f.i64.store(this.#area(), vcpuState.offset[field], value);
  }
  #area(): Ptr {
    return this.library.hasHypervisor ? activeArea(this.f, this.vcpu) : this.vcpu;
  }
  countArea(counter: I64): void {
    const { f } = this;
    const at = f.let(f.ptr.add(this.vcpu, f.ptr.from32(f.low32(f.i64.shl(counter, f.i64.const(3))))));
    const { areaCounts } = vcpuState.offset;
    f.i64.store(at, areaCounts, f.i64.add(f.i64.load(at, areaCounts), f.i64.const(1)));
  }
  mode(): I64 {
    return this.get('mode');
  }

  // Traps.
  require(c: I32): void {
    if (this.f.constantOf(c) === 1) return;
    this.f.if(
      this.f.i32.eqz(c),
      () => {
        this.set32('fault', this.f.i32.const(FAULT.illegal));
        this.set('faultCause', this.const(CAUSE_ILLEGAL));
        this.abort();
      },
      undefined,
      'unlikely',
    );
  }
  requireVirtual(c: I32): void {
    if (!this.library.hasHypervisor) {
      this.require(c);
      return;
    }
    const { f } = this;
    f.if(
      f.i32.eqz(c),
      () => {
        this.set32('fault', f.i32.const(FAULT.illegal));
        const cause = f.select(this.get32('virtual'), f.i32.const(CAUSE_VIRTUAL), f.i32.const(CAUSE_ILLEGAL));
        this.set('faultCause', f.convert('i64_extend_i32_u', cause));
        this.abort();
      },
      undefined,
      'unlikely',
    );
  }
  raise(cause: number, tval: I64): void {
    this.set32('fault', this.f.i32.const(FAULT.trap));
    this.set('faultCause', this.const(cause));
    this.set('faultTval', tval);
    this.abort();
  }
  /** After a call that may have set the fault fields. */
  abortIfFault(): void {
    this.f.if(this.get32('fault'), () => this.abort(), undefined, 'unlikely');
  }

  // Floating point.
  requireFloat(): void {
    this.require(this.f.i64.ne(this.f.i64.and(this.get('mstatus'), this.const(0x6000)), this.const(0)));
  }
  frd(value: I64): void {
    this.writeFrd(value);
    this.floatDirty();
  }
  floatDirty(): void {
    this.set('mstatus', this.f.i64.or(this.get('mstatus'), this.const(0x6000)));
  }
  roundingMode(): I64 {
    const f = this.f;
    const field = this.rmField();
    const mode = f.let(f.select(f.i32.eq(field, f.i32.const(7)), this.get32('frm'), field));
    this.require(f.i32.ltU(mode, f.i32.const(5)));
    return f.convert('i64_extend_i32_u', mode);
  }
  float(operation: FloatOperation, format: FloatLetter, ...operands: I64[]): I64 {
    if (FLOAT_OPERATIONS[operation].flags) this.floatDirty();
    return this.f.call(this.fn(`${operation}_${format}`), this.vcpu, ...operands) as I64;
  }
  unbox(format: FloatLetter, raw: I64): I64 {
    if (format === 'd') return raw;
    const f = this.f;
    const fixed = f.let(raw);
    if (format === 's')
      return f.select(
        f.i64.eq(f.i64.shrU(fixed, this.const(32)), this.const(0xffffffff)),
        this.zext32(fixed),
        this.const(0x7fc00000),
      );
    return f.select(
      f.i64.eq(f.i64.shrU(fixed, this.const(16)), this.const(0xffffffffffffn)),
      f.i64.and(fixed, this.const(0xffff)),
      this.const(0x7e00),
    );
  }
  box(format: FloatLetter, value: I64): I64 {
    if (format === 'd') return value;
    return this.f.i64.or(value, this.const(format === 's' ? 0xffffffff00000000n : 0xffffffffffff0000n));
  }

  // Memory beyond loads and stores.
  loadReserved(address: I64, size: 4 | 8): I64 {
    const value = this.f.let(this.f.call(this.fn(`lr${size}`), this.vcpu, address) as I64);
    this.abortIfFault();
    return value;
  }
  storeConditional(address: I64, size: 4 | 8, value: I64): I64 {
    const failed = this.f.call(this.fn(`sc${size}`), this.vcpu, address, value) as I64;
    this.abortIfFault();
    return failed;
  }
  amo(operation: AmoOperation, address: I64, size: AccessSize, value: I64): I64 {
    const old = this.f.call(this.fn(`amo_${operation}${size}`), this.vcpu, address, value) as I64;
    this.abortIfFault();
    return old;
  }
  zeroBlock(address: I64): void {
    this.f.call(this.fn('zero_block'), this.vcpu, address);
    this.abortIfFault();
  }
  touchBlock(address: I64): void {
    this.f.call(this.fn('touch_block'), this.vcpu, address);
    this.abortIfFault();
  }

  // The privileged architecture.
  requireCsrWritable(): void {
    this.require(this.f.i32.ltU(this.csrField(), this.f.i32.const(FIRST_READ_ONLY_CSR)));
  }
  csrRead(): I64 {
    const value = this.f.call(this.fn('csr_read'), this.vcpu, this.csrField()) as I64;
    this.abortIfFault();
    return value;
  }
  csrWrite(value: I64, changes: I64): void {
    this.f.call(this.fn('csr_write'), this.vcpu, this.csrField(), value, changes);
    this.abortIfFault();
  }
  contextChanged(): void {
    this.f.call(this.fn('context'), this.vcpu);
    this.set32('reenter', this.f.i32.const(1));
  }
  protectionChanged(): void {
    this.f.call(this.fn('flush_translation'), this.vcpu);
    this.set32('reenter', this.f.i32.const(1));
  }
  fenceTranslation(va: I64 | undefined, asid: I64 | undefined): void {
    this.fenceScope(va, asid, this.const(HOST_SCOPE));
  }
  fenceGuest(va: I64 | undefined, asid: I64 | undefined): void {
    this.fenceScope(va, asid, this.let(scopeOfHgatp(this.f, this.vcpu)));
  }
  /** Whatever the address: combined translations are known by virtual ones. */
  fenceGuestPhysical(_gpa: I64 | undefined, vmid: I64 | undefined): void {
    const scope = vmid === undefined ? this.const(EVERY_GUEST) : this.let(scopeOfVmid(this.f, vmid));
    this.fenceScope(undefined, undefined, scope);
  }
  /** A fence for whom `scope` names (fence-scope.ts). */
  protected fenceScope(va: I64 | undefined, asid: I64 | undefined, scope: I64): void {
    const space = asid === undefined ? this.const(-1) : this.and(asid, this.const(0xffff));
    if (va !== undefined) this.f.call(this.fn('flush_page'), this.vcpu, va, space, scope);
    else this.f.call(this.fn('flush_space'), this.vcpu, space, scope);
    this.set32('reenter', this.f.i32.const(1));
  }
  guestLoad(address: I64, size: AccessSize, signed: boolean, executable: boolean): I64 {
    const { f } = this;
    const va = f.let(address);
    this.set32('guestAccess', f.i32.const(executable ? GUEST_ACCESS.code : GUEST_ACCESS.data));
    const value = f.let(f.call(this.fn('guest_load'), this.vcpu, va, f.i32.const(size)) as I64);
    this.set32('guestAccess', f.i32.const(GUEST_ACCESS.none));
    this.abortIfFault();
    if (!signed || size === 8) return value;
    return size === 4 ? this.sext32(value) : size === 2 ? this.sext16(value) : this.sext8(value);
  }
  guestStore(address: I64, size: AccessSize, value: I64): void {
    const { f } = this;
    const va = f.let(address);
    this.set32('guestAccess', f.i32.const(GUEST_ACCESS.data));
    f.call(this.fn('guest_store'), this.vcpu, va, f.i32.const(size), value);
    this.set32('guestAccess', f.i32.const(GUEST_ACCESS.none));
    this.abortIfFault();
  }
  timerChanged(): void {
    this.f.call(this.fn('timer'), this.vcpu);
    this.set32('reenter', this.f.i32.const(1));
  }
  pause(): void {
    // A hint to the host's processor would be all there is to do; Wasm has none.
  }
  /** Guards a jump's target: a multiple of four where instructions are. */
  requireTarget(target: I64): void {
    if (this.library.hasCompressed) return;
    const address = this.f.let(target);
    this.f.if(
      this.f.i64.ne(this.f.i64.and(address, this.const(2)), this.const(0)),
      () => this.raise(0, address),
      undefined,
      'unlikely',
    );
  }
  abstract fenceInstruction(): void;
  fence(): void {
    this.f.atomicFence();
  }
  time(): I64 {
    return this.f.call(this.fn('time'), this.vcpu) as I64;
  }
  instret(): I64 {
    const f = this.f;
    const done = f.convert('i64_extend_i32_u', f.i32.sub(this.get32('budgetAtEntry'), this.get32('budgetLeft')));
    return f.let(f.i64.sub(f.i64.add(this.get('instret'), done), this.const(1)));
  }
  leave(exit: 'call' | 'wait' | 'breakpoint'): void {
    this.leaveWith(exit);
  }
  abstract leaveWith(exit: ExitName): void;

  fn(name: string): FunctionRef {
    return this.library.get(name);
  }

  /** Shifts of Wasm take the low six bits of their count. */
  #count(b: I64): I64 {
    return this.f.withoutMask(b, 63) ?? b;
  }

  #isSame(a: I64, b: I64): boolean | undefined {
    const [left, right] = [this.f.constantOf(a), this.f.constantOf(b)];
    // Larger ones are numbers that others may be, too.
    const areKnown = Number.isSafeInteger(left) && Number.isSafeInteger(right);
    return areKnown ? left === right : undefined;
  }

  #call(name: string, a: I64, b: I64): I64 {
    return this.f.call(this.fn(name), a, b) as I64;
  }
}

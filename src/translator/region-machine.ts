/**
 * The abstract machine for regions: operands are constants of the code, registers are locals. Accesses to memory go
 * through page slots; those that miss continue in a slow twin of the rest of their block (region-writer.ts), whose
 * accesses are calls.
 * Long: one method for each operation of Machine.
 */
import { assert, must } from '../base/assert.ts';
import {
  division,
  type ExitName,
  highProduct,
  type Library,
  PLAN,
  SITE_BYTES,
  slotOffset,
  vcpuState,
  type WasmMachine,
} from '../engine/index.ts';
import { type AccessSize, CSR_BY_NUMBER, isReadOnly, readCsr } from '../isa/index.ts';
import type { F32, F64, FunctionBuilder, I32, I64, Label, Local, Ptr } from '../wasm/index.ts';
import type { AccessGroup } from './accesses.ts';
import { type FloatLocals, FloatMachine } from './float-machine.ts';
import { type Instruction, isFloatState, isSensitive, ordersLoadsBehindStores } from './instruction.ts';
import { checkSlot } from './page-slots.ts';

const at = vcpuState.offset;
const FFLAGS = 1;
/** a0 to a7: what a call of the SBI takes; it gives a0 and a1. */
const FIRST_ARGUMENT = 10;
const LAST_ARGUMENT = 17;

/** What a region's code keeps in locals. */
export interface RegionLocals {
  readonly budget: Local<I32>;
  /** Address of the head's page. */
  readonly base: Local<I64>;
  /** Where to go on when the region is left. */
  readonly pc: Local<I64>;
  /** Targets of jumps to registers. */
  readonly target: Local<I64>;
  readonly slots: Local<Ptr>;
  readonly x: readonly (Local<I64> | undefined)[];
  readonly float: FloatLocals;
  /** fetchEpoch on entry, where there are promoted instructions. */
  readonly epoch: Local<I64>;
}

/** Where the instruction at hand stands. */
export interface RegionPlace {
  readonly instruction: Instruction;
  readonly offset: number;
  /** Steps that were charged and are not done when this instruction begins. */
  readonly owed: number;
  /** Promoted: the number of its site. */
  readonly site?: number;
  /** Fast: the group that its access belongs to, whether it checks, where to go if it misses. Else slow. */
  readonly access?: {
    readonly group: AccessGroup;
    readonly checks: boolean;
    readonly miss: Label;
    /** Host address of the group's first byte, once it was checked. */
    readonly host: Local<Ptr>;
  };
}

export class RegionMachine extends FloatMachine {
  readonly #locals: RegionLocals;
  readonly #exit: Label;
  readonly #hasTotalStoreOrder: boolean;
  #place: RegionPlace | undefined;
  #pending: { register: number; value: I64 } | undefined;
  #condition: I32 | undefined;
  /** Registers that are known to hold a sign-extended word, by their locals. */
  readonly #words = new Set<I64>();
  #promotionBytes = 0;
  /** The promoted instruction may change what translations and interrupts depend on. */
  #changesContext = false;

  constructor(
    f: FunctionBuilder,
    vcpu: Ptr,
    library: Library,
    locals: RegionLocals,
    exit: Label,
    options: { fuses: boolean; hasTotalStoreOrder: boolean },
  ) {
    super(f, vcpu, library, locals.float, options.fuses);
    this.#hasTotalStoreOrder = options.hasTotalStoreOrder;
    this.#locals = locals;
    this.#exit = exit;
  }

  override beginBlock(): void {
    super.beginBlock();
    this.#words.clear();
  }

  /** Bytes of the promoted instructions so far. */
  get promotionBytes(): number {
    return this.#promotionBytes;
  }

  /** Emits one instruction. Jumps to registers leave their target in a local. */
  emit(place: RegionPlace): void {
    this.f.note(place.offset);
    this.#place = place;
    this.#pending = undefined;
    this.forgetValues();
    if (place.instruction.isEmulated) this.set('emulated', this.f.i64.add(this.get('emulated'), this.const(1)));
    if (place.site !== undefined) this.#promoted(place.site, place);
    else if (!this.injectsSign()) place.instruction.row.semantics(this);
    this.#commit();
    const { instruction } = place;
    if (isFloatState(instruction) && instruction.csr !== FFLAGS) this.#leaveIfReserved(place);
  }

  #leaveIfReserved({ offset, instruction, owed }: RegionPlace): void {
    const { f } = this;
    const leave = (): void => {
      f.set(this.#locals.budget, f.i32.add(this.#locals.budget.get, f.i32.const(owed - 1)));
      this.leaveFor(offset + instruction.length);
    };
    f.if(this.isModeReserved, leave, undefined, 'unlikely');
  }

  /** The condition of a branch: an expression of registers. */
  condition(place: RegionPlace): I32 {
    this.emit(place);
    return must(this.#condition);
  }

  /**
   * A promoted instruction: its execution is counted, and what it may read of the clock is exact. After a change of
   * context the region goes on if no interrupt may be due and all that was validated still stands.
   */
  #promoted(site: number, { offset, instruction, owed }: RegionPlace): void {
    const { f } = this;
    const { budget, epoch, slots } = this.#locals;
    const before = f.code.length;
    const record = f.ptr.const(PLAN.sites + site * SITE_BYTES);
    f.i32.store(record, 0, f.i32.add(f.i32.load(record), f.i32.const(1)));
    const isAccess = !isSensitive(instruction.role);
    this.set32('budgetLeft', f.i32.add(budget.get, f.i32.const(isAccess ? owed : owed - 1)));
    this.#changesContext = false;
    instruction.row.semantics(this);
    this.#commit();
    if (instruction.role === 'sensitive' && this.#changesContext)
      f.if(
        this.get32('reenter'),
        () => {
          f.set(slots, f.ptr.load(this.vcpu, at.slotBank));
          f.if(f.call(this.fn('must_look'), this.vcpu, epoch.get) as I32, () => {
            f.set(budget, f.i32.add(budget.get, f.i32.const(owed - 1)));
            this.leaveFor(offset + instruction.length);
          });
          this.set32('reenter', f.i32.const(0));
        },
        undefined,
        'unlikely',
      );
    this.#promotionBytes += f.code.length - before;
  }

  /** Leaves the region for `offset`. */
  leaveFor(offset: number): void {
    this.f.set(this.#locals.pc, this.#address(offset));
    this.f.br(this.#exit);
  }

  /** Leaves the region in front of the instruction at `offset`: `owed` steps were charged and are not done. */
  leaveAt(offset: number, owed: number): void {
    this.f.set(this.#locals.budget, this.f.i32.add(this.#locals.budget.get, this.f.i32.const(owed)));
    this.leaveFor(offset);
  }

  /** Leaves the region for what the local `pc` says. */
  exit(): void {
    this.f.br(this.#exit);
  }

  protected get instruction(): Instruction {
    return this.#now.instruction;
  }

  get #now(): RegionPlace {
    return must(this.#place);
  }

  rs1(): I64 {
    return this.#x(this.#now.instruction.rs1);
  }
  rs2(): I64 {
    return this.#x(this.#now.instruction.rs2);
  }
  rd(value: I64): void {
    const { rd, row } = this.#now.instruction;
    if (rd === 0) return;
    const local = must(this.#locals.x[rd]);
    const isWord = this.#isWord(value) || (row.kind === 'load' && row.name !== 'ld' && row.name !== 'lwu');
    this.#words.delete(local.get);
    // Rows that go on after they wrote rd may still read what it held.
    if (row.kind === 'alu' || row.kind === 'load' || row.kind === 'float') {
      if (isWord) this.#words.add(local.get);
      this.f.set(local, value);
    } else this.#pending = { register: rd, value: this.f.let(value) };
  }
  imm(): I64 {
    return this.const(this.#now.instruction.imm);
  }
  zimm(): I64 {
    return this.const(this.#now.instruction.zimm);
  }
  rmField(): I32 {
    return this.f.i32.const(this.#now.instruction.rm);
  }
  csrField(): I32 {
    return this.f.i32.const(this.#now.instruction.csr);
  }
  rdIsNotZero(): I32 {
    return this.f.i32.const(this.#now.instruction.rd === 0 ? 0 : 1);
  }
  rs1IsNotZero(): I32 {
    return this.f.i32.const(this.#now.instruction.rs1 === 0 ? 0 : 1);
  }
  rs2IsNotZero(): I32 {
    return this.f.i32.const(this.#now.instruction.rs2 === 0 ? 0 : 1);
  }
  pc(): I64 {
    return this.#address(this.#now.offset);
  }
  next(): I64 {
    return this.#address(this.#now.offset + this.#now.instruction.length);
  }

  /**
   * Where the host's processors have total store order, a fence that lets loads pass earlier stores has only the host's
   * compiler to hold: a store to where nobody looks does. A locked operation is a whole fence there, and cheaper.
   * Unprivileged specification, "Memory Ordering Instructions".
   */
  override fence(): void {
    if (!this.#hasTotalStoreOrder) super.fence();
    else if (ordersLoadsBehindStores(this.instruction.expanded))
      this.f.atomicRmw('add', this.vcpu, at.fenceWord, 4, this.f.i32.const(0));
    else this.f.i32.store(this.vcpu, at.fenceWord, this.f.i32.const(0));
  }

  override add(a: I64, b: I64): I64 {
    if (this.f.constantOf(a) === 0) return b;
    if (this.f.constantOf(b) === 0) return a;
    return super.add(a, b);
  }

  // In line: a call would have all registers that are in use stored and loaded again.
  override mulh(a: I64, b: I64): I64 {
    return highProduct(this.f, 'mulh', a, b);
  }
  override mulhu(a: I64, b: I64): I64 {
    return highProduct(this.f, 'mulhu', a, b);
  }
  override mulhsu(a: I64, b: I64): I64 {
    return highProduct(this.f, 'mulhsu', a, b);
  }
  override div(a: I64, b: I64): I64 {
    return this.#divide('div', a, b);
  }
  override divu(a: I64, b: I64): I64 {
    return this.#divide('divu', a, b);
  }
  override rem(a: I64, b: I64): I64 {
    return this.#divide('rem', a, b);
  }
  override remu(a: I64, b: I64): I64 {
    return this.#divide('remu', a, b);
  }
  /** Words are divided as words, which is faster on most hosts. */
  #divide(name: 'div' | 'divu' | 'rem' | 'remu', a: I64, b: I64): I64 {
    const { f } = this;
    const row = this.#now.instruction.row.name;
    if (row !== `${name}w`) return division(f, f.i64, name, a, b);
    return f.convert('i64_extend_i32_s', division(f, f.i32, name, f.low32(a), f.low32(b)));
  }

  // Logic on words is done on words: so hosts see that two shifts and an `or` are a rotation, and drop extensions.
  override and(a: I64, b: I64): I64 {
    return this.#onWords('and', a, b) ?? super.and(a, b);
  }
  override or(a: I64, b: I64): I64 {
    return this.#onWords('or', a, b) ?? super.or(a, b);
  }
  override xor(a: I64, b: I64): I64 {
    return this.#onWords('xor', a, b) ?? super.xor(a, b);
  }
  #onWords(name: 'and' | 'or' | 'xor', a: I64, b: I64): I64 | undefined {
    if (!this.#isWord(a) || !this.#isWord(b)) return undefined;
    return this.f.convert('i64_extend_i32_s', this.f.i32.op(name, this.f.low32(a), this.f.low32(b)));
  }
  #isWord(value: I64): boolean {
    return this.#words.has(value) || this.f.isSignExtended(value);
  }

  branch(c: I32): void {
    this.#condition = c;
  }
  jump(): void {
    this.#commit();
  }
  jumpTo(target: I64): void {
    this.f.set(this.#locals.target, target);
    this.#commit();
  }
  override requireTarget(target: I64): void {
    // Constant targets were looked at when the region was found.
    if (this.#now.instruction.role === 'jumpRegister') super.requireTarget(target);
  }

  load(address: I64, size: AccessSize, signed: boolean): I64 {
    const { f } = this;
    const { access } = this.#now;
    if (access !== undefined) {
      const { host, offset } = this.#fast(access);
      if (this.instruction.floatWrites !== undefined) {
        if (size === 8) return this.loaded(f.f64.load(host, offset), 8);
        if (size === 4 && this.writesSingle) return this.loaded(f.f32.load(host, offset), 4);
      }
      return f.i64.loadSized(host, offset, size, signed);
    }
    const slot = f.i32.const(slotOffset(this.#now.instruction.rs1, false));
    const call = this.#now.site === undefined ? 'slot_load' : 'promoted_load';
    const raw = f.let(f.call(this.fn(call), this.vcpu, address, f.i32.const(size), slot) as I64);
    this.abortIfFault();
    if (!signed || size === 8) return raw;
    return size === 4 ? this.sext32(raw) : size === 2 ? this.sext16(raw) : this.sext8(raw);
  }

  store(address: I64, size: AccessSize, value: I64): void {
    const { f } = this;
    const { access } = this.#now;
    if (access !== undefined) {
      const { host, offset } = this.#fast(access);
      const known = this.hostValue(value, size);
      if (known === undefined) f.i64.storeSized(host, offset, size, value);
      else if (size === 8) f.f64.store(host, offset, known as F64);
      else f.f32.store(host, offset, known as F32);
      return;
    }
    const slot = f.i32.const(slotOffset(this.#now.instruction.rs1, true));
    const call = this.#now.site === undefined ? 'slot_store' : 'promoted_store';
    f.call(this.fn(call), this.vcpu, address, f.i32.const(size), slot, value);
    this.abortIfFault();
    this.#leaveIfDropped();
  }

  override amo(...[operation, address, size, value]: Parameters<WasmMachine['amo']>): I64 {
    const old = super.amo(operation, address, size, value);
    this.#leaveIfDroppedAfter(old);
    return old;
  }
  override storeConditional(...[address, size, value]: Parameters<WasmMachine['storeConditional']>): I64 {
    const failed = super.storeConditional(address, size, value);
    this.#leaveIfDroppedAfter(failed);
    return failed;
  }

  /** The interpreter does this instruction again, and finds what is the matter. */
  abort(): void {
    const { f } = this;
    const { owed, offset } = this.#now;
    this.set32('fault', f.i32.const(0));
    f.set(this.#locals.budget, f.i32.add(this.#locals.budget.get, f.i32.const(owed)));
    this.leaveFor(offset);
  }
  override require(c: I32): void {
    if (this.f.constantOf(c) === 1) return;
    this.f.if(this.f.i32.eqz(c), () => this.abort(), undefined, 'unlikely');
  }
  override requireVirtual(c: I32): void {
    this.require(c);
  }
  /** Exceptions are left to the interpreter, but for those that are what a promoted instruction is for: ecall's. */
  override raise(cause: number, tval: I64): void {
    if (this.#now.site === undefined || this.#now.instruction.role !== 'away') {
      this.abort();
      return;
    }
    const { f } = this;
    this.set('faultCause', this.const(cause));
    this.set('faultTval', tval);
    this.set('instret', f.i64.sub(this.get('instret'), this.const(1)));
    f.call(this.fn('take_trap'), this.vcpu, this.pc());
    f.set(this.#locals.pc, this.get('pc'));
    this.exit();
  }
  /** Own writes to code have dropped it already. */
  fenceInstruction(): void {
    this.f.atomicFence();
    this.f.if(this.get32('hasPeers'), () => this.abort(), undefined, 'unlikely');
  }
  /** A call is answered here if the host can, and the region is left behind it; anything else is the interpreter's. */
  leaveWith(exit: ExitName): void {
    assert(this.#now.site !== undefined, `regions do not leave with ${exit}`);
    if (exit !== 'call') {
      this.abort();
      return;
    }
    const { f } = this;
    for (let i = FIRST_ARGUMENT; i <= LAST_ARGUMENT; i++) {
      const local = this.#locals.x[i];
      if (local) f.i64.store(this.vcpu, at.x + i * 8, local.get);
    }
    f.if(
      f.call(this.fn('promoted_call'), this.vcpu) as I32,
      () => {
        for (let i = FIRST_ARGUMENT; i < FIRST_ARGUMENT + 2; i++) {
          const local = this.#locals.x[i];
          if (local) f.set(local, f.i64.load(this.vcpu, at.x + i * 8));
        }
        this.set32('reenter', f.i32.const(1));
        this.leaveFor(this.#now.offset + this.#now.instruction.length);
      },
      () => this.abort(),
    );
  }
  override requireCsrWritable(): void {
    if (isReadOnly(this.#now.instruction.csr)) this.require(this.f.i32.const(0));
  }
  override guestStore(...[address, size, value]: Parameters<WasmMachine['guestStore']>): void {
    super.guestStore(address, size, value);
    this.#leaveIfDropped();
  }
  override csrRead(): I64 {
    if (isFloatState(this.#now.instruction)) return super.csrRead();
    const row = CSR_BY_NUMBER.get(this.#now.instruction.csr);
    if (row !== undefined) return readCsr(this, row);
    this.abort();
    return this.const(0);
  }
  override csrWrite(value: I64, changes: I64): void {
    const row = CSR_BY_NUMBER.get(this.#now.instruction.csr);
    if (isFloatState(this.#now.instruction)) super.csrWrite(value, changes);
    else if (row === undefined) this.abort();
    // That it may be accessed was found out before: every instruction of Zicsr asks whether it is writable, and reads.
    else row.write?.(this, value, changes);
  }
  override contextChanged(): void {
    this.#changesContext = true;
    super.contextChanged();
  }
  override protectionChanged(): void {
    this.#changesContext = true;
    super.protectionChanged();
  }
  protected override fenceScope(...of: Parameters<WasmMachine['fenceScope']>): void {
    this.#changesContext = true;
    super.fenceScope(...of);
  }

  /** The host address of an access, as a pointer and a constant offset; found by the first of its group. */
  #fast({ group, checks, miss, host }: NonNullable<RegionPlace['access']>): { host: Ptr; offset: number } {
    const { slots, budget } = this.#locals;
    const engine = { refill: () => this.fn('slot_refill'), walk: () => this.fn('slot_walk') };
    const context = { f: this.f, vcpu: this.vcpu, slots, budget, ...engine };
    if (checks) checkSlot(context, group, this.#x(group.base), miss, host);
    return { host: host.get, offset: this.#now.instruction.imm - group.from };
  }

  /** A store that dropped regions, this one perhaps, was done: what follows is left to the interpreter. */
  #leaveIfDropped(before?: () => void): void {
    const { f } = this;
    const { owed, offset, instruction } = this.#now;
    f.if(
      this.get32('dropped'),
      () => {
        this.set32('dropped', f.i32.const(0));
        before?.();
        f.set(this.#locals.budget, f.i32.add(this.#locals.budget.get, f.i32.const(owed - 1)));
        this.leaveFor(offset + instruction.length);
      },
      undefined,
      'unlikely',
    );
  }

  #leaveIfDroppedAfter(result: I64): void {
    const { rd } = this.#now.instruction;
    this.#leaveIfDropped(() => {
      if (rd !== 0) this.f.set(must(this.#locals.x[rd]), result);
    });
  }

  #commit(): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) this.f.set(must(this.#locals.x[pending.register]), pending.value);
  }

  #x(register: number): I64 {
    return register === 0 ? this.const(0) : must(this.#locals.x[register]).get;
  }

  #address(offset: number): I64 {
    return this.add(this.#locals.base.get, this.const(offset));
  }
}

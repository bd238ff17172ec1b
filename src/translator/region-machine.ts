/**
 * The abstract machine for regions: operands are constants of the code, registers are locals. Accesses to memory go
 * through page slots; those that miss continue in a slow twin of the rest of their block (region-writer.ts), whose
 * accesses are calls.
 */
import { assert, must } from '../base/assert.ts';
import {
  type ExitName,
  type Library,
  PLAN,
  SITE_BYTES,
  SLOT,
  slotOffset,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  vcpuState,
  type WasmMachine,
} from '../engine/index.ts';
import { type AccessSize, CSR_BY_NUMBER, isReadOnly, readCsr } from '../isa/index.ts';
import type { F32, F64, FunctionBuilder, I32, I64, Label, Local, Ptr } from '../wasm/index.ts';
import type { AccessGroup } from './accesses.ts';
import { type FloatLocals, FloatMachine } from './float-machine.ts';
import { type Instruction, isSensitive } from './instruction.ts';

const at = vcpuState.offset;
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
  /** Targets of jumps to registers, conditions of branches. */
  readonly target: Local<I64>;
  readonly condition: Local<I32>;
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
  /** Fast: the group that its access belongs to, whether it checks, and where to go if it misses. Else slow. */
  readonly access?: { readonly group: AccessGroup; readonly checks: boolean; readonly miss: Label };
}

export class RegionMachine extends FloatMachine {
  readonly #locals: RegionLocals;
  readonly #exit: Label;
  #place: RegionPlace | undefined;
  #pending: { register: number; value: I64 } | undefined;
  #promotionBytes = 0;
  /** The promoted instruction may change what translations and interrupts depend on. */
  #changesContext = false;

  constructor(
    f: FunctionBuilder,
    vcpu: Ptr,
    library: Library,
    locals: RegionLocals,
    exit: Label,
    options: { fuses: boolean },
  ) {
    super(f, vcpu, library, locals.float, options.fuses);
    this.#locals = locals;
    this.#exit = exit;
  }

  /** Bytes of the promoted instructions so far. */
  get promotionBytes(): number {
    return this.#promotionBytes;
  }

  /** Emits one instruction. Endings leave their condition or target in locals. */
  emit(place: RegionPlace): void {
    this.f.note(place.offset);
    this.#place = place;
    this.#pending = undefined;
    this.forgetValues();
    if (place.instruction.isEmulated) this.set('emulated', this.f.i64.add(this.get('emulated'), this.const(1)));
    if (place.site !== undefined) this.#promoted(place, place.site);
    else if (!this.injectsSign()) place.instruction.row.semantics(this);
    this.#commit();
  }

  /**
   * A promoted instruction: its execution is counted, and what it may read of the clock is exact. After a change of
   * context the region goes on if no interrupt may be due and all that was validated still stands.
   */
  #promoted({ site, instruction, owed }: RegionPlace, number: number): void {
    assert(site === number, 'of this instruction');
    const { f } = this;
    const { budget, epoch, slots } = this.#locals;
    const before = f.code.length;
    const record = f.ptr.const(PLAN.sites + number * SITE_BYTES);
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
            this.leaveFor(this.#now.offset + instruction.length);
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
    // Rows that go on after they wrote rd may still read what it held.
    if (row.kind === 'alu' || row.kind === 'load' || row.kind === 'float') this.f.set(must(this.#locals.x[rd]), value);
    else this.#pending = { register: rd, value: this.f.let(value) };
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

  override add(a: I64, b: I64): I64 {
    if (this.f.constantOf(a) === 0) return b;
    if (this.f.constantOf(b) === 0) return a;
    return super.add(a, b);
  }

  branch(c: I32): void {
    this.f.set(this.#locals.condition, c);
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
    this.f.if(this.f.i32.eqz(c), () => this.abort(), undefined, 'unlikely');
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
  override csrRead(): I64 {
    const row = CSR_BY_NUMBER.get(this.#now.instruction.csr);
    if (row !== undefined) return readCsr(this, row);
    this.abort();
    return this.const(0);
  }
  override csrWrite(value: I64, changes: I64): void {
    const row = CSR_BY_NUMBER.get(this.#now.instruction.csr);
    if (row === undefined) this.abort();
    else if (isReadOnly(row.number)) this.require(this.f.i32.const(0));
    // That it may be accessed was found out before it was read: every instruction of Zicsr reads first.
    else row.write?.(this, value, changes);
  }
  override contextChanged(): void {
    this.#changesContext = true;
    super.contextChanged();
  }
  override fenceTranslation(va: I64 | undefined, asid: I64 | undefined): void {
    this.#changesContext = true;
    super.fenceTranslation(va, asid);
  }

  /** The host address of an access, as a pointer and a constant offset; checked if it is the first of its group. */
  #fast(access: NonNullable<RegionPlace['access']>): { host: Ptr; offset: number } {
    const { f } = this;
    const { group, checks, miss } = access;
    const slot = slotOffset(group.base, group.isWrite);
    const base = this.#x(group.base);
    const bank = this.#locals.slots.get;
    if (checks) this.#check(group, miss, bank, slot, base);
    const host = f.ptr.add(f.ptr.from64(base), f.ptr.load(bank, slot + SLOT.delta));
    const { imm } = this.#now.instruction;
    return imm >= 0 ? { host, offset: imm } : { host: f.ptr.add(host, f.ptr.const(imm)), offset: 0 };
  }

  /**
   * Leaves the slot with the page of the group, or goes to `miss`. One access is compared with its alignment, so that
   * it lies in the page if its first byte does; several must begin and end in one page.
   */
  #check(group: AccessGroup, miss: Label, bank: Ptr, slot: number, base: I64): void {
    const { f } = this;
    const span = group.to - group.from;
    const first = f.let(this.add(base, this.const(group.from)));
    if (group.count > 1) {
      const ends = f.i64.xor(first, f.i64.add(first, f.i64.const(span - 1)));
      f.brIf(miss, f.i64.gtU(ends, f.i64.const(4095)), 'unlikely');
    }
    const page = f.i64.and(first, f.i64.const(group.count > 1 ? -4096 : -4096 | (span - 1)));
    f.if(
      f.i64.ne(page, f.i64.load(bank, slot + SLOT.tag)),
      () => {
        const buffer = f.ptr.load(this.vcpu, group.isWrite ? at.writeBank : at.readBank);
        const index = f.i64.and(f.i64.shrU(first, f.i64.const(8)), f.i64.const((TLB_ENTRIES - 1) * TLB_ENTRY_BYTES));
        const entry = f.let(f.ptr.add(buffer, f.ptr.from64(index)));
        const tag = f.i64.load(entry);
        f.brIf(miss, f.i64.ne(page, tag), 'unlikely');
        f.i64.store(bank, slot + SLOT.tag, tag);
        f.ptr.store(bank, slot + SLOT.delta, f.ptr.load(entry, 8));
      },
      undefined,
      'unlikely',
    );
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

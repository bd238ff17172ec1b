/**
 * The reference machine: a hart that computes with bigints, one instruction at a time, and an oracle for everything
 * faster. It implements the abstract machine of the instruction table over a plain state, translates by walking page
 * tables at each access, and holds nothing that could be stale. An instruction that traps must not have changed
 * anything before: an assertion, since rows are written so.
 * Long: one method for each operation of Machine.
 */
import { assert, must } from '../../base/assert.ts';
import { box, unbox } from '../../base/float/index.ts';
import { CSR_BY_NUMBER, type Csr, isReadOnly, readCsr, writeCsr } from '../csr/index.ts';
import type { Decoded, Decoder } from '../decoder.ts';
import { FLOAT_OPERATIONS, type FloatOperation } from '../float-operations.ts';
import type { AccessSize, AmoOperation, FloatLetter, Machine } from '../machine.ts';
import { EXCEPTION } from '../privileged/causes.ts';
import { MSTATUS } from '../privileged/mstatus.ts';
import type { Access } from '../privileged/pmp-check.ts';
import { PSEUDOINSTRUCTION, transformedInstruction } from '../privileged/transformed.ts';
import { enterTrap, interruptWaiting, pendingInterrupt } from '../privileged/trap.ts';
import {
  type AccessAs,
  effectiveMode,
  type PageTableMemory,
  type PhysicalPart,
  type TranslationFault,
  translate,
} from '../privileged/walk.ts';
import { type AreaField, FEATURE, GUEST_FIELD, type StateField } from '../state.ts';
import * as integer from './arithmetic.ts';
import { FLOAT_FORMATS, floatOperation } from './float.ts';
import type { PhysicalMemory } from './memory.ts';
import type { ReferenceState } from './state.ts';

const { wrap } = integer;

export interface ReferenceOptions {
  readonly state: ReferenceState;
  readonly decoder: Decoder;
  readonly memory: PhysicalMemory;
  /** mtime, in ticks of the timebase. Zero if not given. */
  readonly time?: () => bigint;
  /** stimecmp, or what enables it, has changed (Machine.timerChanged). */
  readonly onTimerChange?: () => void;
}

/** What a step did. A trap has been entered: pc is its vector. `cause` is without the interrupt flag. */
export type Step =
  | { readonly kind: 'retired' }
  | { readonly kind: 'left'; readonly exit: 'call' | 'wait' | 'breakpoint' }
  | { readonly kind: 'trapped'; readonly cause: number; readonly tval: bigint; readonly isInterrupt: boolean };

/** What an instruction did whose traps are its caller's to take: registers and pc are as before then. */
export type Execution = Exclude<Step, { kind: 'trapped' }> | { readonly kind: 'raised'; cause: number; tval: bigint };

const RETIRED: Step & Execution = { kind: 'retired' };
const BLOCK_BYTES = 64;

/** What a failed access knows besides: that it was a guest's, the guest-physical address (0: none), mtinst's value. */
interface TrapDetails {
  readonly isGuest: boolean;
  readonly gpa: bigint;
  readonly instruction: bigint;
}
const NO_DETAILS: TrapDetails = { isGuest: false, gpa: 0n, instruction: 0n };

class Trap {
  readonly cause: number;
  readonly tval: bigint;
  readonly details: TrapDetails;
  constructor(cause: number, tval: bigint, details: TrapDetails = NO_DETAILS) {
    this.cause = cause;
    this.tval = tval;
    this.details = details;
  }
}

export class ReferenceHart implements Machine<bigint, boolean> {
  readonly registers: ReferenceState;
  readonly #decoder: Decoder;
  readonly #memory: PhysicalMemory;
  readonly #pageTables: PageTableMemory;
  readonly #options: ReferenceOptions;
  #decoded: Decoded | undefined;
  /** The bits fetched, for illegal instructions' tval. */
  #bits = 0;
  #next = 0n;
  #hasEffect = false;
  #exit: 'call' | 'wait' | 'breakpoint' | undefined;

  constructor(options: ReferenceOptions) {
    this.registers = options.state;
    this.#decoder = options.decoder;
    this.#memory = options.memory;
    this.#options = options;
    this.#pageTables = pageTablesIn(options.memory);
  }

  /** Takes a pending interrupt, or executes one instruction. */
  step(): Step {
    const { registers } = this;
    this.#decoded = undefined;
    this.#exit = undefined;
    this.#hasEffect = false;
    if (interruptWaiting(this)) {
      const cause = pendingInterrupt(this);
      if (cause !== wrap(-1n)) return this.#trap(new Trap(Number(cause), 0n), true);
    }
    try {
      this.#execute();
    } catch (trap) {
      if (!(trap instanceof Trap)) throw trap;
      assert(!this.#hasEffect, `${this.executed?.row.name} trapped after it had changed something`);
      return this.#trap(trap, false);
    }
    registers.pc = this.#next;
    registers.instret = wrap(registers.instret + 1n);
    return this.#exit ? { kind: 'left', exit: this.#exit } : RETIRED;
  }

  /**
   * Executes the instruction `bits` as if it stood at the pc: no interrupt, no fetch, and a trap is told, not taken.
   * Undefined where the decoder has no such instruction.
   */
  executeBits(bits: number): Execution | undefined {
    const { registers } = this;
    this.#exit = undefined;
    this.#hasEffect = false;
    this.#bits = bits;
    this.#decoded = this.#decoder.decode(bits);
    if (!this.#decoded) return undefined;
    try {
      this.#next = this.next();
      this.#decoded.row.semantics(this);
    } catch (trap) {
      if (!(trap instanceof Trap)) throw trap;
      return { kind: 'raised', cause: trap.cause, tval: trap.tval };
    }
    registers.pc = this.#next;
    registers.instret = wrap(registers.instret + 1n);
    return this.#exit ? { kind: 'left', exit: this.#exit } : RETIRED;
  }

  /** What the last step executed; undefined if it fetched nothing that decodes. */
  get executed(): Decoded | undefined {
    return this.#decoded;
  }

  #execute(): void {
    this.#bits = this.#fetch();
    this.#decoded = this.#decoder.decode(this.#bits);
    if (!this.#decoded) throw new Trap(EXCEPTION.illegalInstruction, BigInt(this.#bits));
    this.#next = this.next();
    this.#decoded.row.semantics(this);
  }

  #trap({ cause, tval, details }: Trap, isInterrupt: boolean): Step {
    const { isGuest, gpa, instruction } = details;
    const isGuestAccess = isGuest ? 1n : 0n;
    enterTrap(this, { cause: BigInt(cause), tval, isGuestAccess, gpa: gpa >> 2n, instruction }, isInterrupt);
    this.registers.pc = this.#next;
    return { kind: 'trapped', cause, tval, isInterrupt };
  }

  /** The upper half is fetched only if the lower one says that there is one: it may lie in a page that faults. */
  #fetch(): number {
    const { pc } = this.registers;
    if ((pc & 3n) === 0n) {
      const bits = Number(this.#read(pc, 4, 'fetch'));
      return (bits & 3) === 3 ? bits : bits & 0xffff;
    }
    const low = Number(this.#read(pc, 2, 'fetch'));
    return (low & 3) === 3 ? low + Number(this.#read(wrap(pc + 2n), 2, 'fetch')) * 0x10000 : low;
  }

  get #instruction(): Decoded {
    assert(this.#decoded, 'no instruction is being executed');
    return this.#decoded;
  }

  // Operands.
  rs1(): bigint {
    return this.registers.x[this.#instruction.rs1] as bigint;
  }
  rs2(): bigint {
    return this.registers.x[this.#instruction.rs2] as bigint;
  }
  rd(value: bigint): void {
    const { rd } = this.#instruction;
    this.#hasEffect = true;
    if (rd !== 0) this.registers.x[rd] = value;
  }
  frs1(): bigint {
    return this.registers.f[this.#instruction.rs1] as bigint;
  }
  frs2(): bigint {
    return this.registers.f[this.#instruction.rs2] as bigint;
  }
  frs3(): bigint {
    return this.registers.f[this.#instruction.rs3] as bigint;
  }
  frd(value: bigint): void {
    this.#dirtyFloat();
    this.registers.f[this.#instruction.rd] = value;
  }
  imm(): bigint {
    return wrap(BigInt(this.#instruction.imm));
  }
  zimm(): bigint {
    return BigInt(this.#instruction.zimm);
  }
  pc(): bigint {
    return this.registers.pc;
  }
  next(): bigint {
    return wrap(this.registers.pc + BigInt(this.#instruction.length));
  }

  // Arithmetic.
  const(value: number | bigint): bigint {
    return wrap(BigInt(value));
  }
  add(a: bigint, b: bigint): bigint {
    return wrap(a + b);
  }
  sub(a: bigint, b: bigint): bigint {
    return wrap(a - b);
  }
  and(a: bigint, b: bigint): bigint {
    return a & b;
  }
  or(a: bigint, b: bigint): bigint {
    return a | b;
  }
  xor(a: bigint, b: bigint): bigint {
    return a ^ b;
  }
  not(a: bigint): bigint {
    return wrap(~a);
  }
  sll(a: bigint, b: bigint): bigint {
    return wrap(a << (b & 63n));
  }
  srl(a: bigint, b: bigint): bigint {
    return a >> (b & 63n);
  }
  sra(a: bigint, b: bigint): bigint {
    return wrap(integer.signed(a) >> (b & 63n));
  }
  rotr(a: bigint, b: bigint): bigint {
    return integer.rotateRight(a, b);
  }
  mul(a: bigint, b: bigint): bigint {
    return wrap(a * b);
  }
  mulh(a: bigint, b: bigint): bigint {
    return integer.highProduct(integer.signed(a), integer.signed(b));
  }
  mulhu(a: bigint, b: bigint): bigint {
    return integer.highProduct(a, b);
  }
  mulhsu(a: bigint, b: bigint): bigint {
    return integer.highProduct(integer.signed(a), b);
  }
  div(a: bigint, b: bigint): bigint {
    return integer.quotient(a, b);
  }
  divu(a: bigint, b: bigint): bigint {
    return integer.unsignedQuotient(a, b);
  }
  rem(a: bigint, b: bigint): bigint {
    return integer.remainder(a, b);
  }
  remu(a: bigint, b: bigint): bigint {
    return integer.unsignedRemainder(a, b);
  }
  clmul(a: bigint, b: bigint): bigint {
    return wrap(integer.carrylessProduct(a, b));
  }
  clmulh(a: bigint, b: bigint): bigint {
    return integer.carrylessProduct(a, b) >> 64n;
  }
  clz(a: bigint): bigint {
    return integer.leadingZeros(a);
  }
  ctz(a: bigint): bigint {
    return integer.trailingZeros(a);
  }
  popcnt(a: bigint): bigint {
    return integer.ones(a);
  }
  sext8(a: bigint): bigint {
    return integer.extend(8, a);
  }
  sext16(a: bigint): bigint {
    return integer.extend(16, a);
  }
  sext32(a: bigint): bigint {
    return integer.extend(32, a);
  }
  zext32(a: bigint): bigint {
    return BigInt.asUintN(32, a);
  }
  let(a: bigint): bigint {
    return a;
  }

  // Conditions.
  eq(a: bigint, b: bigint): boolean {
    return a === b;
  }
  ne(a: bigint, b: bigint): boolean {
    return a !== b;
  }
  lts(a: bigint, b: bigint): boolean {
    return integer.signed(a) < integer.signed(b);
  }
  ltu(a: bigint, b: bigint): boolean {
    return a < b;
  }
  both(a: boolean, b: boolean): boolean {
    return a && b;
  }
  either(a: boolean, b: boolean): boolean {
    return a || b;
  }
  negate(a: boolean): boolean {
    return !a;
  }
  bool(c: boolean): bigint {
    return c ? 1n : 0n;
  }
  select(c: boolean, a: bigint, b: bigint): bigint {
    return c ? a : b;
  }
  when(c: boolean, then: () => void, otherwise?: () => void): void {
    if (c) then();
    else otherwise?.();
  }

  // Control flow.
  requireTarget(target: bigint): void {
    const alignment = (this.registers.features & FEATURE.c) !== 0n ? 2n : 4n;
    if (target % alignment !== 0n) throw new Trap(EXCEPTION.instructionAddressMisaligned, target);
  }
  branch(c: boolean): void {
    if (!c) return;
    this.requireTarget(wrap(this.pc() + this.imm()));
    this.jump();
  }
  jump(): void {
    this.jumpTo(wrap(this.pc() + this.imm()));
  }
  jumpTo(target: bigint): void {
    this.#next = target;
  }

  // Memory.
  load(address: bigint, size: AccessSize, isSigned: boolean): bigint {
    const value = this.#read(address, size, 'load');
    return isSigned ? integer.extend(size * 8, value) : value;
  }
  store(address: bigint, size: AccessSize, value: bigint): void {
    this.#write(address, size, value, 'current');
  }
  #write(address: bigint, size: AccessSize, value: bigint, as: AccessAs): void {
    const parts = this.#locate(address, size, 'store', as);
    this.#hasEffect = true;
    let rest = value;
    for (const part of parts) {
      this.#memory.write(part.address, part.sizeBytes, BigInt.asUintN(part.sizeBytes * 8, rest));
      rest >>= BigInt(part.sizeBytes * 8);
    }
  }
  loadReserved(address: bigint, size: 4 | 8): bigint {
    if (address % BigInt(size) !== 0n) throw this.#misaligned(EXCEPTION.loadAddressMisaligned, address);
    const at = this.#locateOne(address, size, 'load');
    const value = integer.extend(size * 8, this.#memory.read(at, size));
    this.#hasEffect = true;
    this.registers.reservationAddress = at;
    this.registers.reservationSize = BigInt(size);
    this.registers.reservationValue = value;
    return value;
  }
  /** Another hart's store to the place is noticed by the value, as compare-and-exchange does in the engine. */
  storeConditional(address: bigint, size: 4 | 8, value: bigint): bigint {
    const at = this.#locateAtomic(address, size);
    this.#hasEffect = true;
    const { reservationAddress, reservationSize, reservationValue } = this.registers;
    this.registers.reservationSize = 0n;
    const found = integer.extend(size * 8, this.#memory.read(at, size));
    if (reservationSize !== BigInt(size) || reservationAddress !== at || reservationValue !== found) return 1n;
    this.#memory.write(at, size, BigInt.asUintN(size * 8, value));
    return 0n;
  }
  amo(operation: AmoOperation, address: bigint, size: 4 | 8, value: bigint): bigint {
    const at = this.#locateAtomic(address, size);
    const old = integer.extend(size * 8, this.#memory.read(at, size));
    const next = amoResult(operation, old, integer.extend(size * 8, value));
    this.#hasEffect = true;
    this.#memory.write(at, size, BigInt.asUintN(size * 8, next));
    return old;
  }
  /** A fault reports the address in rs1, not the block's. */
  zeroBlock(address: bigint): void {
    const at = this.#locateBlock(address, 'store');
    this.#hasEffect = true;
    for (let i = 0; i < BLOCK_BYTES; i += 8) this.#memory.write(at + BigInt(i), 8, 0n);
  }
  /** Translation and PMP must permit it; where no RAM is, there is nothing to manage, and no fault. */
  touchBlock(address: bigint): void {
    this.#locateBlock(address, 'cache');
  }

  guestLoad(address: bigint, size: AccessSize, isSigned: boolean, executable: boolean): bigint {
    const value = this.#read(address, size, 'load', executable ? 'guestExecutable' : 'guest');
    return isSigned ? integer.extend(size * 8, value) : value;
  }
  guestStore(address: bigint, size: AccessSize, value: bigint): void {
    this.#write(address, size, value, 'guest');
  }

  #read(address: bigint, sizeBytes: number, access: Access, as: AccessAs = 'current'): bigint {
    let value = 0n;
    let shift = 0n;
    for (const part of this.#locate(address, sizeBytes, access, as)) {
      value |= this.#memory.read(part.address, part.sizeBytes) << shift;
      shift += BigInt(part.sizeBytes * 8);
    }
    return value;
  }
  #locateOne(address: bigint, sizeBytes: number, access: Access): bigint {
    const [part] = this.#locate(address, sizeBytes, access);
    assert(part && part.sizeBytes === sizeBytes, 'an aligned access lies in one page');
    return part.address;
  }
  #locateAtomic(address: bigint, size: number): bigint {
    if (address % BigInt(size) !== 0n) throw this.#misaligned(EXCEPTION.storeAddressMisaligned, address);
    return this.#locateOne(address, size, 'store');
  }
  #locateBlock(address: bigint, access: Access): bigint {
    const block = address - (address % BigInt(BLOCK_BYTES));
    try {
      return this.#locateOne(block, BLOCK_BYTES, access);
    } catch (trap) {
      throw trap instanceof Trap ? new Trap(trap.cause, address, trap.details) : trap;
    }
  }
  /** Where the bytes lie in physical memory: one part, or two where a page boundary cuts. All may be accessed. */
  #locate(address: bigint, sizeBytes: number, access: Access, as: AccessAs = 'current'): readonly PhysicalPart[] {
    const result = translate(this.registers, this.#pageTables, address, access, sizeBytes, as);
    if (result.kind === 'fault') throw this.#failed(result, address, access);
    let at = address;
    for (const part of result.parts) {
      if (access !== 'cache' && !this.#memory.has(part.address, part.sizeBytes)) {
        const { isGuest } = effectiveMode(this.registers, access, as);
        throw this.#failed({ cause: ACCESS_FAULT[access], tval: at, isGuest }, address, access);
      }
      at = wrap(at + BigInt(part.sizeBytes));
    }
    return result.parts;
  }
  /** The instruction is told of guests' accesses alone; for others its value may be zero, and is. */
  #failed(fault: Omit<TranslationFault, 'kind'>, address: bigint, access: Access): Trap {
    const { cause, tval, isGuest, gpa = 0n, implicit } = fault;
    const instruction = implicit
      ? PSEUDOINSTRUCTION[implicit]
      : isGuest && access !== 'fetch'
        ? transformedInstruction(this.#instruction, wrap(tval - address))
        : 0n;
    return new Trap(cause, tval, { isGuest, gpa, instruction });
  }
  /** Atomics' alignment is checked before translation. */
  #misaligned(cause: number, tval: bigint): Trap {
    const { isGuest } = effectiveMode(this.registers, 'load');
    return this.#failed({ cause, tval, isGuest }, tval, 'load');
  }

  // Floating point.
  requireFloat(): void {
    this.require((this.registers.mstatus & MSTATUS.FS) !== 0n);
  }
  roundingMode(): bigint {
    const mode = this.#instruction.rm === 7 ? this.registers.frm : BigInt(this.#instruction.rm);
    this.require(mode <= 4n);
    return mode;
  }
  float(operation: FloatOperation, format: FloatLetter, ...operands: bigint[]): bigint {
    const { value, flags } = floatOperation(operation, format, operands);
    if (FLOAT_OPERATIONS[operation].flags) this.#dirtyFloat();
    this.registers.fflags |= BigInt(flags);
    return value;
  }
  unbox(format: FloatLetter, raw: bigint): bigint {
    return unbox(FLOAT_FORMATS[format], raw);
  }
  box(format: FloatLetter, value: bigint): bigint {
    return box(FLOAT_FORMATS[format], value);
  }
  #dirtyFloat(): void {
    this.#hasEffect = true;
    this.registers.mstatus |= MSTATUS.FS;
  }

  // The privileged architecture.
  state(field: StateField): bigint {
    return this.registers[field];
  }
  setState(field: StateField, value: bigint): void {
    this.#hasEffect = true;
    this.registers[field] = value;
  }
  areaState(field: AreaField): bigint {
    return this.registers[this.#inArea(field)];
  }
  setAreaState(field: AreaField, value: bigint): void {
    this.setState(this.#inArea(field), value);
  }
  #inArea(field: AreaField): StateField {
    return this.registers.virtual === 0n ? field : GUEST_FIELD[field];
  }
  countArea(counter: bigint): void {
    const { areaCounts } = this.registers;
    areaCounts[Number(counter)] = wrap(must(areaCounts[Number(counter)]) + 1n);
  }
  require(c: boolean): void {
    if (!c) throw new Trap(EXCEPTION.illegalInstruction, BigInt(this.#bits));
  }
  requireVirtual(c: boolean): void {
    const isGuest = this.registers.virtual !== 0n;
    if (!c) throw new Trap(isGuest ? EXCEPTION.virtualInstruction : EXCEPTION.illegalInstruction, BigInt(this.#bits));
  }
  raise(cause: number, tval: bigint): void {
    throw new Trap(cause, tval);
  }
  requireCsrWritable(): void {
    this.require(!isReadOnly(this.#instruction.csr));
  }
  csrRead(): bigint {
    return readCsr(this, this.#csr());
  }
  csrWrite(value: bigint, changes: bigint): void {
    writeCsr(this, this.#csr(), value, changes);
  }
  #csr(): Csr {
    const row = CSR_BY_NUMBER.get(this.#instruction.csr);
    if (!row) throw new Trap(EXCEPTION.illegalInstruction, BigInt(this.#bits));
    return row;
  }
  rdIsNotZero(): boolean {
    return this.#instruction.rd !== 0;
  }
  rs1IsNotZero(): boolean {
    return this.#instruction.rs1 !== 0;
  }
  rs2IsNotZero(): boolean {
    return this.#instruction.rs2 !== 0;
  }
  mode(): bigint {
    return this.registers.mode;
  }
  timerChanged(): void {
    this.#options.onTimerChange?.();
  }
  time(): bigint {
    return wrap(this.#options.time?.() ?? 0n);
  }
  instret(): bigint {
    return this.registers.instret;
  }
  leave(exit: 'call' | 'wait' | 'breakpoint'): void {
    this.#exit = exit;
  }

  // Nothing is cached, and one hart's accesses are in order: there is nothing to do.
  contextChanged(): void {}
  protectionChanged(): void {}
  fenceTranslation(): void {}
  fenceGuest(): void {}
  fenceGuestPhysical(): void {}
  fenceInstruction(): void {}
  fence(): void {}
  pause(): void {}
}

const ACCESS_FAULT = {
  fetch: EXCEPTION.instructionAccessFault,
  load: EXCEPTION.loadAccessFault,
  store: EXCEPTION.storeAccessFault,
  cache: EXCEPTION.storeAccessFault,
} as const;

/** Both operands are extended from the access's size, so that signed and unsigned order are those of 64 bits. */
function amoResult(operation: AmoOperation, old: bigint, value: bigint): bigint {
  switch (operation) {
    case 'swap':
      return value;
    case 'add':
      return wrap(old + value);
    case 'xor':
      return old ^ value;
    case 'and':
      return old & value;
    case 'or':
      return old | value;
    case 'min':
      return integer.signed(old) < integer.signed(value) ? old : value;
    case 'max':
      return integer.signed(old) < integer.signed(value) ? value : old;
    case 'minu':
      return old < value ? old : value;
    case 'maxu':
      return old < value ? value : old;
  }
}

function pageTablesIn(memory: PhysicalMemory): PageTableMemory {
  return {
    readEntry: (address) => (memory.has(address, 8) ? memory.read(address, 8) : undefined),
    replaceEntry: (address, old, value) => {
      if (memory.read(address, 8) !== old) return false;
      memory.write(address, 8, value);
      return true;
    },
  };
}

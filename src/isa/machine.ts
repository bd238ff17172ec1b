/**
 * The abstract machine against which the instruction table is written. A row's semantics is a function of it, and
 * whoever implements it derives something from the one list: the reference machine computes with bigints, the
 * interpreter's generator emits Wasm that reads the operand fields at run time, the translator emits Wasm in which
 * they are constants.
 *
 * Values `V` are 64-bit; conditions `C` are booleans. Every value is fixed when it is built: an implementation
 * must make `rd(...)`, `jump` and the like take effect only after everything the row computed before (lesson:
 * `jalr x5, 8(x5)`). Semantics must call operations unconditionally, apart from those inside `when`, since a
 * generator runs them once for all executions. Effects come after guards and loads, so that a trap changes nothing.
 */
import type { FloatOperation } from './float-operations.ts';
import type { AreaField, StateField } from './state.ts';

/** Bytes of a memory access. */
export type AccessSize = 1 | 2 | 4 | 8;
export type AmoOperation = 'swap' | 'add' | 'xor' | 'and' | 'or' | 'min' | 'max' | 'minu' | 'maxu';
/** f16, f32, f64 by the letter that the mnemonics use. */
export type FloatLetter = 'h' | 's' | 'd';

export interface Machine<V, C> {
  // Operands of the instruction at hand. x0 reads zero; writes to it vanish.
  rs1(): V;
  rs2(): V;
  rd(value: V): void;
  /** Floating-point registers as raw 64 bits, NaN-boxed; reading or writing requires nothing (see requireFloat). */
  frs1(): V;
  frs2(): V;
  frs3(): V;
  /** Writes the raw 64 bits and sets mstatus.FS to Dirty. */
  frd(value: V): void;
  /** The immediate, sign-extended where the pattern says `imm`, zero-extended where it says `uimm`. */
  imm(): V;
  /** The 5-bit field in rs1's place of csrrwi and fli, zero-extended. */
  zimm(): V;
  /** Address of this instruction, and of the one behind it (+2 or +4). */
  pc(): V;
  next(): V;

  // Arithmetic modulo 2^64. Shift amounts are taken modulo 64.
  const(value: number | bigint): V;
  add(a: V, b: V): V;
  sub(a: V, b: V): V;
  and(a: V, b: V): V;
  or(a: V, b: V): V;
  xor(a: V, b: V): V;
  not(a: V): V;
  sll(a: V, b: V): V;
  srl(a: V, b: V): V;
  sra(a: V, b: V): V;
  rotr(a: V, b: V): V;
  mul(a: V, b: V): V;
  /** High 64 bits of the product: signed, unsigned, signed by unsigned. */
  mulh(a: V, b: V): V;
  mulhu(a: V, b: V): V;
  mulhsu(a: V, b: V): V;
  /** As the M extension defines them, division by zero and overflow included. */
  div(a: V, b: V): V;
  divu(a: V, b: V): V;
  rem(a: V, b: V): V;
  remu(a: V, b: V): V;
  /** Carry-less product: low and high 64 bits. */
  clmul(a: V, b: V): V;
  clmulh(a: V, b: V): V;
  clz(a: V): V;
  ctz(a: V): V;
  popcnt(a: V): V;
  sext8(a: V): V;
  sext16(a: V): V;
  sext32(a: V): V;
  zext32(a: V): V;
  /** Fixes a value that is used more than once, so that it is computed once. */
  let(a: V): V;

  // Conditions.
  eq(a: V, b: V): C;
  ne(a: V, b: V): C;
  lts(a: V, b: V): C;
  ltu(a: V, b: V): C;
  both(a: C, b: C): C;
  either(a: C, b: C): C;
  negate(a: C): C;
  bool(c: C): V;
  select(c: C, a: V, b: V): V;
  /** Runs `then` where `c` holds, else `otherwise`. Values built inside must not be used outside. */
  when(c: C, then: () => void, otherwise?: () => void): void;

  // Control flow. Without the C extension a target that is not a multiple of four is a fault (cause 0).
  /** Raises instruction-address-misaligned for a target that cannot be executed; nothing where C is enabled. */
  requireTarget(target: V): void;
  /** Taken: pc + imm, with requireTarget's check. */
  branch(c: C): void;
  /** pc + imm. */
  jump(): void;
  /** To any address (bit 0 already cleared). */
  jumpTo(target: V): void;

  // Memory. Misaligned loads and stores are done; faults trap and end the instruction. Misaligned atomics trap before
  // translation (4 for loadReserved, else 6), storeConditional whether or not it would succeed.
  load(address: V, size: AccessSize, signed: boolean): V;
  store(address: V, size: AccessSize, value: V): void;
  loadReserved(address: V, size: 4 | 8): V;
  /** 0 for success, 1 for failure. */
  storeConditional(address: V, size: 4 | 8, value: V): V;
  /** The old value, sign-extended. */
  amo(operation: AmoOperation, address: V, size: 4 | 8, value: V): V;
  /** Zeroes the 64-byte block that holds the address (cbo.zero). */
  zeroBlock(address: V): void;
  /** A cache-management access (cbo.clean, flush, inval): faults if translation or PMP forbid it, else does nothing. */
  touchBlock(address: V): void;

  /**
   * hlv, hlvx, hsv: the access is made as if V were 1, in the mode that hstatus.SPVP names. `executable`: pages are asked
   * for the right to be executed instead of read, in both stages.
   */
  guestLoad(address: V, size: AccessSize, signed: boolean, executable: boolean): V;
  guestStore(address: V, size: AccessSize, value: V): void;

  // Floating point. Operations raise their flags in fflags; those that can raise any set FS Dirty, whether they do or not.
  /** Illegal instruction if mstatus.FS is Off. */
  requireFloat(): void;
  /** The rounding mode: the rm field, or frm where it says DYN; illegal instruction where that is reserved. */
  roundingMode(): V;
  /** A function of the floating-point library: `float('add', 'd', a, b, rm)`. See float-operations.ts. */
  float(operation: FloatOperation, format: FloatLetter, ...operands: V[]): V;
  /** NaN boxing: the value of `format` in raw register bits (canonical NaN if not properly boxed), and its inverse. */
  unbox(format: FloatLetter, raw: V): V;
  box(format: FloatLetter, value: V): V;

  // The privileged architecture.
  /** Fields of the hart's state, CSRs among them, by name. Raw: no side effects, no legalisation. */
  state(field: StateField): V;
  setState(field: StateField, value: V): void;
  /**
   * Fields of the status area that is active (state.ts): the host's while V is 0, the guest's while it is 1. `state`
   * names the host's and the guest's apart (sepc, vsepc).
   */
  areaState(field: AreaField): V;
  setAreaState(field: AreaField, value: V): void;
  /** Adds one to a counter of areaCounts, by its number (privileged/area-by-cause.ts). Not part of the architecture. */
  countArea(counter: V): void;
  /** Illegal instruction unless `c` holds (tval: the instruction's bits). */
  require(c: C): void;
  /** The same, but for a guest (V is 1) a virtual-instruction exception: what its hypervisor could do, and it may not. */
  requireVirtual(c: C): void;
  /** A synchronous exception of this instruction. Ends it. */
  raise(cause: number, tval: V): void;
  /**
   * Illegal instruction if the instruction's CSR number says read-only: to be asked by what writes, before csrRead, which
   * for a guest may raise another exception.
   */
  requireCsrWritable(): void;
  /** The instruction's own CSR number (constant in the translator). */
  csrRead(): V;
  /**
   * To be called with the new value; legalisation and side effects are the CSR table's. `changes` are the bits that
   * the instruction names (all for csrrw, the source's for csrrs and csrrc): of mip.SEIP reads the external line,
   * too, which must not be written back (csr/index.ts).
   */
  csrWrite(value: V, changes: V): void;
  /** True unless the field (for rs1: or zimm in its place) is zero: CSR instructions write, fences select only then. */
  rdIsNotZero(): C;
  rs1IsNotZero(): C;
  rs2IsNotZero(): C;
  /** The privilege mode: 0 user, 1 supervisor, 3 machine. */
  mode(): V;
  /**
   * State on which address translation or interrupts depend has changed (mode, mstatus, satp, mie ...; what caches must forget comes as protectionChanged or fenceTranslation besides): caches
   * keyed by it are selected anew and pending interrupts looked at before the next instruction.
   */
  contextChanged(): void;
  /**
   * stimecmp, or what enables it, has changed: whoever drives the STIP bit of `lines` compares anew, and moves its
   * deadline, before the next instruction. The rest of this instruction still takes place.
   */
  timerChanged(): void;
  /** PMP, or what makes a page-table entry valid, has changed: nothing that was translated before holds any more. */
  protectionChanged(): void;
  /** sfence.vma and its kin where V is 0: `undefined` means all. */
  fenceTranslation(va: V | undefined, asid: V | undefined): void;
  /** The same for the guest that hgatp.VMID names: sfence.vma where V is 1, hfence.vvma. */
  fenceGuest(va: V | undefined, asid: V | undefined): void;
  /** hfence.gvma: translations of guest-physical addresses, and all that combined ones hold of them. */
  fenceGuestPhysical(gpa: V | undefined, vmid: V | undefined): void;
  fenceInstruction(): void;
  fence(): void;
  /** The hart spins (pause, wrs.*): a hint that lets others run. May do nothing. */
  pause(): void;
  /** Time (mtime) now, in timebase ticks; instructions retired before this one; cycles. */
  time(): V;
  instret(): V;
  /** Ends the instruction and leaves the engine with this exit; the next instruction is behind it. */
  leave(exit: 'call' | 'wait' | 'breakpoint'): void;
}

/** What an instruction does, for any machine. */
export type Semantics = <V, C>(m: Machine<V, C>) => void;

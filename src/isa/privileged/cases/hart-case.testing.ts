/**
 * Directed cases of the privileged architecture as data, so that every engine runs the same ones: state before, a
 * few instructions, state after. A case starts from a hart whose state is zero but for DEFAULTS and what it names.
 */
import assert from 'node:assert/strict';
import { FILE_WORDS, FILES } from '../../interrupt-files.ts';
import { FEATURE, STATE_SCALARS, type StateField } from '../../state.ts';

export type Registers = { readonly [K in StateField]?: bigint };

export interface HartCase {
  readonly name: string;
  /** Besides DEFAULTS. */
  readonly before?: Registers;
  /** Integer registers before, by number. */
  readonly x?: { readonly [index: number]: bigint };
  /** Words of interrupt files before, by number; the others are zero. */
  readonly files?: { readonly [index: number]: bigint };
  /** Doublewords by physical address; where they are not named, memory is zero or another case's. */
  readonly memory?: readonly (readonly [bigint, bigint])[];
  /** Instructions at the pc; as many steps are made. */
  readonly program: readonly number[];
  /** State after. Fields that neither this nor `free` names must be as before; pc, unless named, is behind the program. */
  readonly after?: Registers;
  readonly afterX?: { readonly [index: number]: bigint };
  /** Words of interrupt files after, where they are not as before. */
  readonly afterFiles?: { readonly [index: number]: bigint };
  /** Fields that the case says nothing about. */
  readonly free?: readonly StateField[] | 'all';
  /** How the last step leaves the engine. */
  readonly leaves?: 'call' | 'wait';
}

/** What a case runs on. */
export interface CaseHart {
  get(field: StateField): bigint;
  set(field: StateField, value: bigint): void;
  file(index: number): bigint;
  setFile(index: number, value: bigint): void;
  x(index: number): bigint;
  setX(index: number, value: bigint): void;
  /** Puts an instruction of 32 bits at a physical address. */
  put(address: bigint, word: number): void;
  /** Takes the pending interrupt (that is a step of its own) or else executes the instruction at the pc. */
  step(): 'next' | 'call' | 'wait';
}

/** Where programs, the M-mode handler and the S-mode handler are: in the RAM of the `virt` machine. */
export const PC = 0x8000_1000n;
export const MTVEC = 0x8000_2000n;
export const STVEC = 0x8000_3000n;
export const TIME = 0x1234_5678n;
export const INSTRET = 5000n;
/** All features but the built-in SBI, and what a hart has only if it is asked for. */
export const ALL_FEATURES: bigint =
  Object.values(FEATURE).reduce((all, bit) => all | bit, 0n) & ~(FEATURE.sbi | FEATURE.h | FEATURE.smstateen);
/** The hypervisor extension and Smstateen besides. */
export const HYPERVISOR_FEATURES: bigint = ALL_FEATURES | FEATURE.h | FEATURE.smstateen;
export const MISA = 0x8000_0000_0014_112dn;
export const HART_ID = 3n;
/** pmpaddr0 = everything, NAPOT, RWX, not locked: lower modes may access all. */
export const DEFAULTS: Registers = {
  pc: PC,
  mode: 3n,
  mtvec: MTVEC,
  stvec: STVEC,
  features: ALL_FEATURES,
  misa: MISA,
  mhartid: HART_ID,
  // Never: an engine may drive the line of STIP by comparing.
  stimecmp: (1n << 64n) - 1n,
  pmpaddr0: (1n << 54n) - 1n,
  pmpcfg0: 0x1fn,
};

const FIELDS = Object.keys(STATE_SCALARS) as StateField[];
/** Counts by itself. */
const MOVING: readonly StateField[] = ['instret'];

export function runHartCase(hart: CaseHart, c: HartCase): void {
  for (const field of FIELDS) hart.set(field, c.before?.[field] ?? DEFAULTS[field] ?? 0n);
  if (c.before?.instret === undefined) hart.set('instret', INSTRET);
  for (let i = 1; i < 32; i++) hart.setX(i, c.x?.[i] ?? 0n);
  for (let i = 0; i < FILE_WORDS * FILES; i++) hart.setFile(i, c.files?.[i] ?? 0n);
  const start = hart.get('pc');
  for (const [address, value] of c.memory ?? []) {
    hart.put(address, Number(value & 0xffff_ffffn));
    hart.put(address + 4n, Number(value >> 32n));
  }
  c.program.forEach((word, i) => hart.put(start + 4n * BigInt(i), word));
  const before = new Map(FIELDS.map((field) => [field, hart.get(field)]));
  let end = 'next';
  for (let i = 0; i < c.program.length; i++) end = hart.step();
  assert.equal(end, c.leaves ?? 'next', 'leaves the engine');
  const behind = start + 4n * BigInt(c.program.length);
  for (const field of FIELDS) {
    const named = c.after?.[field];
    if (named === undefined && (c.free === 'all' || c.free?.includes(field) || MOVING.includes(field))) continue;
    const expected = named ?? (field === 'pc' ? behind : before.get(field));
    assert.equal(hex(hart.get(field)), hex(expected ?? 0n), field);
  }
  for (let i = 0; i < FILE_WORDS * FILES; i++)
    assert.equal(hex(hart.file(i)), hex(c.afterFiles?.[i] ?? c.files?.[i] ?? 0n), `word ${i} of the interrupt files`);
  for (const [index, expected] of Object.entries(c.afterX ?? {})) {
    assert.equal(hex(hart.x(Number(index))), hex(expected), `x${index}`);
  }
}

function hex(value: bigint): string {
  return `0x${BigInt.asUintN(64, value).toString(16)}`;
}

// Encodings of the instructions that cases use.
export const ECALL = 0x0000_0073;
export const EBREAK = 0x0010_0073;
export const SRET = 0x1020_0073;
export const MRET = 0x3020_0073;
export const WFI = 0x1050_0073;
export const WRS_NTO = 0x00d0_0073;
export const WRS_STO = 0x01d0_0073;
export const NOP = 0x0000_0013;
export const SFENCE_W_INVAL = 0x1800_0073;
export const SFENCE_INVAL_IR = 0x1810_0073;

export function sfenceVma(rs1: number, rs2: number): number {
  return 0x1200_0073 | (rs1 << 15) | (rs2 << 20);
}

export function sinvalVma(rs1: number, rs2: number): number {
  return 0x1600_0073 | (rs1 << 15) | (rs2 << 20);
}

export function csrrw(rd: number, csr: number, rs1: number): number {
  return csrInstruction(1, rd, csr, rs1);
}

export function csrrs(rd: number, csr: number, rs1: number): number {
  return csrInstruction(2, rd, csr, rs1);
}

export function csrrc(rd: number, csr: number, rs1: number): number {
  return csrInstruction(3, rd, csr, rs1);
}

export function csrrwi(rd: number, csr: number, zimm: number): number {
  return csrInstruction(5, rd, csr, zimm);
}

export function csrrsi(rd: number, csr: number, zimm: number): number {
  return csrInstruction(6, rd, csr, zimm);
}

export function csrrci(rd: number, csr: number, zimm: number): number {
  return csrInstruction(7, rd, csr, zimm);
}

function csrInstruction(funct3: number, rd: number, csr: number, source: number): number {
  return ((csr << 20) | (source << 15) | (funct3 << 12) | (rd << 7) | 0x73) >>> 0;
}

/** mstatus after a trap to M-mode from `mode` with `mstatus` before. */
export function machineTrapStatus(mstatus: bigint, mode: bigint): bigint {
  const enabled = (mstatus >> 3n) & 1n;
  return (mstatus & ~0x1888n) | (enabled << 7n) | (mode << 11n);
}

/** mstatus after a trap to S-mode from `mode` with `mstatus` before. */
export function supervisorTrapStatus(mstatus: bigint, mode: bigint): bigint {
  const enabled = (mstatus >> 1n) & 1n;
  return (mstatus & ~0x122n) | (enabled << 5n) | (mode << 8n);
}

/** State after an exception that goes to M-mode, direct vector. */
export function machineTrap(before: Registers | undefined, cause: number, tval: bigint): Registers {
  const state = { ...DEFAULTS, ...before };
  return {
    mode: 3n,
    pc: (state.mtvec ?? 0n) & ~3n,
    mepc: state.pc ?? 0n,
    mcause: BigInt(cause),
    mtval: tval,
    mstatus: machineTrapStatus(state.mstatus ?? 0n, state.mode ?? 0n),
  };
}

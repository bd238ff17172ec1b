/**
 * State of a hart with the hypervisor extension for cases: the five modes, and what traps and returns leave behind where
 * V changes, computed from the manual's tables and by other means than the semantics.
 */
import { DEFAULTS, HYPERVISOR_FEATURES, type Registers } from './hart-case.testing.ts';

export interface VirtualMode {
  readonly name: 'U' | 'HS' | 'VU' | 'VS' | 'M';
  readonly mode: bigint;
  readonly virtual: bigint;
}

export const MODES: readonly VirtualMode[] = [
  { name: 'U', mode: 0n, virtual: 0n },
  { name: 'HS', mode: 1n, virtual: 0n },
  { name: 'VU', mode: 0n, virtual: 1n },
  { name: 'VS', mode: 1n, virtual: 1n },
  { name: 'M', mode: 3n, virtual: 0n },
];

export const [U, HS, VU, VS, M] = MODES as [VirtualMode, VirtualMode, VirtualMode, VirtualMode, VirtualMode];

export function inMode({ mode, virtual }: VirtualMode): Registers {
  return { mode, virtual };
}

export const VSTVEC = 0x8000_3800n;
/** With both extensions; VS-mode's handler is apart from HS-mode's; timers never come. */
export const HYPERVISOR: Registers = {
  features: HYPERVISOR_FEATURES,
  vstvec: VSTVEC,
  vstimecmp: (1n << 64n) - 1n,
};

const [SIE, MIE, SPIE, MPIE, SPP, FS, SUM, MXR] = [2n, 8n, 0x20n, 0x80n, 0x100n, 0x6000n, 1n << 18n, 1n << 19n];
const MPP = 3n << 11n;
const [GVA, MPV] = [1n << 38n, 1n << 39n];
/** The bits that sstatus and vsstatus each have. */
const AREA = SIE | SPIE | SPP | FS | SUM | MXR;

/** Exceptions whose tval is an address. */
const ADDRESSES: ReadonlySet<number> = new Set([0, 1, 3, 4, 5, 6, 7, 12, 13, 15, 20, 21, 23]);

export interface ExpectedTrap {
  readonly cause: number;
  readonly isInterrupt?: boolean;
  readonly tval?: bigint;
  /** The access was a guest's though V is 0. */
  readonly isGuestAccess?: boolean;
  /** htval or mtval2; htinst or mtinst. */
  readonly gpa?: bigint;
  readonly instruction?: bigint;
}

function stateOf(before: Registers): (name: keyof Registers) => bigint {
  return (name) => before[name] ?? DEFAULTS[name] ?? 0n;
}

/** What becomes of the statuses when V turns from 1 to 0: mstatus is the one that HS-mode has then. */
function hostStatus(before: Registers): { mstatus: bigint; after: Registers } {
  const state = stateOf(before);
  const mstatus = state('mstatus');
  if (state('virtual') === 0n) return { mstatus, after: {} };
  const isDirty = (mstatus & FS) === FS;
  const guest = (mstatus & AREA & ~FS) | (isDirty ? FS : state('vsstatus') & FS);
  const host = (state('sstatus') & AREA) | (isDirty ? FS : 0n);
  return { mstatus: (mstatus & ~AREA) | host, after: { vsstatus: guest, virtual: 0n } };
}

function fullCause({ cause, isInterrupt }: ExpectedTrap): bigint {
  return BigInt(cause) | (isInterrupt ? 1n << 63n : 0n);
}

function isGuestAddress(before: Registers, trap: ExpectedTrap): boolean {
  if (trap.isInterrupt) return false;
  return trap.isGuestAccess === true || ((before.virtual ?? 0n) === 1n && ADDRESSES.has(trap.cause));
}

function vector(base: bigint, code: number, isInterrupt: boolean | undefined): bigint {
  return (base & ~3n) + (isInterrupt && (base & 1n) === 1n ? 4n * BigInt(code) : 0n);
}

export function toMachine(before: Registers, trap: ExpectedTrap): Registers {
  const state = stateOf(before);
  const { mstatus, after } = hostStatus(before);
  const kept = mstatus & ~(MIE | MPIE | MPP | MPV | GVA);
  const flags = (state('virtual') === 1n ? MPV : 0n) | (isGuestAddress(before, trap) ? GVA : 0n);
  const enabled = (mstatus & MIE) === 0n ? 0n : MPIE;
  return {
    ...after,
    mode: 3n,
    pc: vector(state('mtvec'), trap.cause, trap.isInterrupt),
    mepc: state('pc'),
    mcause: fullCause(trap),
    mtval: trap.tval ?? 0n,
    mtval2: trap.gpa ?? 0n,
    mtinst: trap.instruction ?? 0n,
    mstatus: kept | flags | enabled | (state('mode') << 11n),
  };
}

function supervisorStatus(mstatus: bigint, mode: bigint): bigint {
  return (mstatus & ~(SIE | SPIE | SPP)) | ((mstatus & SIE) === 0n ? 0n : SPIE) | (mode << 8n);
}

export function toHypervisor(before: Registers, trap: ExpectedTrap): Registers {
  const state = stateOf(before);
  const { mstatus, after } = hostStatus(before);
  const [gva, spv, spvp] = [1n << 6n, 1n << 7n, 1n << 8n];
  const hstatus = state('hstatus') & ~(gva | spv);
  const isGuest = state('virtual') === 1n;
  const previous = isGuest ? (hstatus & ~spvp) | spv | (state('mode') << 8n) : hstatus;
  return {
    ...after,
    mode: 1n,
    pc: vector(state('stvec'), trap.cause, trap.isInterrupt),
    sepc: state('pc'),
    scause: fullCause(trap),
    stval: trap.tval ?? 0n,
    htval: trap.gpa ?? 0n,
    htinst: trap.instruction ?? 0n,
    hstatus: previous | (isGuestAddress(before, trap) ? gva : 0n),
    mstatus: supervisorStatus(mstatus, state('mode')),
  };
}

/** `trap.cause` is the code that HS-mode would see; an interrupt's is one lower for VS-mode. */
export function toGuest(before: Registers, trap: ExpectedTrap): Registers {
  const state = stateOf(before);
  const cause = trap.isInterrupt ? trap.cause - 1 : trap.cause;
  return {
    mode: 1n,
    pc: vector(state('vstvec'), cause, trap.isInterrupt),
    vsepc: state('pc'),
    vscause: fullCause({ ...trap, cause }),
    vstval: trap.tval ?? 0n,
    mstatus: supervisorStatus(state('mstatus'), state('mode')),
  };
}

const FS_SHIFT = 13n;
/** State when V turns from 0 to 1, `mstatus` being what the return has made of it. */
export function enteredGuest(before: Registers, mstatus: bigint): Registers {
  const guest = before.vsstatus ?? 0n;
  const [hostFs, guestFs] = [(mstatus & FS) >> FS_SHIFT, (guest & FS) >> FS_SHIFT];
  const fs = hostFs < guestFs ? hostFs : guestFs;
  return {
    virtual: 1n,
    sstatus: mstatus & AREA,
    mstatus: (mstatus & ~AREA) | (guest & AREA & ~FS) | (fs << FS_SHIFT),
  };
}

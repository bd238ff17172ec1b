/**
 * Address translation for the reference machine: privileged specification, "Virtual Address Translation Process",
 * "Sv39", "Sv48", "Sv57", MPRV, SUM, MXR of mstatus; "Two-Stage Address Translation". It is plain and slow, and knows
 * nothing of the engine's MMU, which is tested against it.
 *
 *   host:   virtual --satp--> physical
 *   guest:  virtual --vsatp--> guest-physical --hgatp--> physical; so are the addresses of vsatp's tables
 *
 * Nothing is cached, so fences have nothing to do. Memory types (PBMT) are validated and otherwise ignored: RAM is
 * coherent here whatever they say.
 */
import { EXCEPTION } from './causes.ts';
import { ENVCFG } from './envcfg.ts';
import { GSTAGE_PPN, GSTAGE_WIDER } from './hgatp.ts';
import { HSTATUS } from './hstatus.ts';
import { MODE, MPP_SHIFT, MSTATUS } from './mstatus.ts';
import { type Access, type HartRegisters, pmpAllows } from './pmp-check.ts';
import { PAGING_MODES, SATP_MODE_SHIFT, SATP_PPN } from './satp.ts';
import {
  ADDRESS,
  MAX_RESTARTS,
  PAGE_BYTES,
  PAGE_SHIFT,
  PTE_BYTES,
  type Stage,
  type Walk,
  type Wanted,
  walkStage,
} from './stage.ts';

/** Physical memory as the page walk sees it: naturally aligned entries of 8 bytes, little-endian. */
export interface PageTableMemory {
  /** `undefined` where page tables cannot be (no RAM): an access fault. */
  readEntry(address: bigint): bigint | undefined;
  /** Replaces `old` by `value` atomically; false, and nothing done, if the entry is not `old` any more. */
  replaceEntry(address: bigint, old: bigint, value: bigint): boolean;
}

/** A run of bytes in physical memory that no page boundary cuts. */
export interface PhysicalPart {
  readonly address: bigint;
  readonly sizeBytes: number;
}

export type Translation = { readonly kind: 'translated'; readonly parts: readonly PhysicalPart[] } | TranslationFault;

export interface TranslationFault {
  readonly kind: 'fault';
  readonly cause: number;
  readonly tval: bigint;
  /** Two stages were in effect: tval is a guest virtual address. */
  readonly isGuest: boolean;
  /** Guest-page faults: the guest-physical address that failed; if the walk itself wanted it, how. */
  readonly gpa?: bigint;
  readonly implicit?: 'read' | 'write';
}

/** `current`: as mode, V and MPRV say. `guest`: hlv and hsv; `guestExecutable`: hlvx. */
export type AccessAs = 'current' | 'guest' | 'guestExecutable';

const PAGE_FAULT = {
  fetch: EXCEPTION.instructionPageFault,
  load: EXCEPTION.loadPageFault,
  store: EXCEPTION.storePageFault,
  cache: EXCEPTION.storePageFault,
} as const;
const GUEST_PAGE_FAULT = {
  fetch: EXCEPTION.instructionGuestPageFault,
  load: EXCEPTION.loadGuestPageFault,
  store: EXCEPTION.storeGuestPageFault,
  cache: EXCEPTION.storeGuestPageFault,
} as const;
const ACCESS_FAULT = {
  fetch: EXCEPTION.instructionAccessFault,
  load: EXCEPTION.loadAccessFault,
  store: EXCEPTION.storeAccessFault,
  cache: EXCEPTION.storeAccessFault,
} as const;

/** An access, and who makes it. */
interface Request {
  readonly hart: HartRegisters;
  readonly memory: PageTableMemory;
  readonly access: Access;
  readonly wanted: Wanted;
  readonly mode: bigint;
  readonly isGuest: boolean;
}

/**
 * Translates an access of `sizeBytes` at `va` and checks it against PMP. An access that crosses a page is two, each
 * checked by itself before either happens; the fault's tval is the first byte of the part that fails, as the manual
 * has it for misaligned accesses. Whether RAM or a device answers at the result is the caller's to find out.
 */
export function translate(
  hart: HartRegisters,
  memory: PageTableMemory,
  va: bigint,
  access: Access,
  sizeBytes: number,
  as: AccessAs = 'current',
): Translation {
  const parts: PhysicalPart[] = [];
  const inFirstPage = Math.min(sizeBytes, Number(PAGE_BYTES - (va & (PAGE_BYTES - 1n))));
  const pieces = [{ va, size: inFirstPage }];
  if (inFirstPage < sizeBytes) pieces.push({ va: (va + BigInt(inFirstPage)) & ADDRESS, size: sizeBytes - inFirstPage });
  const wanted = as === 'guestExecutable' ? 'execute' : access;
  const request: Request = { hart, memory, access, wanted, ...effectiveMode(hart, access, as) };
  for (const piece of pieces) {
    const result = translatePage(request, piece.va);
    if (result.kind !== 'address') return faultOf(request, piece.va, result);
    const isAllowed =
      pmpAllows(hart, request.mode, result.address, piece.size, access) &&
      (wanted !== 'execute' || pmpAllows(hart, request.mode, result.address, piece.size, 'fetch'));
    if (!isAllowed) return faultOf(request, piece.va, { kind: 'accessFault' });
    parts.push({ address: result.address, sizeBytes: piece.size });
  }
  return { kind: 'translated', parts };
}

/** Whether an access is made as a guest's, and in which mode. Two stages are in effect for guests alone. */
export function effectiveMode(
  hart: HartRegisters,
  access: Access,
  as: AccessAs = 'current',
): { readonly mode: bigint; readonly isGuest: boolean } {
  const { mstatus, mode } = hart;
  if (as !== 'current') return { mode: (hart.hstatus & HSTATUS.SPVP) === 0n ? 0n : 1n, isGuest: true };
  const isMachine = mode === BigInt(MODE.machine);
  if (!isMachine || access === 'fetch' || (mstatus & MSTATUS.MPRV) === 0n)
    return { mode, isGuest: hart.virtual !== 0n };
  // mstatus.MPRV: loads and stores of M-mode happen as if in the mode that MPP and MPV name.
  const previous = (mstatus & MSTATUS.MPP) >> BigInt(MPP_SHIFT);
  return { mode: previous, isGuest: previous !== BigInt(MODE.machine) && (mstatus & MSTATUS.MPV) !== 0n };
}

function faultOf(
  { access, isGuest }: Request,
  tval: bigint,
  walk: Exclude<Walk, { kind: 'address' }>,
): TranslationFault {
  switch (walk.kind) {
    case 'accessFault':
      return { kind: 'fault', cause: ACCESS_FAULT[access], tval, isGuest };
    case 'pageFault':
    case 'changed':
      return { kind: 'fault', cause: PAGE_FAULT[access], tval, isGuest };
    case 'guestPageFault': {
      const implicit = walk.implicit ? { implicit: walk.implicit } : {};
      return { kind: 'fault', cause: GUEST_PAGE_FAULT[access], tval, isGuest, gpa: walk.gpa, ...implicit };
    }
  }
}

/** A walk is begun anew if an entry changes under the update of its A and D bits, so often and no more. */
function translatePage(request: Request, va: bigint): Walk {
  for (let restart = 0; restart < MAX_RESTARTS; restart++) {
    const result = request.isGuest ? translateGuest(request, va) : translateHost(request, va);
    if (result.kind !== 'changed') return result;
  }
  return { kind: 'pageFault' };
}

function translateHost(request: Request, va: bigint): Walk {
  const { hart, mode, wanted } = request;
  const levels = levelsOf(hart.satp);
  if (levels === undefined || mode === BigInt(MODE.machine)) return { kind: 'address', address: va };
  const stage: Stage = {
    root: (hart.satp & SATP_PPN) << PAGE_SHIFT,
    levels,
    wider: 0,
    mode,
    sum: (hart.mstatus & MSTATUS.SUM) !== 0n,
    mxr: (hart.mstatus & MSTATUS.MXR) !== 0n,
    pbmt: (hart.menvcfg & ENVCFG.PBMTE) !== 0n,
    updates: (hart.menvcfg & ENVCFG.ADUE) !== 0n,
    ...physicalEntries(request),
  };
  return walkStage(hart, stage, va, wanted);
}

/** Both stages. The bits of mstatus that vsstatus has, too, are the guest's while V is 1, and the host's in sstatus. */
function translateGuest(request: Request, va: bigint): Walk {
  const { hart, mode, wanted } = request;
  const [hostStatus, status] = hart.virtual === 0n ? [hart.mstatus, hart.vsstatus] : [hart.sstatus, hart.mstatus];
  const levels = levelsOf(hart.vsatp);
  const hostMxr = (hostStatus & MSTATUS.MXR) !== 0n;
  let gpa = va;
  if (levels !== undefined) {
    const environment = hart.henvcfg & hart.menvcfg;
    const stage: Stage = {
      root: (hart.vsatp & SATP_PPN) << PAGE_SHIFT,
      levels,
      wider: 0,
      mode,
      sum: (status & MSTATUS.SUM) !== 0n,
      mxr: hostMxr || (status & MSTATUS.MXR) !== 0n,
      pbmt: (environment & ENVCFG.PBMTE) !== 0n,
      updates: (environment & ENVCFG.ADUE) !== 0n,
      ...guestEntries(request),
    };
    const walk = walkStage(hart, stage, va, wanted);
    if (walk.kind !== 'address') return walk;
    gpa = walk.address;
  }
  return translateGuestPhysical(request, gpa, wanted, hostMxr);
}

/** The G-stage: every access is U-mode's. MXR is for explicit loads. */
function translateGuestPhysical(request: Request, gpa: bigint, wanted: Wanted, mxr: boolean): Walk {
  const { hart } = request;
  const levels = levelsOf(hart.hgatp);
  if (levels === undefined) return { kind: 'address', address: gpa };
  const stage: Stage = {
    root: (hart.hgatp & GSTAGE_PPN) << PAGE_SHIFT,
    levels,
    wider: GSTAGE_WIDER,
    mode: BigInt(MODE.user),
    sum: false,
    mxr,
    pbmt: (hart.menvcfg & ENVCFG.PBMTE) !== 0n,
    updates: (hart.menvcfg & ENVCFG.ADUE) !== 0n,
    ...physicalEntries(request),
  };
  const walk = walkStage(hart, stage, gpa, wanted);
  return walk.kind === 'pageFault' ? { kind: 'guestPageFault', gpa } : walk;
}

function levelsOf(atp: bigint): number | undefined {
  return PAGING_MODES.find((paging) => BigInt(paging.mode) === atp >> BigInt(SATP_MODE_SHIFT))?.levels;
}

/** Page tables are read as S-mode reads, whoever the access is for. */
function physicalEntries({ hart, memory }: Request): Pick<Stage, 'read' | 'replace'> {
  const isAllowed = (at: bigint, access: Access): boolean =>
    pmpAllows(hart, BigInt(MODE.supervisor), at, PTE_BYTES, access);
  return {
    read: (at) => (isAllowed(at, 'load') ? memory.readEntry(at) : undefined) ?? { kind: 'accessFault' },
    replace: (at, old, value) => {
      if (!isAllowed(at, 'store')) return { kind: 'accessFault' };
      return memory.replaceEntry(at, old, value) ? undefined : { kind: 'changed' };
    },
  };
}

/** A guest's page tables are at guest-physical addresses: each entry goes through the G-stage, as a load or a store. */
function guestEntries(request: Request): Pick<Stage, 'read' | 'replace'> {
  const physical = physicalEntries(request);
  const locate = (gpa: bigint, wanted: 'load' | 'store'): Walk => {
    const walk = translateGuestPhysical(request, gpa, wanted, false);
    return walk.kind === 'guestPageFault' ? { ...walk, implicit: wanted === 'load' ? 'read' : 'write' } : walk;
  };
  return {
    read: (gpa) => {
      const walk = locate(gpa, 'load');
      return walk.kind === 'address' ? physical.read(walk.address) : walk;
    },
    replace: (gpa, old, value) => {
      const walk = locate(gpa, 'store');
      return walk.kind === 'address' ? physical.replace(walk.address, old, value) : walk;
    },
  };
}

/**
 * Address translation for the reference machine: privileged specification, "Virtual Address Translation Process",
 * "Sv39", "Sv48", "Sv57", Svnapot, Svpbmt, Svade and Svadu, and MPRV, SUM, MXR of mstatus. It is plain and slow, and
 * knows nothing of the engine's MMU, which is tested against it.
 *
 *   PTE:  63  62..61  60..54  53..10  9..8  7 6 5 4 3 2 1 0
 *         N   PBMT    0       PPN     RSW   D A G U X W R V
 *
 * Nothing is cached, so fences have nothing to do. Memory types (PBMT) are validated and otherwise ignored: RAM is
 * coherent here whatever they say.
 */

import { FEATURE } from '../state.ts';
import { EXCEPTION } from './causes.ts';
import { ENVCFG } from './envcfg.ts';
import { MODE, MPP_SHIFT, MSTATUS } from './mstatus.ts';
import { type Access, type HartRegisters, pmpAllows } from './pmp-check.ts';
import { PAGING_MODES, type PagingMode, SATP_MODE_SHIFT, SATP_PPN } from './satp.ts';

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

export type Translation =
  | { readonly kind: 'translated'; readonly parts: readonly PhysicalPart[] }
  | { readonly kind: 'fault'; readonly cause: number; readonly tval: bigint };

type Walk =
  | { readonly kind: 'address'; readonly address: bigint }
  | { readonly kind: 'pageFault' }
  | { readonly kind: 'accessFault' };

export const PTE = {
  V: 1n << 0n,
  R: 1n << 1n,
  W: 1n << 2n,
  X: 1n << 3n,
  U: 1n << 4n,
  G: 1n << 5n,
  A: 1n << 6n,
  D: 1n << 7n,
  PPN: ((1n << 44n) - 1n) << 10n,
  RESERVED: 0x7fn << 54n,
  PBMT: 3n << 61n,
  N: 1n << 63n,
} as const;

const PAGE_BYTES = 4096n;
const PAGE_SHIFT = 12n;
const PTE_BYTES = 8;
const ADDRESS = (1n << 64n) - 1n;
/** Svnapot's only size: 16 pages, encoded by ppn[3:0] = 1000. */
const NAPOT_PAGES = 16n;
const NAPOT_ENCODING = 8n;
/** Walks begun anew because an entry changed under the update of its A and D bits; then the page is not present. */
const MAX_RESTARTS = 64;

const PAGE_FAULT = {
  fetch: EXCEPTION.instructionPageFault,
  load: EXCEPTION.loadPageFault,
  store: EXCEPTION.storePageFault,
  cache: EXCEPTION.storePageFault,
} as const;
const ACCESS_FAULT = {
  fetch: EXCEPTION.instructionAccessFault,
  load: EXCEPTION.loadAccessFault,
  store: EXCEPTION.storeAccessFault,
  cache: EXCEPTION.storeAccessFault,
} as const;

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
): Translation {
  const parts: PhysicalPart[] = [];
  const inFirstPage = Math.min(sizeBytes, Number(PAGE_BYTES - (va & (PAGE_BYTES - 1n))));
  const pieces = [{ va, size: inFirstPage }];
  if (inFirstPage < sizeBytes) pieces.push({ va: (va + BigInt(inFirstPage)) & ADDRESS, size: sizeBytes - inFirstPage });
  for (const piece of pieces) {
    const mode = effectiveMode(hart, access);
    const result = translatePage(hart, memory, mode, piece.va, access);
    if (result.kind === 'pageFault') return { kind: 'fault', cause: PAGE_FAULT[access], tval: piece.va };
    if (result.kind === 'accessFault' || !pmpAllows(hart, mode, result.address, piece.size, access)) {
      return { kind: 'fault', cause: ACCESS_FAULT[access], tval: piece.va };
    }
    parts.push({ address: result.address, sizeBytes: piece.size });
  }
  return { kind: 'translated', parts };
}

/** mstatus.MPRV: loads and stores of M-mode happen as if in the mode that MPP names. */
function effectiveMode(hart: HartRegisters, access: Access): bigint {
  const isMachine = hart.mode === BigInt(MODE.machine);
  if (!isMachine || access === 'fetch' || (hart.mstatus & MSTATUS.MPRV) === 0n) return hart.mode;
  return (hart.mstatus & MSTATUS.MPP) >> BigInt(MPP_SHIFT);
}

function translatePage(hart: HartRegisters, memory: PageTableMemory, mode: bigint, va: bigint, access: Access): Walk {
  const paging = PAGING_MODES.find((p) => BigInt(p.mode) === hart.satp >> BigInt(SATP_MODE_SHIFT));
  if (paging === undefined || mode === BigInt(MODE.machine)) return { kind: 'address', address: va };
  if (!isCanonical(va, paging)) return { kind: 'pageFault' };
  for (let restart = 0; restart < MAX_RESTARTS; restart++) {
    const result = walk(hart, memory, paging, mode, va, access);
    if (result.kind !== 'changed') return result;
  }
  return { kind: 'pageFault' };
}

/** The bits above the translated ones must equal the highest translated one, else: page fault. */
function isCanonical(va: bigint, paging: PagingMode): boolean {
  const bits = 12 + 9 * paging.levels;
  return (BigInt.asIntN(bits, va) & ADDRESS) === va;
}

/** Steps 1 to 10 of the translation process, by the manual's numbers; `changed`: begin again. */
function walk(
  hart: HartRegisters,
  memory: PageTableMemory,
  paging: PagingMode,
  mode: bigint,
  va: bigint,
  access: Access,
): Walk | { readonly kind: 'changed' } {
  // 1, 2: page tables are read as S-mode reads, whoever the access is for.
  let table = (hart.satp & SATP_PPN) << PAGE_SHIFT;
  for (let level = paging.levels - 1; level >= 0; level--) {
    const at = table + ((va >> (PAGE_SHIFT + 9n * BigInt(level))) & 0x1ffn) * BigInt(PTE_BYTES);
    const pte = pmpAllows(hart, BigInt(MODE.supervisor), at, PTE_BYTES, 'load') ? memory.readEntry(at) : undefined;
    if (pte === undefined) return { kind: 'accessFault' };
    // 3: not valid, or an encoding that is reserved.
    if (!isValid(hart, pte)) return { kind: 'pageFault' };
    const ppn = (pte & PTE.PPN) >> 10n;
    // 4: a pointer to the next level. Its D, A, U, N and PBMT are reserved.
    if ((pte & (PTE.R | PTE.X)) === 0n) {
      if ((pte & (PTE.D | PTE.A | PTE.U | PTE.N | PTE.PBMT)) !== 0n) return { kind: 'pageFault' };
      table = ppn << PAGE_SHIFT;
      continue;
    }
    // 5: a leaf; a superpage must be aligned.
    const pages = leafPages(pte, ppn, level);
    if (pages === undefined) return { kind: 'pageFault' };
    // 6 to 8: rights.
    if (!leafAllows(hart, pte, mode, access)) return { kind: 'pageFault' };
    // 9: accessed and dirty.
    const marked = pte | PTE.A | (access === 'store' ? PTE.D : 0n);
    if (marked !== pte) {
      if (!updatesEntries(hart)) return { kind: 'pageFault' };
      if (!pmpAllows(hart, BigInt(MODE.supervisor), at, PTE_BYTES, 'store')) return { kind: 'accessFault' };
      if (!memory.replaceEntry(at, pte, marked)) return { kind: 'changed' };
    }
    // 10: the page's number, its low bits from va where the leaf maps several pages.
    const vpn = va >> PAGE_SHIFT;
    const page = (ppn & ~(pages - 1n)) | (vpn & (pages - 1n));
    return { kind: 'address', address: (page << PAGE_SHIFT) | (va & (PAGE_BYTES - 1n)) };
  }
  return { kind: 'pageFault' };
}

/** Step 3: V, W without R, reserved bits; N and PBMT are reserved unless the hart has them (PBMTE can only be set where it has). */
function isValid(hart: HartRegisters, pte: bigint): boolean {
  if ((pte & PTE.V) === 0n || (pte & (PTE.R | PTE.W)) === PTE.W || (pte & PTE.RESERVED) !== 0n) return false;
  if ((pte & PTE.N) !== 0n && (hart.features & FEATURE.svnapot) === 0n) return false;
  const hasTypes = (hart.menvcfg & ENVCFG.PBMTE) !== 0n;
  return (pte & PTE.PBMT) === 0n || (hasTypes && (pte & PTE.PBMT) !== PTE.PBMT);
}

/** How many pages a leaf maps, or undefined if it is misaligned or its N is in a reserved encoding. */
function leafPages(pte: bigint, ppn: bigint, level: number): bigint | undefined {
  if ((pte & PTE.N) !== 0n)
    return level === 0 && (ppn & (NAPOT_PAGES - 1n)) === NAPOT_ENCODING ? NAPOT_PAGES : undefined;
  const pages = 1n << (9n * BigInt(level));
  return (ppn & (pages - 1n)) === 0n ? pages : undefined;
}

/** U pages are for U-mode, and for loads and stores of S-mode with SUM; MXR lets loads read executable pages. */
function leafAllows(hart: HartRegisters, pte: bigint, mode: bigint, access: Access): boolean {
  const isUserPage = (pte & PTE.U) !== 0n;
  if (mode === BigInt(MODE.user) && !isUserPage) return false;
  if (mode === BigInt(MODE.supervisor) && isUserPage) {
    if (access === 'fetch' || (hart.mstatus & MSTATUS.SUM) === 0n) return false;
  }
  const readable = (pte & PTE.R) !== 0n || ((hart.mstatus & MSTATUS.MXR) !== 0n && (pte & PTE.X) !== 0n);
  const writable = (pte & PTE.W) !== 0n;
  switch (access) {
    case 'fetch':
      return (pte & PTE.X) !== 0n;
    case 'load':
      return readable;
    case 'store':
      return writable;
    case 'cache':
      return readable || writable;
  }
}

/**
 * Svadu: the hart sets A and D itself while menvcfg.ADUE is set, as it only can be where the hart has Svadu. Otherwise
 * Svade: a page fault asks software to.
 */
function updatesEntries(hart: HartRegisters): boolean {
  return (hart.menvcfg & ENVCFG.ADUE) !== 0n;
}

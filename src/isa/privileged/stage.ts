/**
 * One stage of address translation, for the reference machine: privileged specification, "Virtual Address Translation
 * Process", Svnapot, Svpbmt, Svade, Svadu. satp's, vsatp's and hgatp's tables differ in what a Stage says.
 *
 *   PTE:  63  62..61  60..54  53..10  9..8  7 6 5 4 3 2 1 0
 *         N   PBMT    0       PPN     RSW   D A G U X W R V
 */
import { FEATURE } from '../state.ts';
import { MODE } from './mstatus.ts';
import type { Access, HartRegisters } from './pmp-check.ts';

/** What an access wants of a leaf: `execute` is a load by hlvx. */
export type Wanted = Access | 'execute';

export interface Stage {
  /** Address of the root table, in the space that entries are addressed in. */
  readonly root: bigint;
  readonly levels: number;
  /** Bits of the address beyond 12 + 9 * levels: the root is that much larger, and addresses are zero-extended. */
  readonly wider: number;
  /** Whose access it is, for the U bit. */
  readonly mode: bigint;
  readonly sum: boolean;
  readonly mxr: boolean;
  readonly pbmt: boolean;
  /** The hart sets A and D itself; else a fault asks software to. */
  readonly updates: boolean;
  /** An entry, or why it cannot be read. */
  read(address: bigint): bigint | Walk;
  /** Replaces `old` by `value`: undefined if that is done, `changed` if the entry is not `old` any more. */
  replace(address: bigint, old: bigint, value: bigint): Walk | undefined;
}

/** How a walk ends. A guest-page fault names the guest-physical address that failed, and whether the walk itself wanted it. */
export type Walk =
  | { readonly kind: 'address'; readonly address: bigint }
  | { readonly kind: 'pageFault' }
  | { readonly kind: 'accessFault' }
  | { readonly kind: 'guestPageFault'; readonly gpa: bigint; readonly implicit?: 'read' | 'write' }
  | { readonly kind: 'changed' };

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

export const PAGE_BYTES = 4096n;
export const PAGE_SHIFT = 12n;
export const PTE_BYTES = 8;
export const ADDRESS = (1n << 64n) - 1n;
/** Svnapot's only size: 16 pages, encoded by ppn[3:0] = 1000. */
const NAPOT_PAGES = 16n;
const NAPOT_ENCODING = 8n;
/** Walks begun anew because an entry changed under the update of its A and D bits; then the page is not present. */
export const MAX_RESTARTS = 64;

/** Steps 1 to 10 of the translation process, by the manual's numbers. */
export function walkStage(hart: HartRegisters, stage: Stage, va: bigint, wanted: Wanted): Walk {
  if (!isCanonical(va, stage)) return { kind: 'pageFault' };
  // 1, 2
  let table = stage.root;
  for (let level = stage.levels - 1; level >= 0; level--) {
    const index = (va >> (PAGE_SHIFT + 9n * BigInt(level))) & indexMask(stage, level);
    const at = table + index * BigInt(PTE_BYTES);
    const pte = stage.read(at);
    if (typeof pte !== 'bigint') return pte;
    // 3: not valid, or an encoding that is reserved.
    if (!isValid(hart, stage, pte)) return { kind: 'pageFault' };
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
    if (!leafAllows(stage, pte, wanted)) return { kind: 'pageFault' };
    // 9: accessed and dirty.
    const marked = pte | PTE.A | (wanted === 'store' ? PTE.D : 0n);
    if (marked !== pte) {
      if (!stage.updates) return { kind: 'pageFault' };
      const failure = stage.replace(at, pte, marked);
      if (failure) return failure;
    }
    // 10: the page's number, its low bits from va where the leaf maps several pages.
    const vpn = va >> PAGE_SHIFT;
    const page = (ppn & ~(pages - 1n)) | (vpn & (pages - 1n));
    return { kind: 'address', address: (page << PAGE_SHIFT) | (va & (PAGE_BYTES - 1n)) };
  }
  return { kind: 'pageFault' };
}

function indexMask({ levels, wider }: Stage, level: number): bigint {
  return (1n << BigInt(9 + (level === levels - 1 ? wider : 0))) - 1n;
}

/** The bits above the translated ones must equal the highest translated one; those of guest-physical addresses zero. */
function isCanonical(va: bigint, { levels, wider }: Stage): boolean {
  const bits = 12 + 9 * levels;
  if (wider > 0) return va >> BigInt(bits + wider) === 0n;
  return (BigInt.asIntN(bits, va) & ADDRESS) === va;
}

/** Step 3: V, W without R, reserved bits; N and PBMT are reserved unless the hart has them. */
function isValid(hart: HartRegisters, stage: Stage, pte: bigint): boolean {
  if ((pte & PTE.V) === 0n || (pte & (PTE.R | PTE.W)) === PTE.W || (pte & PTE.RESERVED) !== 0n) return false;
  if ((pte & PTE.N) !== 0n && (hart.features & FEATURE.svnapot) === 0n) return false;
  return (pte & PTE.PBMT) === 0n || (stage.pbmt && (pte & PTE.PBMT) !== PTE.PBMT);
}

/** How many pages a leaf maps, or undefined if it is misaligned or its N is in a reserved encoding. */
function leafPages(pte: bigint, ppn: bigint, level: number): bigint | undefined {
  if ((pte & PTE.N) !== 0n)
    return level === 0 && (ppn & (NAPOT_PAGES - 1n)) === NAPOT_ENCODING ? NAPOT_PAGES : undefined;
  const pages = 1n << (9n * BigInt(level));
  return (ppn & (pages - 1n)) === 0n ? pages : undefined;
}

/** U pages are for U-mode, and for loads and stores of S-mode with SUM; MXR lets loads read executable pages. */
function leafAllows(stage: Stage, pte: bigint, wanted: Wanted): boolean {
  const isUserPage = (pte & PTE.U) !== 0n;
  if (stage.mode === BigInt(MODE.user) && !isUserPage) return false;
  if (stage.mode === BigInt(MODE.supervisor) && isUserPage && (wanted === 'fetch' || !stage.sum)) return false;
  const executable = (pte & PTE.X) !== 0n;
  const readable = (pte & PTE.R) !== 0n || (stage.mxr && executable);
  const writable = (pte & PTE.W) !== 0n;
  switch (wanted) {
    case 'fetch':
    case 'execute':
      return executable;
    case 'load':
      return readable;
    case 'store':
      return writable;
    case 'cache':
      return readable || writable;
  }
}

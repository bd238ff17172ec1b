/**
 * A hart's shadows in memory (mechanism 6, docs/mechanisms/shadow-tables.md). A shadow belongs to one value of the
 * guest's satp (in a nested guest of vsatp and hgatp): a bounded table of translations, and the buffers that generated code looks into, which are the table's
 * cache. They lie in a block of their own, apart from the vCPU's:
 *
 *   the hart's own: global pages, supervisor's buffers for them, machine mode's | without translation | empty | 1 | 2 | ... n
 *
 * An entry of a table, 32 bytes: the page's virtual address with the size's number in its low bits, the PTE as it was
 * read (rights and frame), the epoch of its shadow when it was made (another one: there is nothing), the PTE's address.
 */
import { array, type Fields, struct, type View } from '../base/struct.ts';
import { BANKS, SLOT_BANK_BYTES, TLB_BANK_BYTES, WALK_CACHE_BYTES } from './vcpu-state.ts';

/** Sets of a table, and entries of a set. */
export const TABLE_SETS = 256;
export const TABLE_WAYS = 4;
export const TABLE_ENTRY_BYTES = 32;
export const TABLE_SET_BYTES = TABLE_WAYS * TABLE_ENTRY_BYTES;
export const TABLE_ENTRY = { tag: 0, pte: 8, epoch: 16, pteAt: 24 } as const;
/** Sizes of pages by number, as shifts: 4 KiB, 64 KiB (Svnapot), 2 MiB, 1 GiB, 512 GiB, 256 TiB. */
export const PAGE_SHIFTS = [12, 16, 21, 30, 39, 48] as const;

const FIELDS = {
  table: array('u64', (TABLE_SETS * TABLE_SET_BYTES) / 8),
  /** Tables of the guest that walks found: by 2 MiB, then by 1 GiB: tag, address (bit 0: below a global pointer), epoch. */
  walkCache: array('u64', WALK_CACHE_BYTES / 8),
  /** By BANK; fetches by the mode's number. */
  slots: array('u64', (BANKS * SLOT_BANK_BYTES) / 8),
  readTlb: array('u64', (BANKS * TLB_BANK_BYTES) / 8),
  writeTlb: array('u64', (BANKS * TLB_BANK_BYTES) / 8),
  fetchTlb: array('u64', (BANKS * TLB_BANK_BYTES) / 8),
  /** Changes when everything in the table is dropped; numbers are never used twice (vcpuState.lastEpoch). */
  epoch: 'u64',
  /** Changes when any fetch translation is dropped: what regions validated before must be again. */
  fetchEpoch: 'u64',
  /** The epoch that a bank's contents are of (another one: they are to be emptied), and the writeEpoch. */
  dataEpochs: array('u64', BANKS),
  writeEpochs: array('u64', BANKS),
  fetchEpochs: array('u64', BANKS),
  /** The addresses of pages that are parts of larger ones, or of NAPOT ranges: first and last; where hasRanges is 1. */
  rangeFrom: 'u64',
  rangeTo: 'u64',
  /** Mode, SUM and which MXR BANK.mxr was filled for. */
  mxrKey: 'u32',
  /** 1: it has supervisor's pages that are not global, and so buffers of its own for that mode. */
  isPrivate: 'u32',
  /** Numbers of sizes in the table, a bit each; 1: there are pages which fences drop with their neighbours (rangeFrom). */
  sizes: 'u32',
  hasRanges: 'u32',
  /** 1: it is a guest's (V was 1). */
  isGuest: 'u32',
  /** 1: some of it was read from page tables that are not tracked, so that fences drop it (shadow-tracking.ts). */
  untracked: 'u32',
  /** The way that makes room next. */
  victim: 'u32',
  /** Of the log of fences of single pages, how many are done. */
  fencesSeen: 'u32',
  /** Counters: since it was given its root, how often it was registered; entries written. */
  registrations: 'u32',
  entriesWritten: 'u32',
  /** To whole cache lines. */
  reserved: array('u32', 4),
} as const satisfies Fields;

export const shadowLayout = struct('shadow', FIELDS);
export type ShadowView = View<typeof FIELDS>;
export const SHADOW_BYTES = Math.ceil(shadowLayout.sizeBytes / 64) * 64;

/** The shadows in front of those that are handed out: the hart's own, the one without translation, one that stays empty. */
export const RESERVED_SHADOWS = 3;
export const EMPTY_SHADOW = 2;
/** More than processes that take turns closely, as a rule (bench/shadows.ts compares numbers of them). */
export const DEFAULT_SHADOWS = 32;

/**
 * A hart's shadows as TypeScript sees them: making their block, dropping what they hold between runs, and looking at
 * them. Generated code does the rest (translation-context.ts, shadow-table.ts, shadow-fences.ts).
 */
import { assert } from '../base/assert.ts';
import { hgatpOf } from './fence-scope.ts';
import type { MachineMemory } from './machine-memory.ts';
import {
  DEFAULT_SHADOWS,
  EMPTY_SHADOW,
  RESERVED_SHADOWS,
  SHADOW_BYTES,
  type ShadowView,
  shadowLayout,
} from './shadow-layout.ts';
import { TRACKED_BYTES } from './shadow-tracking.ts';
import { placeTracked, TRACKED_FRAMES, trackedFrames } from './tracked-frames.ts';
import { BANKS, MOST_SHADOWS, STALE, TLB_BANK_BYTES, TLB_ENTRIES, type VcpuState } from './vcpu-state.ts';

export type ShadowModel = 'fence' | 'tracked';

export interface ShadowOptions {
  /** Shadows of a hart, 1 to MOST_SHADOWS; 1: each change of root empties it. */
  readonly count?: number;
  /** What drops translations: fences (default), or writes to page tables (shadow-tracking.ts). */
  readonly model?: ShadowModel;
  /** Bits of satp's ASID, 0 to 16. */
  readonly asidBits?: number;
  /** Whether what both stages of a nested guest's translation come to is kept (default), or walked for at each access. */
  readonly combined?: 'on' | 'off';
}

const NONE = (1n << 64n) - 1n;
const MOST_ASID_BITS = 16;

/** Bytes of a hart's block of shadows. */
export function shadowBytes({ count = DEFAULT_SHADOWS, model }: ShadowOptions = {}): number {
  const trackBytes = TRACKED_FRAMES * TRACKED_BYTES + trackedFrames.sizeBytes;
  return (count + RESERVED_SHADOWS) * SHADOW_BYTES + (model === 'tracked' ? trackBytes : 0);
}

/** Makes the vCPU's shadows in a block of that size, which is zeros or was theirs before. Before it runs. */
export function placeShadows(
  memory: MachineMemory,
  state: VcpuState,
  block: number,
  options: ShadowOptions = {},
): void {
  const { count = DEFAULT_SHADOWS, asidBits = MOST_ASID_BITS } = options;
  assert(count >= 1 && count <= MOST_SHADOWS && asidBits >= 0 && asidBits <= MOST_ASID_BITS);
  state.shadowPool = BigInt(block);
  state.shadow = BigInt(block + SHADOW_BYTES);
  state.fetchShadow = state.shadow;
  state.shadowCount = count;
  state.seenSatp = NONE;
  state.combinedShadows = options.combined === 'off' ? 0 : 1;
  state.shadowModel = options.model === 'tracked' ? 1 : 0;
  if (options.model === 'tracked') {
    const table = block + (count + RESERVED_SHADOWS) * SHADOW_BYTES;
    memory.u8.fill(0, table, table + TRACKED_FRAMES * TRACKED_BYTES);
    state.trackTable = BigInt(table);
    state.seenTracks = 0;
    state.trackLogSeen = 0;
    state.trackBusy = 0;
    placeTracked(memory, table + TRACKED_FRAMES * TRACKED_BYTES);
  }
  state.asidAbsent = ((0xffffn << BigInt(asidBits)) & 0xffffn) << 44n;
  state.shadowRoots.fill(NONE);
  state.shadowUses.fill(0n);
  // What was there before is of an epoch that does not come again.
  for (let number = 0; number < count + RESERVED_SHADOWS; number++) {
    const shadow = shadowLayout.view(memory.buffer, block + number * SHADOW_BYTES);
    // The empty one is emptied when it is first used.
    shadow.epoch = number === EMPTY_SHADOW ? ++state.lastEpoch : 0n;
    for (const epochs of [shadow.dataEpochs, shadow.writeEpochs, shadow.fetchEpochs]) epochs.fill(0n);
    // Only what was used: the host has no memory yet for the rest.
    for (const entries of [shadow.table, shadow.walkCache])
      for (let entry = 2; entry < entries.length; entry += 4) if (entries[entry] !== 0n) entries[entry] = 0n;
  }
  shadowLayout.view(memory.buffer, block + SHADOW_BYTES).isPrivate = 1;
  dropTranslations(state);
}

/** Every translation is dropped before the vCPU's next instruction. Not while it runs. */
export function dropTranslations(state: VcpuState): void {
  state.dropEpoch = ++state.lastEpoch;
  state.contextStale |= STALE.epochs;
}

/** What stores go through is emptied before the vCPU's next instruction. Not while it runs. */
export function dropWriteTranslations(state: VcpuState): void {
  state.writeEpoch = ++state.lastEpoch;
  state.contextStale |= STALE.epochs;
}

/** A shadow as it can be inspected. */
export interface ShadowInfo {
  readonly number: number;
  /** The guest's root that it is tied to: satp in hexadecimal, and its parts. Of a nested guest: vsatp, and hgatp. */
  readonly satp: string;
  readonly hgatp?: string;
  readonly mode: number;
  readonly asid: number;
  readonly root: string;
  readonly inUse: boolean;
  /** Translations in its table, of how many; registrations and entries written since it was given its root. */
  readonly entries: number;
  readonly capacity: number;
  readonly registrations: number;
  readonly entriesWritten: number;
  /** It has supervisor's pages that are not global. */
  readonly isPrivate: boolean;
}

/** The relation of the guest's roots to shadows, the one used last first. */
export function shadowList(memory: MachineMemory, state: VcpuState): readonly ShadowInfo[] {
  const list: { used: bigint; info: ShadowInfo }[] = [];
  for (let number = 0; number < state.shadowCount; number++) {
    const satp = state.shadowRoots[number] ?? NONE;
    if (satp === NONE) continue;
    const guest = state.shadowGuests[number] ?? 0n;
    const shadow = shadowAt(memory, state, number + RESERVED_SHADOWS);
    const at = Number(state.shadowPool) + (number + RESERVED_SHADOWS) * SHADOW_BYTES;
    list.push({
      used: state.shadowUses[number] ?? 0n,
      info: {
        number,
        satp: `0x${satp.toString(16)}`,
        ...(guest === 0n ? {} : { hgatp: `0x${hgatpOf(guest).toString(16)}` }),
        mode: Number(satp >> 60n),
        asid: Number((satp >> 44n) & 0xffffn),
        root: `0x${((satp & ((1n << 44n) - 1n)) << 12n).toString(16)}`,
        inUse: Number(state.shadow) === at,
        entries: isDropped(state, shadow) ? 0 : entriesOf(shadow),
        capacity: shadow.table.length / 4,
        registrations: shadow.registrations,
        entriesWritten: shadow.entriesWritten,
        isPrivate: shadow.isPrivate === 1,
      },
    });
  }
  return list.sort((a, b) => (a.used < b.used ? 1 : -1)).map(({ info }) => info);
}

/** Global translations in the table of the hart's own shadow. */
export function globalEntries(memory: MachineMemory, state: VcpuState): number {
  const shadow = shadowAt(memory, state, 0);
  return isDropped(state, shadow) ? 0 : entriesOf(shadow);
}

/**
 * Each fetch translation that stands, of all shadows: page and decoded page; whether it is of the guest's guest. What a hart is about to
 * change may be wrong.
 */
export function* fetchTranslations(
  memory: MachineMemory,
  state: VcpuState,
): Generator<{ va: bigint; decoded: number; isGuest: boolean }> {
  for (let number = 0; number < state.shadowCount + RESERVED_SHADOWS; number++) {
    const shadow = shadowAt(memory, state, number);
    if (isDropped(state, shadow)) continue;
    for (let bank = 0; bank < BANKS; bank++) {
      if (shadow.fetchEpochs[bank] !== shadow.epoch) continue;
      for (let i = bank * TLB_ENTRIES * 2; i < (bank + 1) * TLB_ENTRIES * 2; i += 2)
        yield {
          va: shadow.fetchTlb[i] ?? NONE,
          decoded: Number(BigInt.asUintN(32, shadow.fetchTlb[i + 1] ?? 0n)),
          isGuest: shadow.isGuest !== 0,
        };
    }
  }
}

function shadowAt(memory: MachineMemory, state: VcpuState, number: number): ShadowView {
  return shadowLayout.view(memory.buffer, Number(state.shadowPool) + number * SHADOW_BYTES);
}

function isDropped(state: VcpuState, shadow: ShadowView): boolean {
  return shadow.epoch <= state.dropEpoch || (shadow.isGuest === 0 && shadow.epoch <= state.hostDropEpoch);
}

function entriesOf(shadow: ShadowView): number {
  let count = 0;
  for (let entry = 2; entry < shadow.table.length; entry += 4) if (shadow.table[entry] === shadow.epoch) count++;
  return count;
}

/** The fetch buffer in use holds nothing any more: for threads that read it while the vCPU stands still. */
export function emptyFetchBuffer(memory: MachineMemory, state: VcpuState): void {
  const from = Number(state.fetchBank);
  // Whole words: whoever reads meanwhile finds no halves of addresses.
  if (from !== 0) memory.u64.fill(NONE, from / 8, (from + TLB_BANK_BYTES) / 8);
}

/** Counters of a hart's shadows. */
export interface ShadowStats {
  /** Changes of root to one that had a shadow: registrations alone. */
  readonly hits: number;
  /** To one that had none: a shadow was allocated, its root recorded; for how many of these another had to go. */
  readonly misses: number;
  readonly evictions: number;
  /** How often a shadow (or the global pages) began anew, empty: after misses and fences. */
  readonly builds: number;
  /** Translations written into tables; of these, while a shadow was registered that was found; that made room for others. */
  readonly entriesWritten: number;
  readonly entriesWrittenByHits: number;
  readonly entriesEvicted: number;
  /** Misses of the buffers that a table answered, and that took a walk. */
  readonly refillsByShadow: number;
  readonly refillsByWalk: number;
  /** Fences of everything, of an ASID, of a page; asked for by other harts; done late, when a shadow was registered. */
  readonly fences: Readonly<Record<'all' | 'space' | 'page' | 'remote' | 'late', number>>;
  /** Page tables that were begun to be tracked, writes to them, PTEs in use among these; frames given up for good. */
  readonly tracked: Readonly<Record<'frames' | 'writes' | 'drops' | 'demotions', number>>;
}

export function shadowStats(state: VcpuState): ShadowStats {
  return {
    hits: state.shadowHits,
    misses: state.shadowMisses,
    evictions: state.shadowEvictions,
    builds: state.shadowBuilds,
    entriesWritten: state.entriesWritten,
    entriesWrittenByHits: state.hitWrites,
    entriesEvicted: state.tableEvictions,
    refillsByShadow: Number(state.refillsShadow),
    refillsByWalk: Number(state.refillsWalk),
    fences: {
      all: state.fencesAll,
      space: state.fencesSpace,
      page: state.fencesPage,
      remote: state.fencesRemote,
      late: state.fencesLate,
    },
    tracked: {
      frames: state.trackedFrames,
      writes: state.trackedWrites,
      drops: state.trackedDrops,
      demotions: state.demotions,
    },
  };
}

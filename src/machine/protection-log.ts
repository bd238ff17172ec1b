/**
 * The audit log of a board's protection: violations as vCPUs log them in their blocks, and as devices' DMA and the
 * built-in SBI are logged in the partition's; rings (ring-log.ts). Counts are exact; of the log, a flood loses the oldest.
 */
import { PROTECTION_LOG_ENTRIES, PROTECTION_LOG_WORDS } from '../engine/index.ts';
import { BY_DEVICE, BY_SBI, DEVICE_LOG_ENTRIES, DEVICE_LOG_WORDS } from '../hypervisor/index.ts';
import type { Board } from './board.ts';
import { type Ring, readRing } from './ring-log.ts';

/** What was tried, and the right that it needs. An `update` is of A or D in a page table that was walked. */
export const VIOLATION_ACCESSES = ['fetch', 'load', 'store', 'walk', 'update'] as const;
export type ViolationAccess = (typeof VIOLATION_ACCESSES)[number];
const MISSING: Readonly<Record<ViolationAccess, 'r' | 'w' | 'x'>> = {
  ...{ fetch: 'x', load: 'r', store: 'w' },
  ...{ walk: 'r', update: 'w' },
};
const MODES = ['user', 'supervisor', '?', 'machine'] as const;
export const VIOLATORS = ['user', 'supervisor', 'machine', 'device', 'sbi'] as const;

/** One access that a table forbade. Addresses are in hexadecimal, with 0x. */
export interface Violation {
  /** Whose table it was: `kernel`, `user`, `firmware`, `device:disk0`. */
  readonly domain: string;
  /** Who accessed: a hart in a privilege mode, a device, or the built-in SBI for the kernel that called it. */
  readonly by: (typeof VIOLATORS)[number];
  readonly hart?: number;
  readonly pc?: string;
  readonly access: ViolationAccess;
  readonly missing: 'r' | 'w' | 'x';
  /** The virtual address; of a walk, the one that was to be translated. */
  readonly address?: string;
  readonly physical: string;
  /** The frame, by its number in the machine's memory. */
  readonly frame: number;
}

export class ProtectionLog {
  readonly #board: Board;
  readonly #read: number[];
  lost = 0;

  /** Tells what comes from now on; with `all`, what the rings still hold, too. */
  constructor(board: Board, { all = false }: { all?: boolean } = {}) {
    this.#board = board;
    this.#read = this.#rings().map(({ ring }) => (all ? oldest(ring()) : ring().next));
  }

  /** Tells what was logged since the last time: hart by hart and then devices, each in order. */
  drain(each: (violation: Violation) => void): void {
    this.#rings().forEach(({ ring, hart }, i) => {
      const { next, lost } = readRing(ring, this.#read[i] ?? 0, (words) => each(this.#describe(words, hart)));
      this.lost += lost;
      this.#read[i] = next;
    });
  }

  #rings(): { ring: () => Ring; hart?: number }[] {
    const { vcpus, protection } = this.#board;
    const own = vcpus.map(({ state, id }) => ({
      hart: id,
      ring: () => ({
        ...{ next: state.protectionLogNext, words: state.protectionLog },
        ...{ entries: PROTECTION_LOG_ENTRIES, width: PROTECTION_LOG_WORDS },
      }),
    }));
    if (protection === undefined) return own;
    const ring = (): Ring => ({
      ...{ next: protection.block.logNext, words: protection.block.log },
      ...{ entries: DEVICE_LOG_ENTRIES, width: DEVICE_LOG_WORDS },
    });
    return [...own, { ring }];
  }

  #describe([pc = 0n, va = 0n, gpa = 0n, what = 0n]: readonly bigint[], hart: number | undefined): Violation {
    const byte = (shift: bigint): number => Number((what >> shift) & 0xffn);
    const access = VIOLATION_ACCESSES[byte(32n)] ?? 'load';
    const domain = this.#board.protection?.domains.find(({ number }) => number === byte(40n))?.name ?? '?';
    const rest = { access, missing: MISSING[access], physical: hex(gpa), frame: Number(what & 0xffff_ffffn), domain };
    const by = byte(48n);
    if (hart === undefined || by === BY_DEVICE || by === BY_SBI)
      return { ...rest, by: by === BY_SBI ? 'sbi' : 'device' };
    const mode = MODES[by] ?? 'machine';
    return { ...rest, by: mode === '?' ? 'machine' : mode, hart, pc: hex(pc), address: hex(va) };
  }
}

/** `hart 0 supervisor ffffffff80004a2c kernel may not w: store to ffffffff80001000, physical 80201000, frame 9f3`. */
export function violationLine({ hart, by, pc, domain, missing, access, address, physical, frame }: Violation): string {
  const who = hart === undefined ? by : `hart ${hart} ${by} ${bare(pc ?? '')}`;
  const where = address === undefined ? '' : ` at ${bare(address)},`;
  return `${who} ${domain} may not ${missing}: ${access}${where} physical ${bare(physical)}, frame ${frame.toString(16)}`;
}

/** The number of the oldest entry that the ring holds. */
function oldest({ next, entries }: Ring): number {
  return next > entries ? (next - entries) >>> 0 : 0;
}

function hex(value: bigint): string {
  return `0x${BigInt.asUintN(64, value).toString(16)}`;
}

function bare(address: string): string {
  return address.replace('0x', '');
}

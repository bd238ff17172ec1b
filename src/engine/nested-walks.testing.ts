/**
 * What two-stage translation may find, for trials (nested-shadows.testing.ts): all walks that read each PTE, of either stage,
 * as it was at some time since this hart's last fence that covers it. Sv39 over Sv39x4. Written apart from the engine's walk, and
 * from the reference machine's, which know no past.
 */
import { FRAME_BYTES } from './memory-plan.ts';
import { PTE } from './page-table.ts';
import { isPointer, NOW, type PteHistory, TRIAL_RAM } from './pte-history.testing.ts';
import { TRIAL_PAGES } from './trial-harts.testing.ts';

export const ADUE = 1n << 61n;

export type Access = 'load' | 'store' | 'fetch';
/** `page N`, `page fault`, `access fault`, `guest-page fault at ADDRESS`, `cause N`. */
export type Outcome = string;
/** Where a guest-physical address leads: in RAM, or to an outcome. */
export type Reached = { readonly at: number } | { readonly outcome: Outcome };

export interface Fence {
  readonly time: number;
  /** None: of every guest. */
  readonly vmid?: bigint;
  readonly asid?: bigint;
  /** Of the guest, or of a second stage's fence the guest-physical one; of a page. */
  readonly address?: bigint;
}
export interface Known {
  vsatp: bigint;
  hgatp: bigint;
  satp: bigint;
  /** Of the guests' own tables, of second stages', of the host's. */
  readonly guest: Fence[];
  readonly stage: Fence[];
  readonly host: Fence[];
}
export interface Use {
  /** Of the byte. */
  readonly va: bigint;
  readonly access: Access;
  readonly mode: number;
  readonly sum: boolean;
  /** The guest's MXR, and the hypervisor's. */
  readonly mxr: boolean;
  readonly hostMxr: boolean;
}
/** When a PTE was fenced last: a leaf of that level, or (none) one that leads to a table. */
type Since = (level: number | undefined) => number;

export class PermittedWalks {
  readonly #history: PteHistory;
  readonly #known: Known;
  readonly #environment: { readonly menvcfg: bigint; readonly henvcfg: bigint };

  /** For the hart of which that is known. */
  constructor(history: PteHistory, known: Known, environment: { readonly menvcfg: bigint; readonly henvcfg: bigint }) {
    this.#history = history;
    this.#known = known;
    this.#environment = environment;
  }

  /** All that is permitted. */
  permitted(use: Use): ReadonlySet<Outcome> {
    const { vsatp, hgatp, guest } = this.#known;
    const [asid, vmid] = [(vsatp >> 44n) & 0xffffn, vmidOf(hgatp)];
    const fences = guest.filter((fence) => fence.vmid === vmid);
    const own = this.#first(
      use,
      sinceOf(
        fences.filter((fence) => (fence.asid ?? asid) === asid),
        use.va,
      ),
    );
    if (vsatp >> 60n === 0n) return own;
    // Global translations may have been found in any space, and fences of one leave them.
    const global = this.#first(
      use,
      sinceOf(
        fences.filter((fence) => fence.asid === undefined),
        use.va,
      ),
      undefined,
      PTE.g,
    );
    return new Set([...own, ...global]);
  }

  /** What walks find that read all as it is now. */
  now(use: Use): ReadonlySet<Outcome> {
    return this.#first(
      use,
      () => NOW,
      () => NOW,
    );
  }

  /** Whether a guest-physical address is the same physical one, whatever was fenced. */
  surely(gpa: bigint, access: Access): boolean {
    const found = this.second(gpa, access, false);
    return found.length === 1 && found.every((one) => 'at' in one && BigInt(one.at) === gpa);
  }

  /** What a load of the host's own space may find, of the PTE at `entry`. */
  ofHost(va: bigint, entry: number): readonly Outcome[] {
    const { satp, host } = this.#known;
    const asid = (satp >> 44n) & 0xffffn;
    const since = sinceOf(
      host.filter((fence) => (fence.asid ?? asid) === asid),
      va,
    );
    const use = { va, access: 'load', mode: 1, sum: false, mxr: false } as const;
    const updates = (this.#environment.menvcfg & ADUE) !== 0n;
    const versions = this.#history.versions(entry).filter(({ end }) => end > since(0));
    return versions.map(({ value }) => {
      const at = leafAddress(use, value, 0);
      return at === undefined || (lacks(value, 'load') && !updates) ? 'page fault' : pageOutcome(Number(at));
    });
  }

  /** Outcomes of the first stage, of leaves with `only`, and what the second makes of them. */
  #first(use: Use, since: Since, stageSince?: Since, only = 0n): Set<Outcome> {
    const found = new Set<Outcome>();
    const end = (gpa: bigint): void => {
      for (const one of this.second(gpa, use.access, use.hostMxr, stageSince))
        found.add('outcome' in one ? one.outcome : pageOutcome(one.at));
    };
    const { vsatp } = this.#known;
    if (vsatp >> 60n === 0n) {
      end(use.va);
      return found;
    }
    const mxr = use.mxr || use.hostMxr;
    const updates = (this.#environment.menvcfg & this.#environment.henvcfg & ADUE) !== 0n;
    const descend = (table: bigint, level: number): void => {
      const entry = table + indexOf(use.va, level) * 8n;
      for (const one of this.second(entry, 'load', false, stageSince)) {
        if ('outcome' in one) {
          found.add(one.outcome);
          continue;
        }
        for (const { value, end: replaced } of this.#history.versions(one.at)) {
          const leads = isPointer(value);
          if (replaced <= since(leads ? undefined : spanLevel(value, level))) continue;
          if (leads && level > 0) {
            descend((value >> 10n) << 12n, level - 1);
            continue;
          }
          if ((value & only) !== only) continue;
          const gpa = leafAddress({ ...use, mxr }, value, level);
          if (gpa === undefined) found.add('page fault');
          else if (!lacks(value, use.access)) end(gpa);
          else if (!updates) found.add('page fault');
          else
            for (const own of this.second(entry, 'store', false, stageSince)) {
              if ('outcome' in own) found.add(own.outcome);
              else end(gpa);
            }
        }
      }
    };
    descend((vsatp & ((1n << 44n) - 1n)) << 12n, 2);
    return found;
  }

  /** All that the second stage may make of a guest-physical address; `since`: other than this hart's fences say. */
  second(gpa: bigint, access: Access, hostMxr: boolean, since?: Since): readonly Reached[] {
    const { hgatp, stage } = this.#known;
    if (hgatp >> 60n === 0n) return [reached(gpa)];
    const vmid = vmidOf(hgatp);
    const fenced =
      since ??
      sinceOf(
        stage.filter((fence) => (fence.vmid ?? vmid) === vmid),
        gpa,
      );
    const found = new Map<string, Reached>();
    const add = (one: Reached): void => void found.set('at' in one ? String(one.at) : one.outcome, one);
    const updates = (this.#environment.menvcfg & ADUE) !== 0n;
    const use = { va: gpa, access, mode: 0, sum: false, mxr: hostMxr };
    const descend = (table: number, level: number): void => {
      const index = level === 2 ? gpa >> 30n : indexOf(gpa, level);
      for (const { value, end } of this.#history.versions(table + Number(index) * 8)) {
        const leads = isPointer(value);
        if (end <= fenced(leads ? undefined : spanLevel(value, level))) continue;
        if (leads && level > 0) {
          descend(Number((value >> 10n) << 12n), level - 1);
          continue;
        }
        const physical = leafAddress(use, value, level);
        const isFault = physical === undefined || (lacks(value, access) && !updates);
        add(isFault ? { outcome: guestFault(gpa) } : reached(physical));
      }
    };
    // Beyond the root's four gigabytes of 512 nothing is mapped.
    if (gpa >> 41n !== 0n || gpa >> 30n >= 512n) return [{ outcome: guestFault(gpa) }];
    descend(Number((hgatp & ((1n << 44n) - 1n)) << 12n), 2);
    return [...found.values()];
  }
}

/** Of fences of the space: the last that covers a PTE on the way of `va`. One of an address is of leaves alone, of the whole leaf. */
function sinceOf(fences: readonly Fence[], va: bigint): Since {
  const known = new Map<number | undefined, number>();
  return (level) => {
    const before = known.get(level);
    if (before !== undefined) return before;
    const shift = BigInt(12 + 9 * (level ?? 0));
    const covers = (address: bigint): boolean =>
      level !== undefined && BigInt.asUintN(64, address) >> shift === BigInt.asUintN(64, va) >> shift;
    const time = fences.findLast(({ address }) => address === undefined || covers(address))?.time ?? 0;
    known.set(level, time);
    return time;
  };
}

/** How large a leaf is that a fence drops as a whole; of a NAPOT range each page has a PTE of its own. */
function spanLevel(pte: bigint, level: number): number {
  return (pte & PTE.n) === 0n ? level : 0;
}

/** Where a leaf leads, if it is one and allows the access; A and D aside. */
function leafAddress(use: Omit<Use, 'hostMxr'>, pte: bigint, level: number): bigint | undefined {
  const { va, access, mode, sum, mxr } = use;
  const has = (bits: bigint): boolean => (pte & bits) !== 0n;
  if (!has(PTE.v) || (pte & (PTE.r | PTE.w)) === PTE.w || !has(PTE.r | PTE.x)) return undefined;
  if (mode === 0 ? !has(PTE.u) : has(PTE.u) && (access === 'fetch' || !sum)) return undefined;
  const isAllowed =
    access === 'store' ? has(PTE.w) : access === 'fetch' ? has(PTE.x) : has(PTE.r) || (mxr && has(PTE.x));
  if (!isAllowed) return undefined;
  const ppn = (pte >> 10n) & ((1n << 44n) - 1n);
  const below = (1n << BigInt(9 * level)) - 1n;
  if (has(PTE.n) ? level > 0 || (ppn & 15n) !== 8n : (ppn & below) !== 0n) return undefined;
  const mask = has(PTE.n) ? 15n : below;
  return (((ppn & ~mask) | ((va >> 12n) & mask)) << 12n) | (va & 0xfffn);
}

/** A is clear, or of a store D. */
function lacks(pte: bigint, access: Access): boolean {
  return (pte & PTE.a) === 0n || (access === 'store' && (pte & PTE.d) === 0n);
}

function reached(physical: bigint): Reached {
  const isRam = physical >= BigInt(TRIAL_RAM) && physical < BigInt(TRIAL_RAM + TRIAL_PAGES * FRAME_BYTES);
  return isRam ? { at: Number(physical) } : { outcome: 'access fault' };
}
function pageOutcome(physical: number): Outcome {
  return `page ${Math.floor((physical - TRIAL_RAM) / FRAME_BYTES)}`;
}
export function guestFault(gpa: bigint): Outcome {
  return `guest-page fault at ${gpa.toString(16)}`;
}
export function page(va: bigint): bigint {
  return va & ~0xfffn;
}
function indexOf(va: bigint, level: number): bigint {
  return (BigInt.asUintN(39, va) >> BigInt(12 + 9 * level)) & 511n;
}
export function vmidOf(hgatp: bigint): bigint {
  return (hgatp >> 44n) & 0x3fffn;
}
/** What an outcome is, wherever it was. */
export function kindOf(outcome: Outcome): string {
  return outcome.startsWith('page ') && outcome !== 'page fault' ? 'page' : outcome.replace(/ at .*/, '');
}

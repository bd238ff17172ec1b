/**
 * Which sensitive instructions are promoted (mechanism 3). A *site* is a sensitive instruction of the guest: an access
 * to a CSR, a call, a fence, a load or store that met a device. It is emulated first: the region that it stands in is
 * left for the interpreter, or the engine for the host. One that is emulated often is promoted: regions do it where it
 * stands (engine/promotion.ts), beginning with one of its own. One that is promoted and cools down is demoted: regions
 * with it are dropped, and their bytes are given back.
 *
 *            count >= threshold                  regions with it are made
 *   emulated ------------------> promoted bit --------------------------> promotion code, executions counted
 *      ^                                                                        |
 *      +------- two sweeps with few executions, or too many bytes: the coldest -+
 *
 * The threshold is what making a region costs over what a promoted execution saves: both are measured as the machine
 * runs. What is promoted changes how fast a guest runs, and nothing that it can see.
 *
 * Whoever makes regions for vCPUs decides for them, here or on a thread of its own.
 */
import { must } from '../base/assert.ts';
import {
  DECODED_PROMOTED,
  headerLayout,
  type MachineMemory,
  PLAN,
  SITE_BYTES,
  SITES,
  type VcpuState,
} from '../engine/index.ts';
import type { PromotionMode } from './options.ts';
import { promotionMode } from './promotion-mode.ts';

interface Site {
  readonly number: number;
  /** Linear address of its decoded entry, and the instruction's own when it was promoted. */
  readonly entry: number;
  readonly pc: bigint;
  readonly regions: Set<number>;
  /** Executions at the last sweep, and for how many sweeps on end there were few. */
  seen: number;
  cold: number;
}

/** A promoted execution saves this much where the engine is not left (measured: bench/promotion.ts). */
const SAVED_IN_ENGINE_NS = 25;
/** Assumed until they are measured: what a region costs, and what an exit does. */
const REGION_NS = 400_000;
const EXIT_NS = 400;
/** The weight of the newest measurement. */
const NEWEST = 1 / 8;
/** Executions between two sweeps that keep a site, sweeps that it may have fewer. */
const FEW = 64;
const PATIENT_SWEEPS = 2;
const MOST_THRESHOLD = 65_535;

export class Promotion {
  readonly #made: PromotionMode;
  #swept: PromotionMode;
  readonly #memory: MachineMemory;
  readonly #limitBytes: number;
  readonly #sites = new Map<number, Site>();
  readonly #byNumber = new Map<number, Site>();
  readonly #free: number[] = [];
  #regionNs = REGION_NS;

  /** `made`: what the machine was made with; `limitBytes`: of promotion code at a time, where more sites are demoted. */
  constructor(memory: MachineMemory, made: PromotionMode, limitBytes: number) {
    this.#memory = memory;
    this.#made = made;
    this.#swept = made;
    this.#limitBytes = limitBytes;
  }

  get mode(): PromotionMode {
    return promotionMode(this.#memory, this.#made);
  }

  /** The mode was changed, and vCPUs and sites are still as they were with another. */
  get isDue(): boolean {
    return this.mode !== this.#swept;
  }

  /** What a region cost to make. */
  noteRegion(ns: number): void {
    this.#regionNs += (ns - this.#regionNs) * NEWEST;
  }

  /**
   * Promotes the instruction at `pc` with that decoded entry: regions that are made from now on do it where it stands.
   * False: there is no room for more.
   */
  promote(entry: number, pc: bigint): boolean {
    if (this.mode === 'off') return false;
    if (this.numberOf(entry, pc) === 0) return false;
    const { byte, mask } = promotedBit(entry, pc);
    Atomics.or(this.#memory.u8, byte, mask);
    return true;
  }

  /** The site's number; 0: there is no room for another. */
  numberOf(entry: number, pc: bigint): number {
    return (this.#sites.get(entry) ?? this.#make(entry, pc))?.number ?? 0;
  }

  /** A region that does the sites of these numbers is in use. */
  use(region: number, sites: readonly number[]): void {
    for (const number of sites) this.#byNumber.get(number)?.regions.add(region);
  }

  /**
   * Now and then, as the vCPUs execute, and when the mode was changed: demotes what cooled down, or everything. The regions
   * with it, which are to be dropped.
   */
  sweep(states: readonly VcpuState[]): readonly number[] {
    const { mode } = this;
    if (mode === 'off' && !this.isDue) return [];
    this.#swept = mode;
    for (const state of states) setSiteThresholds(state, mode, this.#regionNs);
    const demoted: Site[] = mode === 'off' ? [...this.#sites.values()] : this.#cooled();
    for (const site of demoted) this.#demote(site);
    return demoted.flatMap((site) => [...site.regions]);
  }

  /** Sites with few executions lately; and, over the budget, the colder half of the others. */
  #cooled(): Site[] {
    const demoted: Site[] = [];
    const rates: { site: Site; executed: number }[] = [];
    for (const site of this.#sites.values()) {
      const executed = (this.#executions(site) - site.seen) >>> 0;
      site.seen = this.#executions(site);
      site.cold = executed < FEW ? site.cold + 1 : 0;
      if (site.cold >= PATIENT_SWEEPS) demoted.push(site);
      else rates.push({ site, executed });
    }
    if (this.#memory.header.promotionBytes > this.#limitBytes) {
      rates.sort((a, b) => a.executed - b.executed);
      for (const { site } of rates.slice(0, Math.ceil(rates.length / 2))) demoted.push(site);
    }
    return demoted;
  }

  /** All code was dropped. */
  forget(): void {
    this.#sites.clear();
    this.#byNumber.clear();
    this.#free.length = 0;
  }

  #make(entry: number, pc: bigint): Site | undefined {
    const number = this.#free.pop() ?? this.#count('siteNext', 1);
    if (number >= SITES) return undefined;
    this.#memory.u32.set([0, entry], (PLAN.sites + number * SITE_BYTES) / 4);
    const site: Site = { number, entry, pc, regions: new Set(), seen: 0, cold: 0 };
    this.#sites.set(entry, site);
    this.#byNumber.set(number, site);
    this.#count('sitesPromoted', 1);
    return site;
  }

  #executions({ number }: Site): number {
    return must(this.#memory.u32[(PLAN.sites + number * SITE_BYTES) / 4]);
  }

  #demote(site: Site): void {
    this.#sites.delete(site.entry);
    this.#byNumber.delete(site.number);
    this.#free.push(site.number);
    const { byte, mask } = promotedBit(site.entry, site.pc);
    Atomics.and(this.#memory.u8, byte, ~mask & 0xff);
    this.#count('sitesDemoted', 1);
  }

  /** Adds to a counter of the header; returns what it was. */
  #count(name: 'siteNext' | 'sitesPromoted' | 'sitesDemoted', by: number): number {
    return Atomics.add(this.#memory.u32, (PLAN.header + headerLayout.offset[name]) / 4, by);
  }
}

/** From now on the vCPU tells of instructions that are emulated often: what costs more than a region of `regionNs`. */
export function setSiteThresholds(state: VcpuState, mode: PromotionMode, regionNs = REGION_NS): void {
  const worth = (savedNs: number, least: number): number =>
    Math.min(MOST_THRESHOLD, Math.max(least, Math.round(regionNs / savedNs)));
  state.siteThreshold = mode === 'off' ? 0 : mode === 'always' ? 1 : worth(SAVED_IN_ENGINE_NS, 1000);
  state.exitThreshold = mode === 'off' ? 0 : mode === 'always' ? 1 : worth(state.exitNs || EXIT_NS, 200);
}

/** The number of the site with that decoded entry, as whoever looks at a machine finds it; 0: there is none. */
export function siteAt({ header, u32 }: MachineMemory, entry: number): number {
  for (let number = 1; number < Math.min(header.siteNext, SITES); number++)
    if (u32[(PLAN.sites + number * SITE_BYTES) / 4 + 1] === entry) return number;
  return 0;
}

/** Where the promoted bit of an instruction is, by its decoded entry and its address. */
function promotedBit(entry: number, pc: bigint): { byte: number; mask: number } {
  const half = Number(pc & 0xfffn) >> 1;
  return { byte: entry - half * 8 + DECODED_PROMOTED + (half >> 3), mask: 1 << (half & 7) };
}

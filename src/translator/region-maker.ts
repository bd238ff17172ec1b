/**
 * Makes regions: finds them around hot code, writes several as a module, installs them. What that changes is in the
 * machine's memory, so any thread may do it: regions, links from pages to them, modules (engine/regions.ts,
 * module-log.ts), heads in decoded pages, from which on the interpreter enters them.
 *
 * Others may write to the code meanwhile. So a region's cover and links are there before its instructions are compared
 * with memory a last time; whoever writes later finds the cover and drops the region. And all code may be dropped
 * meanwhile: then what was found means nothing any more.
 */
import { assert, must } from '../base/assert.ts';
import {
  DECODED_COVER,
  DECODED_HEADER_BYTES,
  DECODED_LINKS,
  dropRegion,
  entryOfRegion,
  hostFusesMultiplyAdd,
  isQuietPage,
  isRegionHead,
  type MachineMemory,
  PLAN,
  REGION_BYTES,
  REGION_LINKS,
  REGION_MISSES,
  REGION_TABLE,
  REGIONS,
  type Signature,
  SPECIAL,
  type VcpuState,
  withLock,
} from '../engine/index.ts';
import { ModuleBuilder } from '../wasm/index.ts';
import { CodeSource } from './code-source.ts';
import type { HotCode } from './hot-queue.ts';
import { ImportLibrary } from './import-library.ts';
import { type CodeDecoders, InstructionCache, isSensitive } from './instruction.ts';
import { MadeModules } from './made-modules.ts';
import type { ModuleLog } from './module-log.ts';
import type { ModuleTable } from './module-table.ts';
import { type RegionLimits, SWEEP_STEPS, type TranslatorOptions } from './options.ts';
import { Promotion } from './promotion.ts';
import { findRegion, type RegionGraph } from './region-graph.ts';
import { type WrittenRegion, writeRegion } from './region-writer.ts';

/** How code is decoded, and what modules may import. */
export interface GuestCode extends CodeDecoders {
  readonly hasCompressed: boolean;
  readonly signatures: ReadonlyMap<string, Signature>;
}

export interface FoundRegion {
  readonly source: CodeSource;
  readonly graph: RegionGraph;
  /** Linear address of the head's decoded entry. */
  readonly head: number;
  readonly epoch: number;
  /** It is made for the promoted instruction that is its head. */
  readonly isPromotion: boolean;
  readonly twins: boolean;
}

/** A region is made with twins if it is left for a miss more than once for so many entries. */
const MISSES_SELDOM = 8;

/** Of code memory, at most this part is promotion code. */
const PROMOTION_SHARE = 1 / 8;

/** Phases of translation, by their places in the header's times. */
const PHASE = { find: 0, write: 1, compile: 2, install: 3 } as const;

export class RegionMaker {
  readonly #memory: MachineMemory;
  readonly #code: GuestCode;
  readonly #options: TranslatorOptions;
  readonly #cache: InstructionCache;
  readonly #nowMs: () => number;
  /** Heads around which a larger region was looked for; counters wrap, and once is enough. */
  readonly #grown = new Map<number, 'without' | 'with twins'>();
  readonly #promotion: Promotion;
  readonly #made: MadeModules;
  #nextSweep = SWEEP_STEPS;
  #epoch = 0;
  #dropped = 0;

  /** `nowMs`: for counters of what it takes. */
  constructor(memory: MachineMemory, code: GuestCode, options: TranslatorOptions, nowMs = (): number => 0) {
    this.#memory = memory;
    this.#code = code;
    this.#options = options;
    this.#cache = new InstructionCache(code);
    this.#nowMs = nowMs;
    const { codeEnd, decodedFirst } = memory.header;
    this.#made = new MadeModules(memory);
    this.#promotion = new Promotion(memory, options.promotion, (codeEnd - decodedFirst) * PROMOTION_SHARE);
  }

  /** The address of the decoded entry at a place: what identifies a region's head. */
  static headOf({ pc, decoded }: HotCode): number {
    return decoded + Number(pc & 0xfffn) * 4;
  }

  /** The region around hot code; undefined: there is none, or the code was dropped. */
  find(hot: HotCode): FoundRegion | undefined {
    return this.#timed('find', () =>
      withLock(this.#memory.i32, 'sourceLock', () => {
        if (this.#memory.header.decodedEpoch !== hot.epoch) return undefined;
        const offset = Number(hot.pc & 0xfffn);
        const head = RegionMaker.headOf(hot);
        const source = new CodeSource(this.#memory, hot);
        if (hot.why === 'emulated')
          return this.#promote(source, hot) ? this.#around(source, hot, this.#options.promoted) : undefined;
        const isAgain = source.isHead(offset);
        const twins = isAgain && this.#missesOften(head);
        if (!this.#mayTry(head, hot.epoch, isAgain, twins)) return undefined;
        return this.#around(source, hot, isAgain ? this.#options.second : this.#options.first, twins);
      }),
    );
  }

  #around(source: CodeSource, hot: HotCode, size: RegionLimits, twins = false): FoundRegion | undefined {
    const graph = findRegion(source, this.#cache, Number(hot.pc & 0xfffn), {
      ...size,
      followsCold: this.#options.followsCold,
      hasCompressed: this.#code.hasCompressed,
      siteOf: (entry, pc) => this.#promotion.numberOf(entry, pc),
    });
    const { epoch, why } = hot;
    return graph && { source, graph, head: RegionMaker.headOf(hot), epoch, isPromotion: why === 'emulated', twins };
  }

  /** Whether the region with that head is left for accesses that miss, more than once for so many times it is entered. */
  #missesOften(head: number): boolean {
    const { u32, u64 } = this.#memory;
    const record = (PLAN.regions + Number(must(u64[head / 8]) >> 32n) * REGION_BYTES) / 4;
    return must(u32[record + REGION_MISSES / 4]) * MISSES_SELDOM > must(u32[record + 1]);
  }

  /** Promotes the instruction at the place, if that is possible. */
  #promote(source: CodeSource, hot: HotCode): boolean {
    const offset = Number(hot.pc & 0xfffn);
    const instruction = source.instruction(offset, this.#cache);
    // What straddles pages has no entry of its own; of accesses, those that translated code does can be promoted.
    if (instruction === undefined || offset + instruction.length > 4096) return false;
    const { role, row } = instruction;
    if (!isSensitive(role) && row.kind !== 'load' && row.kind !== 'store') return false;
    return this.#promotion.promote(RegionMaker.headOf(hot), hot.pc);
  }

  /** Now and then: demotes sensitive instructions that cooled down, drops the regions with them, gives code memory back. */
  sweep(states: readonly VcpuState[], { log }: ModuleTable): void {
    let steps = 0n;
    for (const state of states) if (state.steps > steps) steps = state.steps;
    if (steps < this.#nextSweep && !this.#promotion.isDue) return;
    this.#nextSweep = steps + SWEEP_STEPS;
    // Under the lock code is not dropped, and sites stay what they were made for.
    withLock(this.#memory.i32, 'sourceLock', () => this.#sweep(states, log));
  }

  #sweep(states: readonly VcpuState[], log: ModuleLog): void {
    this.#forgetDropped();
    const { header, i32 } = this.#memory;
    const drop = (regions: readonly number[]): number =>
      regions.filter((number) => dropRegion(this.#memory, number)).length;
    withLock(i32, 'regionLock', () => {
      header.regionsDemoted += drop(this.#promotion.sweep(states));
      header.regionsEvicted += drop(this.#made.cold());
    });
    this.#made.release(log);
  }

  /** Where all code was dropped, nothing is known of it any more. */
  #forgetDropped(): void {
    const { codeFlushes } = this.#memory.header;
    if (codeFlushes === this.#dropped) return;
    this.#dropped = codeFlushes;
    this.#promotion.forget();
    this.#made.forget();
  }

  /** A larger region is tried once for each smaller one. */
  #mayTry(head: number, epoch: number, isAgain: boolean, twins: boolean): boolean {
    if (this.#epoch !== epoch) {
      this.#epoch = epoch;
      for (const each of this.#grown.keys()) if (!isRegionHead(this.#memory, each)) this.#grown.delete(each);
    }
    if (!isAgain) this.#grown.delete(head);
    else if (this.#grown.get(head) === 'with twins' || (this.#grown.has(head) && !twins)) return false;
    else this.#grown.set(head, twins ? 'with twins' : 'without');
    return true;
  }

  /**
   * Makes modules of regions and installs them. They are in this thread's table before anybody can enter them; `ready` is
   * told the number of each by then. Regions with promotion code stand in a module of their own, so that its bytes can be
   * given back. False: there is no room.
   */
  make(all: readonly FoundRegion[], table: ModuleTable, ready?: (region: number) => void): boolean {
    this.#forgetDropped();
    return [false, true].every((promotes) =>
      this.#makeModule(
        all.filter(({ graph }) => sitesOf(graph).length > 0 === promotes),
        table,
        ready,
      ),
    );
  }

  #makeModule(all: readonly FoundRegion[], table: ModuleTable, ready?: (region: number) => void): boolean {
    const { header, i32 } = this.#memory;
    const { decodedEpoch } = header;
    const found = all.filter((region) => region.epoch === decodedEpoch);
    if (found.length === 0) return true;
    const first = withLock(i32, 'regionLock', () => this.#reserve(found.length));
    if (first === undefined) return false;
    const end = first + found.length;
    const before = this.#nowMs();
    const { bytes, regions } = this.#timed('write', () => this.#write(found, first));
    this.#timed('compile', () => {
      table.add(new WebAssembly.Module(bytes), bytes.length, first, end);
      if (ready) for (let region = first; region < end; region++) ready(region);
    });
    const took = this.#nowMs() - before;
    if (took > 0) this.#promotion.noteRegion((took * 1e6) / found.length);
    return this.#timed('install', () =>
      withLock(i32, 'regionLock', () => {
        // Pages of theirs may have been taken back. Or all were, and numbers are given out anew: this thread's table is
        // emptied before it meets them.
        if (header.decodedEpoch !== decodedEpoch) return true;
        if (!table.log.append(bytes, first, found.length)) return false;
        table.own(table.log.length);
        header.regionsMade += found.length;
        let promotionBytes = 0;
        for (const [i, { graph, isPromotion }] of found.entries()) {
          const region = must(regions[i]);
          promotionBytes += isPromotion ? region.bytes : region.promotionBytes;
          this.#promotion.use(first + i, sitesOf(graph));
        }
        header.promotionBytes += promotionBytes;
        header.promotionPeak = Math.max(header.promotionPeak, header.promotionBytes);
        this.#made.add({ first, end, bytes: bytes.length, promotionBytes });
        return found.every((each, i) => this.#install(each, first + i, table.log.length));
      }),
    );
  }

  #reserve(count: number): number | undefined {
    const { header } = this.#memory;
    const first = header.regionNext;
    if (first + count > REGIONS) return undefined;
    header.regionNext = first + count;
    return first;
  }

  #write(
    found: readonly FoundRegion[],
    first: number,
  ): { bytes: Uint8Array<ArrayBuffer>; regions: readonly WrittenRegion[] } {
    const { hasCompressed, signatures } = this.#code;
    const module = new ModuleBuilder(this.#memory.shape.description, { importsLate: true });
    const library = new ImportLibrary(module, signatures, { hasCompressed });
    const regions = found.map(({ graph, twins }, i) =>
      writeRegion(module, library, graph, {
        number: first + i,
        name: `region${first + i}`,
        fuses: hostFusesMultiplyAdd(),
        hasTotalStoreOrder: this.#memory.header.totalStoreOrder !== 0,
        twins,
      }),
    );
    module.importTable();
    module.setTable(
      regions.map((region) => region.function),
      REGION_TABLE + first,
    );
    return { bytes: module.build(), regions };
  }

  /** Makes a region's head known; false where there is no room for its links. */
  #install({ source, graph, head }: FoundRegion, number: number, module: number): boolean {
    const { header, u32, u64 } = this.#memory;
    const record = (PLAN.regions + number * REGION_BYTES) / 4;
    u32.set([head, 0, module, graph.instructions, 0], record);
    for (const page of graph.pages) {
      const link = header.linkNext;
      if (link >= REGION_LINKS) return false;
      header.linkNext = link + 1;
      const links = (page.decoded - DECODED_HEADER_BYTES + DECODED_LINKS) / 4;
      u32.set([number, u32[links] ?? 0], (PLAN.regionLinks + link * 8) / 4);
      u32[links] = link;
    }
    for (const { instructions } of graph.blocks)
      for (const { offset, instruction } of instructions)
        for (let half = 0; half < instruction.length; half += 2) this.#cover(source, offset + half);
    // Whoever writes to the code from here on finds the cover (a sequentially consistent access on both sides).
    Atomics.add(u32, record, 0);
    const isNoticed = graph.pages.every(({ decoded }) => !isQuietPage(this.#memory, decoded));
    const isUnchanged =
      isNoticed &&
      graph.blocks.every(({ instructions }) =>
        instructions.every(({ offset, instruction }) => source.instruction(offset, this.#cache) === instruction),
      );
    if (!isUnchanged) {
      // What stands there, a smaller region perhaps, stays, and stays known by its record.
      u32[record] = 0;
      return true;
    }
    const before = u64[head / 8] ?? 0n;
    if ((before & 1023n) === BigInt(SPECIAL.region)) u32[(PLAN.regions + Number(before >> 32n) * REGION_BYTES) / 4] = 0;
    u64[head / 8] = entryOfRegion(number);
    return true;
  }

  #cover(source: CodeSource, offset: number): void {
    const page = source.page(offset);
    assert(page !== undefined, 'a region has only known pages');
    const half = (offset - page.offset) >> 1;
    const at = page.decoded + DECODED_COVER + (half >> 3);
    this.#memory.u8[at] = (this.#memory.u8[at] ?? 0) | (1 << (half & 7));
  }

  #timed<T>(phase: keyof typeof PHASE, act: () => T): T {
    const before = this.#nowMs();
    const result = act();
    const { translationTimes } = this.#memory.header;
    const microseconds = Math.round((this.#nowMs() - before) * 1000);
    translationTimes[PHASE[phase]] = (translationTimes[PHASE[phase]] ?? 0) + microseconds;
    return result;
  }
}

function sitesOf({ blocks }: RegionGraph): readonly number[] {
  return blocks.flatMap(({ instructions }) => instructions.flatMap(({ site }) => (site === undefined ? [] : [site])));
}

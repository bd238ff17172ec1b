/**
 * Makes regions of hot code, on the thread that found it hot. Each processor has a translator; what they share is in the
 * machine's memory: regions, links from pages to them, modules (engine/regions.ts, module-log.ts).
 *
 *   hot pc -> graph of blocks -> waits for company -> a module of several regions -> this thread's table, the log
 *                                                  -> heads in decoded pages: from now on the interpreter enters them
 *   sensitive instruction, emulated often -> promoted (promotion.ts) -> a region that begins with it -> likewise
 *
 * Modules whose regions were all dropped are forgotten, so that the host can free their code.
 *
 * Others may write to the code meanwhile. So a region's cover and links are there before its instructions are compared
 * with memory a last time; whoever writes later finds the cover and drops the region.
 */
import { assert, must } from '../base/assert.ts';
import {
  DECODED_COVER,
  DECODED_HEADER_BYTES,
  DECODED_LINKS,
  headerLayout,
  hostFusesMultiplyAdd,
  type MachineMemory,
  PLAN,
  type Processor,
  REGION_BYTES,
  REGION_LINKS,
  REGION_TABLE,
  REGIONS,
  type Signature,
  SPECIAL,
  type VcpuState,
} from '../engine/index.ts';
import { ModuleBuilder } from '../wasm/index.ts';
import { CodeSource } from './code-source.ts';
import { ImportLibrary } from './import-library.ts';
import { type CodeDecoders, InstructionCache, isSensitive } from './instruction.ts';
import { ModuleLog } from './module-log.ts';
import { Promotion, type PromotionMode } from './promotion.ts';
import { findRegion, type RegionGraph } from './region-graph.ts';
import { type WrittenRegion, writeRegion } from './region-writer.ts';

export interface TranslatorOptions {
  /** A jump target is translated when it was reached this often: 1 to 65535. */
  readonly threshold: number;
  /** And again, into a larger region, when it was reached this often; 0: never. */
  readonly secondThreshold: number;
  /** Regions that are compiled together. */
  readonly batch: number;
  /** Code that was never executed is translated with what was: for tests. */
  readonly followsCold: boolean;
  readonly first: RegionLimits;
  readonly second: RegionLimits;
  /** Regions that begin with a promoted instruction. */
  readonly promoted: RegionLimits;
  readonly promotion: PromotionMode;
}

/** Instructions and pages of a region, calls within calls, at the most. */
export interface RegionLimits {
  readonly instructions: number;
  readonly pages: number;
  readonly depth: number;
}

export const DEFAULT_TRANSLATION: TranslatorOptions = {
  threshold: 1000,
  secondThreshold: 16_000,
  batch: 8,
  followsCold: false,
  first: { instructions: 100, pages: 4, depth: 1 },
  second: { instructions: 500, pages: 12, depth: 6 },
  promoted: { instructions: 24, pages: 2, depth: 0 },
  promotion: 'auto',
};
/** Of code memory, at most this part is promotion code. */
const PROMOTION_SHARE = 1 / 8;

/** Looks at the world after which waiting regions are compiled without more company. */
const PATIENCE = 4;

interface Waiting {
  readonly source: CodeSource;
  readonly graph: RegionGraph;
  /** Linear address of the head's decoded entry. */
  readonly head: number;
  /** The head is a promoted instruction, for which the region is made. */
  readonly isPromotion: boolean;
}

/** A module in this thread's table. */
interface Loaded {
  readonly first: number;
  readonly count: number;
  /** Bytes that are charged to code memory, and of promotion code; of modules that others made: none. */
  readonly bytes: number;
  readonly promotionBytes: number;
}

export class Translator {
  readonly options: TranslatorOptions;
  readonly #memory: MachineMemory;
  readonly #processor: Processor;
  readonly #signatures: ReadonlyMap<string, Signature>;
  readonly #hasCompressed: boolean;
  readonly #cache: InstructionCache;
  readonly #log: ModuleLog;
  readonly #waiting = new Map<number, Waiting>();
  readonly #loaded = new Set<Loaded>();
  readonly #nowNs: (() => number) | undefined;
  /** Decides which sensitive instructions are promoted. */
  readonly promotion: Promotion;
  /** Up to which number this thread has the modules, which it made itself, and how often all code had been dropped. */
  #pulled = 0;
  readonly #own = new Set<number>();
  #flushes: number;
  #patience = 0;
  /** Promotion code is waited for: until then its instructions leave the engine. */
  #isUrgent = false;
  #isFull = false;
  /** Regions that this thread's table holds are below. */
  #filled = 0;

  constructor(
    memory: MachineMemory,
    processor: Processor,
    code: CodeDecoders & { hasCompressed: boolean; signatures: ReadonlyMap<string, Signature> },
    options: TranslatorOptions = DEFAULT_TRANSLATION,
    nowNs?: () => number,
  ) {
    const { codeEnd, decodedFirst } = memory.header;
    this.promotion = new Promotion(memory, options.promotion, (codeEnd - decodedFirst) * PROMOTION_SHARE);
    this.#nowNs = nowNs;
    this.options = options;
    this.#memory = memory;
    this.#processor = processor;
    this.#signatures = code.signatures;
    this.#hasCompressed = code.hasCompressed;
    this.#cache = new InstructionCache(code);
    this.#log = new ModuleLog(memory);
    this.#flushes = memory.header.codeFlushes;
    processor.onHot = (state) => this.#hot(state);
    processor.onSensitive = (state) => this.#sensitive(state);
  }

  /** To be called before a vCPU runs for the first time. */
  start(state: VcpuState): void {
    state.hotThreshold = this.options.threshold;
    state.hotterThreshold = this.options.secondThreshold;
    this.promotion.start(state);
  }

  /** To be called before a vCPU runs on this thread, while it counts as running. False: code memory is full. */
  prepare(state: VcpuState): boolean {
    if (this.#memory.header.codeFlushes !== this.#flushes) this.#forget();
    if (state.regionsMissing !== 0) {
      state.regionsMissing = 0;
      this.#pull();
    }
    this.#demote(this.promotion.sweep(state));
    if (this.#waiting.size > 0 && (++this.#patience >= PATIENCE || this.#isUrgent) && !this.#compile())
      this.#isFull = true;
    return !this.#isFull;
  }

  /** The vCPU that runs found its pc hot. */
  #hot(state: VcpuState): void {
    const source = new CodeSource(this.#memory, state, state.pc);
    const offset = Number(state.pc & 0xfffn);
    const page = source.page(0);
    if (page === undefined) return;
    const head = page.decoded + offset * 4;
    if (this.#waiting.has(head)) return;
    this.#find(source, head, source.isHead(offset) ? this.options.second : this.options.first, false);
  }

  /** The instruction at sitePc was emulated often. */
  #sensitive(state: VcpuState): void {
    const source = new CodeSource(this.#memory, state, state.sitePc);
    const offset = Number(state.sitePc & 0xfffn);
    const page = source.page(0);
    const instruction = source.instruction(offset, this.#cache);
    // What straddles pages has no entry of its own; of accesses, those that translated code does can be promoted.
    if (page === undefined || instruction === undefined || offset + instruction.length > 4096) return;
    const { role, row } = instruction;
    if (!isSensitive(role) && row.kind !== 'load' && row.kind !== 'store') return;
    const entry = page.decoded + offset * 4;
    if (this.promotion.promote(entry, state.sitePc)) this.#find(source, entry, this.options.promoted, true);
  }

  #find(source: CodeSource, head: number, size: RegionLimits, isPromotion: boolean): void {
    const { followsCold } = this.options;
    const graph = findRegion(source, this.#cache, (head - must(source.page(0)).decoded) / 4, {
      ...size,
      followsCold,
      hasCompressed: this.#hasCompressed,
      siteOf: (entry, pc) => this.promotion.numberOf(entry, pc),
    });
    if (graph === undefined) return;
    this.#waiting.set(head, { source, graph, head, isPromotion });
    this.#isUrgent ||= isPromotion;
    if (this.#waiting.size >= this.options.batch && !this.#compile()) this.#isFull = true;
  }

  /** Regions with promotion code stand in modules of their own, so that its bytes can be given back. */
  #compile(): boolean {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#patience = 0;
    this.#isUrgent = false;
    for (const promotes of [false, true]) {
      const some = waiting.filter(({ graph }) => sitesOf(graph).length > 0 === promotes);
      if (some.length > 0 && !this.#compileModule(some)) return false;
    }
    return true;
  }

  #compileModule(waiting: readonly Waiting[]): boolean {
    const { header } = this.#memory;
    const began = this.#nowNs?.();
    const index = (PLAN.header + headerLayout.offset.regionNext) / 4;
    const first = Atomics.add(this.#memory.u32, index, waiting.length);
    if (first + waiting.length > REGIONS) {
      Atomics.store(this.#memory.u32, index, REGIONS);
      return false;
    }
    const { bytes, regions } = this.#write(waiting, first);
    const module = new WebAssembly.Module(bytes);
    const isDone = this.#locked(() => {
      if (!this.#log.append(bytes, first, waiting.length)) return false;
      this.#processor.instantiate(module);
      this.#own.add(this.#log.length);
      this.#filled = Math.max(this.#filled, first + waiting.length);
      let promotionBytes = 0;
      for (const [i, each] of waiting.entries()) {
        if (!this.#install(each, first + i)) return false;
        const region = must(regions[i]);
        promotionBytes += each.isPromotion ? region.bytes : region.promotionBytes;
        this.promotion.use(first + i, sitesOf(each.graph));
      }
      this.#loaded.add({ first, count: waiting.length, bytes: bytes.length, promotionBytes });
      header.regionsMade += waiting.length;
      header.promotionBytes += promotionBytes;
      header.promotionPeak = Math.max(header.promotionPeak, header.promotionBytes);
      return true;
    });
    if (began !== undefined) this.promotion.noteRegion((must(this.#nowNs)() - began) / waiting.length);
    return isDone;
  }

  /** Drops regions, and forgets the modules that have no other. */
  #demote(regions: readonly number[]): void {
    if (regions.length === 0) return;
    const { header, u32, u64 } = this.#memory;
    this.#locked(() => {
      for (const number of regions) {
        const record = (PLAN.regions + number * REGION_BYTES) / 4;
        const head = must(u32[record]);
        if (head === 0) continue;
        u32[record] = 0;
        if (u64[head / 8] === headOf(number)) u64[head / 8] = BigInt(SPECIAL.undecoded);
        header.regionsDemoted++;
      }
      for (const module of this.#loaded) {
        const records = u32.subarray((PLAN.regions + module.first * REGION_BYTES) / 4).subarray(0, module.count * 4);
        if (records.some((head, i) => i % 4 === 0 && head !== 0)) continue;
        this.#processor.forget(module.first, module.first + module.count);
        this.#log.release(module.bytes);
        header.promotionBytes -= module.promotionBytes;
        this.#loaded.delete(module);
      }
    });
  }

  #write(waiting: readonly Waiting[], first: number): { bytes: Uint8Array<ArrayBuffer>; regions: WrittenRegion[] } {
    const module = new ModuleBuilder(this.#memory.shape.description, { importsLate: true });
    const library = new ImportLibrary(module, this.#signatures, { hasCompressed: this.#hasCompressed });
    const regions = waiting.map(({ graph }, i) =>
      writeRegion(module, library, graph, {
        number: first + i,
        name: `region${first + i}`,
        fuses: hostFusesMultiplyAdd(),
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
  #install({ source, graph, head }: Waiting, number: number): boolean {
    const { header, u32, u64 } = this.#memory;
    const record = (PLAN.regions + number * REGION_BYTES) / 4;
    u32.set([head, 0, this.#log.length, graph.instructions], record);
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
    const isUnchanged = graph.blocks.every(({ instructions }) =>
      instructions.every(({ offset, instruction }) => source.instruction(offset, this.#cache) === instruction),
    );
    const before = u64[head / 8] ?? 0n;
    if ((before & 1023n) === BigInt(SPECIAL.region)) u32[(PLAN.regions + Number(before >> 32n) * REGION_BYTES) / 4] = 0;
    if (isUnchanged) u64[head / 8] = headOf(number);
    else u32[record] = 0;
    return true;
  }

  #cover(source: CodeSource, offset: number): void {
    const page = source.page(offset);
    assert(page !== undefined, 'a region has only known pages');
    const half = (offset - page.offset) >> 1;
    const at = page.decoded + DECODED_COVER + (half >> 3);
    this.#memory.u8[at] = (this.#memory.u8[at] ?? 0) | (1 << (half & 7));
  }

  #pull(): void {
    for (const { number, bytes, firstRegion, regions } of this.#log.since(this.#pulled)) {
      this.#pulled = number;
      if (this.#own.has(number)) continue;
      this.#processor.instantiate(new WebAssembly.Module(bytes));
      this.#filled = Math.max(this.#filled, firstRegion + regions);
    }
  }

  /** All code was dropped: so is this thread's. */
  #forget(): void {
    this.#processor.forget(0, this.#filled);
    this.#flushes = this.#memory.header.codeFlushes;
    this.#waiting.clear();
    this.#loaded.clear();
    this.promotion.forget();
    this.#isFull = false;
    this.#pulled = 0;
    this.#own.clear();
    this.#filled = 0;
  }

  #locked<T>(act: () => T): T {
    const words = this.#memory.i32;
    const index = (PLAN.header + headerLayout.offset.regionLock) / 4;
    while (Atomics.compareExchange(words, index, 0, 1) !== 0);
    try {
      return act();
    } finally {
      Atomics.store(words, index, 0);
    }
  }
}

/** The decoded entry that names a region. */
function headOf(number: number): bigint {
  return (BigInt(number) << 32n) | BigInt(SPECIAL.region);
}

function sitesOf(graph: RegionGraph): number[] {
  return graph.blocks.flatMap(({ instructions }) =>
    instructions.flatMap(({ site }) => (site === undefined ? [] : [site])),
  );
}

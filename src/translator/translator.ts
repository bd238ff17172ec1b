/**
 * Makes regions of hot code, on the thread that found it hot. Each processor has a translator; what they share is in the
 * machine's memory: regions, links from pages to them, modules (engine/regions.ts, module-log.ts).
 *
 *   hot pc -> graph of blocks -> waits for company -> a module of several regions -> this thread's table, the log
 *                                                  -> heads in decoded pages: from now on the interpreter enters them
 *
 * Others may write to the code meanwhile. So a region's cover and links are there before its instructions are compared
 * with memory a last time; whoever writes later finds the cover and drops the region.
 */
import { assert } from '../base/assert.ts';
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
import { type CodeDecoders, InstructionCache } from './instruction.ts';
import { HOST_BYTES, ModuleLog } from './module-log.ts';
import { findRegion, type RegionGraph } from './region-graph.ts';
import { writeRegion } from './region-writer.ts';

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
};

/** Dropped code is host memory until the host collects garbage, which is asked for when there is this much (estimate). */
const COLLECT_BYTES = 8 << 20;

/** Looks at the world after which waiting regions are compiled without more company. */
const PATIENCE = 32;

interface Waiting {
  readonly source: CodeSource;
  readonly graph: RegionGraph;
  /** Linear address of the head's decoded entry. */
  readonly head: number;
}

export class Translator {
  readonly options: TranslatorOptions;
  /** Has the host collect garbage now: much code was dropped. */
  collectGarbage: (() => void) | undefined;
  readonly #memory: MachineMemory;
  readonly #processor: Processor;
  readonly #signatures: ReadonlyMap<string, Signature>;
  readonly #hasCompressed: boolean;
  readonly #cache: InstructionCache;
  readonly #log: ModuleLog;
  readonly #waiting = new Map<number, Waiting>();
  /** Up to which number this thread has the modules, which it made itself, and how often all code had been dropped. */
  #pulled = 0;
  readonly #own = new Set<number>();
  #flushes: number;
  #patience = 0;
  #isFull = false;
  /** Regions that this thread's table holds are below. */
  #filled = 0;
  /** Whether other threads run regions, too. */
  #hasPeers = false;
  /** What the host holds for this thread's modules, and for dropped ones (estimates). */
  #heldBytes = 0;
  #droppedBytes = 0;

  constructor(
    memory: MachineMemory,
    processor: Processor,
    code: CodeDecoders & { hasCompressed: boolean; signatures: ReadonlyMap<string, Signature> },
    options: TranslatorOptions = DEFAULT_TRANSLATION,
  ) {
    this.options = options;
    this.#memory = memory;
    this.#processor = processor;
    this.#signatures = code.signatures;
    this.#hasCompressed = code.hasCompressed;
    this.#cache = new InstructionCache(code);
    this.#log = new ModuleLog(memory);
    this.#flushes = memory.header.codeFlushes;
    processor.onHot = (state) => this.#hot(state);
  }

  /** To be called before a vCPU runs for the first time. */
  start(state: VcpuState): void {
    state.hotThreshold = this.options.threshold;
    state.hotterThreshold = this.options.secondThreshold;
    this.#hasPeers ||= state.hasPeers !== 0;
  }

  /** To be called before a vCPU runs on this thread, while it counts as running. False: code memory is full. */
  prepare(state: VcpuState): boolean {
    if (this.#memory.header.codeFlushes !== this.#flushes) this.#forget();
    if (state.regionsMissing !== 0) {
      state.regionsMissing = 0;
      this.#pull();
    }
    if (this.#waiting.size > 0 && ++this.#patience >= PATIENCE && !this.#compile()) this.#isFull = true;
    return !this.#isFull;
  }

  /** The vCPU that runs found its pc hot. */
  #hot(state: VcpuState): void {
    // Whoever drops code may let the vCPU go on without `prepare`: what is made now must not be forgotten by it.
    if (this.#memory.header.codeFlushes !== this.#flushes) this.#forget();
    const source = new CodeSource(this.#memory, state, state.pc);
    const offset = Number(state.pc & 0xfffn);
    const page = source.page(0);
    if (page === undefined) return;
    const head = page.decoded + offset * 4;
    if (this.#waiting.has(head)) return;
    const size = source.isHead(offset) ? this.options.second : this.options.first;
    const { followsCold } = this.options;
    const limits = { ...size, followsCold, hasCompressed: this.#hasCompressed };
    const graph = findRegion(source, this.#cache, offset, limits);
    if (graph === undefined) return;
    this.#waiting.set(head, { source, graph, head });
    if (this.#waiting.size >= this.options.batch && !this.#compile()) this.#isFull = true;
  }

  #compile(): boolean {
    const { header } = this.#memory;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#patience = 0;
    const index = (PLAN.header + headerLayout.offset.regionNext) / 4;
    const first = Atomics.add(this.#memory.u32, index, waiting.length);
    if (first + waiting.length > REGIONS) {
      Atomics.store(this.#memory.u32, index, REGIONS);
      return false;
    }
    const bytes = this.#write(waiting, first);
    const module = new WebAssembly.Module(bytes);
    return this.#locked(() => {
      if (!this.#log.append(bytes, first, waiting.length, { keepsBytes: this.#hasPeers })) return false;
      this.#instantiate(module, bytes);
      this.#own.add(this.#log.length);
      this.#filled = Math.max(this.#filled, first + waiting.length);
      for (const [i, each] of waiting.entries()) if (!this.#install(each, first + i)) return false;
      header.regionsMade += waiting.length;
      return true;
    });
  }

  #write(waiting: readonly Waiting[], first: number): Uint8Array<ArrayBuffer> {
    const module = new ModuleBuilder(this.#memory.shape.description, { importsLate: true });
    const library = new ImportLibrary(module, this.#signatures, { hasCompressed: this.#hasCompressed });
    const table = waiting.map(({ graph }, i) =>
      writeRegion(module, library, graph, {
        number: first + i,
        name: `region${first + i}`,
        fuses: hostFusesMultiplyAdd(),
      }),
    );
    module.importTable();
    module.setTable(table, REGION_TABLE + first);
    return module.build();
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
    if (isUnchanged) u64[head / 8] = (BigInt(number) << 32n) | BigInt(SPECIAL.region);
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
      this.#instantiate(new WebAssembly.Module(bytes), bytes);
      this.#filled = Math.max(this.#filled, firstRegion + regions);
    }
  }

  #instantiate(module: WebAssembly.Module, bytes: Uint8Array): void {
    this.#processor.instantiate(module);
    this.#heldBytes += bytes.length * HOST_BYTES;
  }

  /** All code was dropped: so is this thread's. */
  #forget(): void {
    this.#processor.forget(0, this.#filled);
    this.#flushes = this.#memory.header.codeFlushes;
    this.#waiting.clear();
    this.#isFull = false;
    this.#pulled = 0;
    this.#own.clear();
    this.#filled = 0;
    this.#droppedBytes += this.#heldBytes;
    this.#heldBytes = 0;
    if (this.#droppedBytes < COLLECT_BYTES) return;
    this.#droppedBytes = 0;
    this.collectGarbage?.();
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

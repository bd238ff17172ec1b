/**
 * Makes regions: finds them around hot code, writes several as a module, installs them. What that changes is in the
 * machine's memory, so any thread may do it: regions, links from pages to them, modules (engine/regions.ts,
 * module-log.ts), heads in decoded pages, from which on the interpreter enters them.
 *
 * Others may write to the code meanwhile. So a region's cover and links are there before its instructions are compared
 * with memory a last time; whoever writes later finds the cover and drops the region. And all code may be dropped
 * meanwhile: then what was found means nothing any more.
 */
import { assert } from '../base/assert.ts';
import {
  DECODED_COVER,
  DECODED_HEADER_BYTES,
  DECODED_LINKS,
  hostFusesMultiplyAdd,
  type MachineMemory,
  PLAN,
  REGION_BYTES,
  REGION_LINKS,
  REGION_TABLE,
  REGIONS,
  type Signature,
  SPECIAL,
  withLock,
} from '../engine/index.ts';
import { ModuleBuilder } from '../wasm/index.ts';
import { CodeSource } from './code-source.ts';
import type { HotCode } from './hot-queue.ts';
import { ImportLibrary } from './import-library.ts';
import { type CodeDecoders, InstructionCache } from './instruction.ts';
import type { ModuleTable } from './module-table.ts';
import type { TranslatorOptions } from './options.ts';
import { findRegion, type RegionGraph } from './region-graph.ts';
import { writeRegion } from './region-writer.ts';

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
  readonly flushes: number;
}

/** Phases of translation, by their places in the header's times. */
const PHASE = { find: 0, write: 1, compile: 2, install: 3 } as const;

export class RegionMaker {
  readonly #memory: MachineMemory;
  readonly #code: GuestCode;
  readonly #options: TranslatorOptions;
  readonly #cache: InstructionCache;
  readonly #nowMs: () => number;
  /** Heads around which a larger region was looked for; counters wrap, and once is enough. */
  readonly #grown = new Set<number>();
  #flushes = 0;

  /** `nowMs`: for counters of what it takes. */
  constructor(memory: MachineMemory, code: GuestCode, options: TranslatorOptions, nowMs = (): number => 0) {
    this.#memory = memory;
    this.#code = code;
    this.#options = options;
    this.#cache = new InstructionCache(code);
    this.#nowMs = nowMs;
  }

  /** The address of the decoded entry at a place: what identifies a region's head. */
  static headOf({ pc, decoded }: HotCode): number {
    return decoded + Number(pc & 0xfffn) * 4;
  }

  /** The region around hot code; undefined: there is none, or the code was dropped. */
  find(hot: HotCode): FoundRegion | undefined {
    return this.#timed('find', () =>
      withLock(this.#memory.i32, 'sourceLock', () => {
        if (this.#memory.header.codeFlushes !== hot.flushes) return undefined;
        const offset = Number(hot.pc & 0xfffn);
        const head = RegionMaker.headOf(hot);
        const source = new CodeSource(this.#memory, hot);
        const isAgain = source.isHead(offset);
        if (!this.#mayTry(head, hot.flushes, isAgain)) return undefined;
        const size = isAgain ? this.#options.second : this.#options.first;
        const { followsCold } = this.#options;
        const limits = { ...size, followsCold, hasCompressed: this.#code.hasCompressed };
        const graph = findRegion(source, this.#cache, offset, limits);
        return graph && { source, graph, head, flushes: hot.flushes };
      }),
    );
  }

  /** A larger region is tried once for each smaller one. */
  #mayTry(head: number, flushes: number, isAgain: boolean): boolean {
    if (this.#flushes !== flushes) {
      this.#flushes = flushes;
      this.#grown.clear();
    }
    if (!isAgain) this.#grown.delete(head);
    else if (this.#grown.has(head)) return false;
    else this.#grown.add(head);
    return true;
  }

  /**
   * Makes a module of regions and installs them. It is in this thread's table before anybody can enter them; `ready` is
   * told the number of each by then. False: there is no room.
   */
  make(all: readonly FoundRegion[], table: ModuleTable, ready?: (region: number) => void): boolean {
    const { header, i32 } = this.#memory;
    const { codeFlushes } = header;
    const found = all.filter((region) => region.flushes === codeFlushes);
    if (found.length === 0) return true;
    const first = withLock(i32, 'regionLock', () => this.#reserve(found.length));
    if (first === undefined) return false;
    const end = first + found.length;
    const bytes = this.#timed('write', () => this.#write(found, first));
    this.#timed('compile', () => {
      table.add(new WebAssembly.Module(bytes), end);
      if (ready) for (let region = first; region < end; region++) ready(region);
    });
    return this.#timed('install', () =>
      withLock(i32, 'regionLock', () => {
        // Numbers were given out anew since: this thread's table is emptied before it meets them.
        if (header.codeFlushes !== codeFlushes) return true;
        if (!table.log.append(bytes, first, found.length)) return false;
        table.own(table.log.length);
        header.regionsMade += found.length;
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

  #write(found: readonly FoundRegion[], first: number): Uint8Array<ArrayBuffer> {
    const { hasCompressed, signatures } = this.#code;
    const module = new ModuleBuilder(this.#memory.shape.description, { importsLate: true });
    const library = new ImportLibrary(module, signatures, { hasCompressed });
    const functions = found.map(({ graph }, i) =>
      writeRegion(module, library, graph, {
        number: first + i,
        name: `region${first + i}`,
        fuses: hostFusesMultiplyAdd(),
      }),
    );
    module.importTable();
    module.setTable(functions, REGION_TABLE + first);
    return module.build();
  }

  /** Makes a region's head known; false where there is no room for its links. */
  #install({ source, graph, head }: FoundRegion, number: number, module: number): boolean {
    const { header, u32, u64 } = this.#memory;
    const record = (PLAN.regions + number * REGION_BYTES) / 4;
    u32.set([head, 0, module, graph.instructions], record);
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

  #timed<T>(phase: keyof typeof PHASE, act: () => T): T {
    const before = this.#nowMs();
    const result = act();
    const { translationTimes } = this.#memory.header;
    const microseconds = Math.round((this.#nowMs() - before) * 1000);
    translationTimes[PHASE[phase]] = (translationTimes[PHASE[phase]] ?? 0) + microseconds;
    return result;
  }
}

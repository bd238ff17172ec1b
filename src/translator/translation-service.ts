/**
 * Translates for vCPUs that other threads run: takes what they found hot from their queues, makes regions of it, and
 * has the host compile them, so that a vCPU which meets one need not wait for that either. Its own table holds a module
 * only until then; the others fetch it from the log.
 */
import type { MachineMemory, Processor, VcpuState } from '../engine/index.ts';
import { awaitHotBell, HotQueue, hotBell } from './hot-queue.ts';
import { ModuleTable } from './module-table.ts';
import { DEFAULT_TRANSLATION, type TranslatorOptions } from './options.ts';
import { type FoundRegion, type GuestCode, RegionMaker } from './region-maker.ts';

/**
 * What so many regions were made of is garbage of this thread by then. V8 would let 8 MiB and more of it pile up; to
 * collect it takes ten milliseconds, of a hundred and more that the regions took (measured: bench/memory.ts).
 */
const COLLECT_REGIONS = 100;
/** How long a region may wait for company. */
const COMPANY_MS = 2;
/** The longest sleep: a bound on what a lost wake-up could cost. */
const SLEEP_MOST_MS = 1000;

export interface ServedVcpu {
  /** Linear address of its block. */
  readonly at: number;
  readonly state: VcpuState;
}

export class TranslationService {
  readonly #memory: MachineMemory;
  readonly #processor: Processor;
  readonly #options: TranslatorOptions;
  readonly #maker: RegionMaker;
  readonly #table: ModuleTable;
  #queues: readonly HotQueue[] = [];
  #states: readonly VcpuState[] = [];
  #anyVcpu = 0;
  /** Regions made since garbage was collected. */
  #uncollected = 0;

  constructor(
    memory: MachineMemory,
    processor: Processor,
    code: GuestCode,
    vcpus: readonly ServedVcpu[],
    options: TranslatorOptions = DEFAULT_TRANSLATION,
    nowMs?: () => number,
  ) {
    this.#memory = memory;
    this.#processor = processor;
    this.#options = options;
    this.#maker = new RegionMaker(memory, code, options, nowMs);
    this.#table = new ModuleTable(memory, processor);
    this.serves(vcpus);
  }

  /** From now on it serves these vCPUs, and knows nothing of others. */
  serves(vcpus: readonly ServedVcpu[]): void {
    this.#states = vcpus.map(({ state }) => state);
    this.#queues = vcpus.map(({ state }) => new HotQueue(state));
    this.#anyVcpu = vcpus[0]?.at ?? 0;
  }

  /** Sleeps until something waits, then serves it. Returns after a second at most. Only on threads that may block. */
  wait(): void {
    const heard = hotBell(this.#memory);
    if (!this.serve()) awaitHotBell(this.#memory, heard, SLEEP_MOST_MS);
  }

  /** Makes regions of what waits, a module of them at the most; false: nothing waited. */
  serve(): boolean {
    this.#table.forgetDropped();
    this.#maker.sweep(this.#states, this.#table);
    this.#table.forgetDemoted();
    const found = new Map<number, FoundRegion>();
    const heard = hotBell(this.#memory);
    let isAny = this.#gather(found);
    if (found.size > 0 && found.size < this.#options.batch) {
      awaitHotBell(this.#memory, heard, COMPANY_MS);
      isAny = this.#gather(found) || isAny;
    }
    if (found.size > 0) this.#make([...found.values()]);
    else this.#collect();
    return isAny;
  }

  #gather(found: Map<number, FoundRegion>): boolean {
    let isAny = false;
    for (const queue of this.#queues) {
      while (found.size < this.#options.batch) {
        const hot = queue.take();
        if (hot === undefined) break;
        isAny = true;
        if (found.has(RegionMaker.headOf(hot))) continue;
        const region = this.#maker.find(hot);
        if (region) found.set(region.head, region);
      }
    }
    return isAny;
  }

  #make(found: readonly FoundRegion[]): void {
    const compile = (region: number): void => {
      this.#processor.prepareRegion(region, this.#anyVcpu);
      this.#processor.forget(region, region + 1);
    };
    if (!this.#maker.make(found, this.#table, compile)) this.#memory.header.regionsFull = 1;
    this.#uncollected += found.length;
  }

  /** Nothing waits: nobody notices that this takes a moment. */
  #collect(): void {
    if (this.#uncollected < COLLECT_REGIONS) return;
    this.#uncollected = 0;
    this.#processor.collectGarbage?.();
  }
}

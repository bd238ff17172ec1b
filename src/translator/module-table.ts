/** The modules of translated code that a thread has in its table: those it made, and those it fetched from the log. */
import { type MachineMemory, PLAN, type Processor, REGION_BYTES, type VcpuState, withLock } from '../engine/index.ts';
import { HOST_BYTES, ModuleLog } from './module-log.ts';

/** Dropped code is host memory until the host collects garbage, which is asked for when there is this much (estimate). */
const COLLECT_BYTES = 8 << 20;

export class ModuleTable {
  readonly log: ModuleLog;
  readonly #memory: MachineMemory;
  readonly #processor: Processor;
  /** Modules that this thread made itself. */
  readonly #own = new Set<number>();
  /** Up to which number it has those of others. */
  #pulled = 0;
  #flushes: number;
  /** Regions that the table holds are below. */
  #filled = 0;
  /** Modules in the table, by their first region: the one behind the last, and what the host holds for them (an estimate). */
  readonly #held = new Map<number, { readonly end: number; readonly hostBytes: number }>();
  /** Regions that were demoted or evicted when it was last looked. */
  #gone: number;
  /** What the host holds for modules that were taken out since it last collected garbage. */
  #garbageBytes = 0;

  constructor(memory: MachineMemory, processor: Processor) {
    this.#memory = memory;
    this.#processor = processor;
    this.log = new ModuleLog(memory);
    this.#flushes = memory.header.codeFlushes;
    this.#gone = memory.header.regionsDemoted + memory.header.regionsEvicted;
  }

  /** Puts a module into the table, with the regions from `first` to below `end`. */
  add(module: WebAssembly.Module, moduleBytes: number, first: number, end: number): void {
    this.#processor.instantiate(module);
    this.#held.set(first, { end, hostBytes: moduleBytes * HOST_BYTES });
    this.#filled = Math.max(this.#filled, end);
  }

  /** The module of that number is one that `add` was called with. */
  own(number: number): void {
    this.#own.add(number);
  }

  /** Before a vCPU runs on this thread: takes out what was dropped, fetches what it missed. True: all code was dropped. */
  catchUp(state: VcpuState): boolean {
    const isAnew = this.forgetDropped();
    this.forgetDemoted();
    if (state.regionsMissing !== 0) {
      state.regionsMissing = 0;
      this.#pull();
    }
    return isAnew;
  }

  /** Fetches what others made. */
  #pull(): void {
    // Under the lock a module's regions are all in use, or none of them is.
    const made = withLock(this.#memory.i32, 'regionLock', () => this.log.since(this.#pulled));
    for (const { number, bytes, firstRegion, regions } of made) {
      this.#pulled = number;
      if (!this.#own.has(number))
        this.add(new WebAssembly.Module(bytes), bytes.length, firstRegion, firstRegion + regions);
    }
  }

  /** Takes modules out whose regions were all dropped, after some were demoted or evicted, so that the host can free them. */
  forgetDemoted(): void {
    const { regionsDemoted, regionsEvicted } = this.#memory.header;
    if (regionsDemoted + regionsEvicted === this.#gone) return;
    this.#gone = regionsDemoted + regionsEvicted;
    for (const [first, { end, hostBytes }] of this.#held) {
      if (!isDropped(this.#memory, first, end)) continue;
      this.#processor.forget(first, end);
      this.#held.delete(first);
      this.#garbageBytes += hostBytes;
    }
    this.#collect();
  }

  /** Empties the table if all code was dropped since it was last asked; whether that is so. */
  forgetDropped(): boolean {
    const { codeFlushes } = this.#memory.header;
    if (codeFlushes === this.#flushes) return false;
    this.#flushes = codeFlushes;
    this.#processor.forget(0, this.#filled);
    this.#pulled = 0;
    this.#own.clear();
    for (const { hostBytes } of this.#held.values()) this.#garbageBytes += hostBytes;
    this.#held.clear();
    this.#filled = 0;
    this.#collect();
    return true;
  }

  #collect(): void {
    if (this.#garbageBytes < COLLECT_BYTES) return;
    this.#garbageBytes = 0;
    this.#processor.collectGarbage?.();
  }
}

/** Whether all regions from `first` to below `end` were dropped, or never came into use. */
export function isDropped({ u32 }: MachineMemory, first: number, end: number): boolean {
  for (let number = first; number < end; number++)
    if (u32[(PLAN.regions + number * REGION_BYTES) / 4] !== 0) return false;
  return true;
}

/** The modules of translated code that a thread has in its table: those it made, and those it fetched from the log. */
import type { MachineMemory, Processor } from '../engine/index.ts';
import { ModuleLog } from './module-log.ts';

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

  constructor(memory: MachineMemory, processor: Processor) {
    this.#memory = memory;
    this.#processor = processor;
    this.log = new ModuleLog(memory);
    this.#flushes = memory.header.codeFlushes;
  }

  /** Puts a module into the table; its regions' numbers are below `end`. */
  add(module: WebAssembly.Module, end: number): void {
    this.#processor.instantiate(module);
    this.#filled = Math.max(this.#filled, end);
  }

  /** The module of that number is one that `add` was called with. */
  own(number: number): void {
    this.#own.add(number);
  }

  /** Fetches what others made. */
  pull(): void {
    for (const { number, bytes, firstRegion, regions } of this.log.since(this.#pulled)) {
      this.#pulled = number;
      if (!this.#own.has(number)) this.add(new WebAssembly.Module(bytes), firstRegion + regions);
    }
  }

  /** Empties the table if all code was dropped since it was last asked; whether that is so. */
  forgetDropped(): boolean {
    const { codeFlushes } = this.#memory.header;
    if (codeFlushes === this.#flushes) return false;
    this.#flushes = codeFlushes;
    this.#processor.forget(0, this.#filled);
    this.#pulled = 0;
    this.#own.clear();
    this.#filled = 0;
    return true;
  }
}

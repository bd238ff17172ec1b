/**
 * The modules that a maker of regions has made and that are in use: what they are charged for, and which of them have
 * cooled down. While code memory is nearly full, those whose regions were not entered since it was last looked are
 * evicted, so that all code need not be dropped for what is executed no more.
 */
import { must } from '../base/assert.ts';
import { type MachineMemory, PLAN, REGION_BYTES } from '../engine/index.ts';
import type { ModuleLog } from './module-log.ts';
import { isDropped } from './module-table.ts';

export interface MadeModule {
  /** Its regions: the first, and the one behind the last. */
  readonly first: number;
  readonly end: number;
  readonly bytes: number;
  readonly promotionBytes: number;
}

/** Code memory is nearly full when more than this part of it is in use. */
const NEARLY_FULL = 3 / 4;
/** Entries since the last look that keep a module. */
const FEW_ENTRIES = 16;

export class MadeModules {
  readonly #memory: MachineMemory;
  /** With how often their regions had been entered when it was last looked. */
  readonly #modules = new Map<MadeModule, number>();

  constructor(memory: MachineMemory) {
    this.#memory = memory;
  }

  add(module: MadeModule): void {
    this.#modules.set(module, 0);
  }

  /** All code was dropped. */
  forget(): void {
    this.#modules.clear();
  }

  /** Looks at what was entered. The regions that are to be dropped, if code memory is nearly full. */
  cold(): readonly number[] {
    const { decodedFirst, codeEnd } = this.#memory.header;
    const isNearlyFull = this.#memory.codeBytes > (codeEnd - decodedFirst) * NEARLY_FULL;
    const cold: number[] = [];
    for (const [module, before] of this.#modules) {
      const entered = this.#entered(module);
      this.#modules.set(module, entered);
      if (!isNearlyFull || entered - before >= FEW_ENTRIES) continue;
      for (let number = module.first; number < module.end; number++) cold.push(number);
    }
    return cold;
  }

  /** Gives back what modules without a region in use are charged for. The caller holds the lock of sources. */
  release(log: ModuleLog): void {
    const { header } = this.#memory;
    for (const module of this.#modules.keys()) {
      if (!isDropped(this.#memory, module.first, module.end)) continue;
      log.release(module.bytes);
      header.promotionBytes -= module.promotionBytes;
      this.#modules.delete(module);
    }
  }

  #entered({ first, end }: MadeModule): number {
    const { u32 } = this.#memory;
    let entered = 0;
    for (let number = first; number < end; number++)
      entered += must(u32[(PLAN.regions + number * REGION_BYTES) / 4 + 1]);
    return entered;
  }
}

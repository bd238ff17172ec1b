/**
 * Code as it was when only what regions were made of had been executed: for a region that stands, nearer to what its
 * translation saw than what has been executed since, or forgotten since it runs in the region alone.
 */
import type { MachineMemory } from '../engine/index.ts';
import type { CodePage, CodeSource, RegionSource } from '../translator/index.ts';
import { isCovered } from './page-report.ts';

export class CoveredCode implements RegionSource {
  readonly base: bigint;
  readonly #source: CodeSource;
  readonly #memory: MachineMemory;

  constructor(source: CodeSource, memory: MachineMemory) {
    this.base = source.base;
    this.#source = source;
    this.#memory = memory;
  }

  page(offset: number): CodePage | undefined {
    return this.#source.page(offset);
  }

  instruction(...[offset, cache]: Parameters<CodeSource['instruction']>): ReturnType<CodeSource['instruction']> {
    return this.#source.instruction(offset, cache);
  }

  promoted(offset: number): number | undefined {
    return this.#source.promoted(offset);
  }

  jumps(offset: number): readonly number[] {
    return this.#source.jumps(offset);
  }

  wasExecuted(offset: number): boolean {
    const page = this.page(offset);
    return page !== undefined && isCovered(this.#memory, page, offset - page.offset);
  }
}

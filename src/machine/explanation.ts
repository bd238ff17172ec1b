/** What is told of guest code at an address (`kage explain`): plain data. Addresses are written `0x80000000`. */
import type { ExplainedBlock, ExplainedInstruction } from '../translator/index.ts';
import type { Level, ModeName } from './guest-code.ts';

/** In which state code is:
 *
 *   unmapped, device, untouched     there is no code: a fetch would fault, reaches no memory, or memory never written
 *   illegal                         the bits are no instruction of this hart
 *   unexecuted                      code perhaps, but never reached by the interpreter since code was last dropped
 *   interpreted                     executed, and left to the interpreter for good: a CSR, a call, a fence
 *   cold                            executed, and not reached by jumps often enough to be translated
 *   hot                             often enough, but there is no region: it waits for others, or was dropped
 *   inside                          part of a region that begins elsewhere
 *   translated                      a region begins here
 */
export type CodeStatus = (typeof CODE_STATUSES)[number];
export const CODE_STATUSES = [
  ...['unmapped', 'device', 'untouched', 'illegal', 'unexecuted'],
  ...['interpreted', 'cold', 'hot', 'inside', 'translated'],
] as const;

export interface CodeExplanation {
  readonly hart: number;
  readonly pc: string;
  /** In which mode the hart would fetch from there. */
  readonly mode: ModeName;
  /** 2: as the guest of the machine's guest. */
  readonly level: Level;
  readonly physical?: string;
  readonly status: CodeStatus;
  /** The status as a sentence or two, with its numbers. */
  readonly summary: string;
  /** Jumps to the address that the hart's interpreter counted, modulo 65536; addresses share counters by chance. */
  readonly reached: number;
  /** How often makes it worth a region, and a larger one; none where translation is off. */
  readonly thresholds: readonly number[];
  readonly page?: PageExplanation;
  /** The region that begins there. */
  readonly region?: RegionRecord;
  /** Of the region; or of the one that would be made now; or the instructions that follow, where none can be. */
  readonly blocks: readonly HitBlock[];
  /** Of the region that is there, or of the one that would be made now. */
  readonly wasm?: WasmExplanation;
}

export interface HitBlock extends ExplainedBlock {
  readonly reached: number;
}

export const MOST_TOUCHING = 256;

export interface PageExplanation {
  readonly at: string;
  /** Instructions that are decoded, regions' heads among them. */
  readonly decoded: number;
  /** Substitutes stand for some of its instructions. */
  readonly hasOverlay: boolean;
  /** Regions that begin in the page, in order of their addresses. */
  readonly regions: readonly RegionRecord[];
  /** Numbers of the regions with instructions of the page, wherever they begin; at most MOST_TOUCHING. */
  readonly touching: readonly number[];
}

export interface RegionRecord {
  readonly at: string;
  readonly number: number;
  readonly instructions: number;
  /** Times entered by any hart, modulo 2^32. */
  readonly entered: number;
  readonly module: number;
}

/** A region that stands; without `at` no hart has fetched from its page lately. */
export interface HotRegion extends Omit<RegionRecord, 'at'> {
  readonly at?: string;
  readonly physical?: string;
  /** Who fetched from there. */
  readonly hart?: number;
  /** Whose address it is. */
  readonly level?: Level;
}

/** A sensitive instruction that is promoted now (docs/mechanisms/promotion.md). */
export interface PromotedSite {
  readonly number: number;
  /** By promotion code, since it was promoted. */
  readonly executions: number;
  readonly physical: string;
  /** Its assembly. */
  readonly text: string;
  /** Where a hart would fetch it from, by the page tables of now; whose address that is. */
  readonly at?: string;
  readonly hart?: number;
  readonly level?: Level;
}

export interface WasmExplanation {
  readonly of: 'region' | 'proposal';
  /** The blocks, and the guest's instructions between the lines, are those of this code; else they are of now. */
  readonly isCurrent: boolean;
  /** Of the function's body. */
  readonly bytes: number;
  readonly lines: readonly string[];
}

export type { ExplainedBlock, ExplainedInstruction };

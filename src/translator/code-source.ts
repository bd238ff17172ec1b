/**
 * Guest code around a head, as the vCPU that found it hot sees it: pages are reached through its fetch buffer alone,
 * so that looking has no effect (no walk, no A bit), and only code that was executed lately is found. Who only wants to
 * look (explain.ts) may find pages otherwise.
 */
import { must } from '../base/assert.ts';
import {
  DECODED_HEADER_BYTES,
  DECODED_PROMOTED,
  decodedHeader,
  FRAME_BYTES,
  JUMP_SET_WORDS,
  JUMP_SETS,
  JUMP_SLOTS,
  type MachineMemory,
  OVERLAY,
  OVERLAY_STATE,
  placesOf,
  RECORD,
  SPECIAL,
  SUBSTITUTE,
  USE,
  type VcpuState,
} from '../engine/index.ts';
import type { Instruction, InstructionCache } from './instruction.ts';

/** A page of code: offset of its address from that of the head's page, and where it is. */
export interface CodePage {
  readonly offset: number;
  /** Linear addresses of its decoded entries and of the frame. */
  readonly decoded: number;
  /** The frame, or the overlay that stands in for it: then there are records. */
  readonly frame: number;
  readonly records: number;
}

/** Where code was found hot: in which fetch bank, and what leads there from jumps to registers. */
export interface CodePlace {
  readonly pc: bigint;
  /** Linear address of the fetch bank, and of the decoded entries of the page of `pc`. */
  readonly bank: number;
  readonly decoded: number;
  readonly jumps: Int32Array;
}

/** The place where a vCPU is, or another in its mode; undefined where its fetch buffer does not know the page. */
export function placeOf(memory: MachineMemory, state: VcpuState, pc = state.pc): CodePlace | undefined {
  const { jumps } = state;
  const bank = Number(state.fetchBank);
  const decoded = lookUp(memory, bank, pc & ~0xfffn);
  return decoded === undefined ? undefined : { pc, bank, decoded, jumps };
}

/** The decoded entries of a page, as a fetch bank has them. Its vCPU may be changing the bank: then it may be another page. */
function lookUp({ u32, u64, header }: MachineMemory, bank: number, va: bigint): number | undefined {
  const entry = placesOf(va)
    .map((place) => (bank + place) / 8)
    .find((place) => u64[place] === va);
  if (entry === undefined) return undefined;
  const decoded = must(u32[entry * 2 + 2]);
  return decoded >= header.decodedFirst && decoded < header.frameFirst * FRAME_BYTES ? decoded : undefined;
}
/** The page that begins at `offset` from the base, if it was executed. */
export type FindPage = (offset: number) => CodePage | undefined;

/** What a region is found from. */
export type RegionSource = Pick<CodeSource, 'base' | 'page' | 'instruction' | 'wasExecuted' | 'jumps' | 'promoted'>;

export class CodeSource {
  /** Address of the head's page. */
  readonly base: bigint;
  readonly #pages = new Map<number, CodePage | undefined>();
  readonly #memory: MachineMemory;
  readonly #bank: number;
  readonly #jumps: Int32Array;
  readonly #findPage: FindPage | undefined;

  /** Where the place's page is not known, or not from a fetch buffer, `findPage` says where pages are. */
  constructor(memory: MachineMemory, place: Omit<CodePlace, 'decoded'> & { decoded?: number }, findPage?: FindPage) {
    this.#memory = memory;
    this.base = place.pc & ~0xfffn;
    this.#bank = place.bank;
    this.#jumps = place.jumps;
    this.#findPage = findPage;
    if (place.decoded !== undefined) this.#pages.set(0, codePage(memory, 0, place.decoded));
  }

  /** The page that holds the address at `offset` from `base`; undefined where the fetch buffer does not know it. */
  page(offset: number): CodePage | undefined {
    const start = Math.floor(offset / 4096) * 4096;
    if (this.#pages.has(start)) return this.#pages.get(start);
    const found = this.#findPage === undefined ? this.#find(start) : this.#findPage(start);
    this.#pages.set(start, found);
    return found;
  }

  /**
   * The instruction at `offset`; undefined where it is not known, illegal, or for the interpreter alone: a breakpoint, or
   * a substitute that does more than to emulate.
   */
  instruction(offset: number, cache: InstructionCache): Instruction | undefined {
    const page = this.page(offset);
    if (page === undefined || !this.#isInForce(page) || this.#isBreakpoint(page, offset)) return undefined;
    const record = this.#record(page, offset);
    if (record !== undefined && this.#memory.u8[record + RECORD.uses] !== USE.emulate) return undefined;
    const low = this.#halfword(page, offset);
    const next = (low & 3) === 3 ? this.page(offset + 2) : page;
    if (next === undefined || !this.#isInForce(next)) return undefined;
    const bits = (low & 3) === 3 ? (low | (this.#halfword(next, offset + 2) << 16)) >>> 0 : low;
    if (record === undefined) return cache.get(bits);
    // Of one that straddles two pages the other half may be another by now.
    return this.#memory.u32[(record + RECORD.bits) / 4] === bits ? cache.getEmulated(bits) : undefined;
  }

  /** Whether the instruction was ever reached by the interpreter, or begins a region. */
  wasExecuted(offset: number): boolean {
    const page = this.page(offset);
    if (page === undefined) return false;
    const entry = (page.decoded + (offset - page.offset) * 4) / 4;
    return must(this.#memory.u32[entry]) !== SPECIAL.undecoded;
  }

  /** Where the jump to a register at `offset` went lately, as offsets. */
  jumps(offset: number): readonly number[] {
    const page = this.page(offset);
    if (page === undefined) return [];
    const entry = page.decoded + (offset - page.offset) * 4;
    const set = ((entry >>> 3) & (JUMP_SETS - 1)) * JUMP_SET_WORDS;
    if (this.#jumps[set] !== (entry | 0)) return [];
    const slots = this.#jumps.subarray(set + JUMP_SLOTS, set + JUMP_SET_WORDS);
    return [...slots].filter((distance) => distance !== 0).map((distance) => offset + distance);
  }

  /** Whether the instruction at `offset` is promoted, and where its decoded entry is. */
  promoted(offset: number): number | undefined {
    const page = this.page(offset);
    if (page === undefined) return undefined;
    const half = (offset - page.offset) >> 1;
    const bits = must(this.#memory.u8[page.decoded + DECODED_PROMOTED + (half >> 3)]);
    return (bits & (1 << (half & 7))) === 0 ? undefined : page.decoded + half * 8;
  }

  /** Whether a region begins there. */
  isHead(offset: number): boolean {
    const page = this.page(offset);
    if (page === undefined) return false;
    return (must(this.#memory.u32[(page.decoded + (offset - page.offset) * 4) / 4]) & 1023) === SPECIAL.region;
  }

  /** An overlay that was dropped stands for nothing any more. */
  #isInForce({ records, decoded }: CodePage): boolean {
    if (records === 0) return true;
    const state = (decoded - DECODED_HEADER_BYTES + decodedHeader.offset.state) / 4;
    return Atomics.load(this.#memory.u32, state) === OVERLAY_STATE.live;
  }

  /** Where there are no overlays, breakpoints are known by their addresses. */
  #isBreakpoint(page: CodePage, offset: number): boolean {
    const { header } = this.#memory;
    if (header.breakpointCount === 0 || header.breakpointsInOverlays !== 0) return false;
    return header.breakpoints.subarray(0, header.breakpointCount).includes(page.frame + (offset - page.offset));
  }

  /** The record of the substitute that starts there (engine/overlay-code.ts, record_at). */
  #record(page: CodePage, offset: number): number | undefined {
    if (page.records === 0) return undefined;
    const { u8, u32 } = this.#memory;
    const at = offset - page.offset;
    const half = must(u8[page.frame + at]) | (must(u8[page.frame + at + 1]) << 8);
    if ((half & SUBSTITUTE.mask) !== SUBSTITUTE.match) return undefined;
    const number = (half >> SUBSTITUTE.shift) & (OVERLAY.mostRecords - 1);
    const record = page.records + number * OVERLAY.recordBytes;
    const isHere = (must(u32[(record + RECORD.offset) / 4]) & 0xffff) === at && u8[record + RECORD.uses] !== 0;
    return isHere ? record : undefined;
  }

  /** The sixteen bits that the guest has there. */
  #halfword(page: CodePage, offset: number): number {
    const at = this.#record(page, offset) ?? page.frame + (offset - page.offset);
    return must(this.#memory.u8[at]) | (must(this.#memory.u8[at + 1]) << 8);
  }

  #find(start: number): CodePage | undefined {
    const decoded = lookUp(this.#memory, this.#bank, BigInt.asUintN(64, this.base + BigInt(start)));
    return decoded === undefined ? undefined : codePage(this.#memory, start, decoded);
  }
}

/** The page at `offset` whose decoded entries begin at `decoded`. */
export function codePage(memory: MachineMemory, offset: number, decoded: number): CodePage {
  const field = (name: 'frame' | 'records'): number =>
    must(memory.u32[(decoded - DECODED_HEADER_BYTES + decodedHeader.offset[name]) / 4]);
  return { offset, decoded, frame: field('frame'), records: field('records') };
}

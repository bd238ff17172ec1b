/**
 * Guest code around a head, as the vCPU that found it hot sees it: pages are reached through its fetch buffer alone,
 * so that looking has no effect (no walk, no A bit), and only code that was executed lately is found.
 */
import { must } from '../base/assert.ts';
import {
  DECODED_HEADER_BYTES,
  JUMP_SET_WORDS,
  JUMP_SETS,
  JUMP_SLOTS,
  type MachineMemory,
  SPECIAL,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  type VcpuState,
} from '../engine/index.ts';

/** A page of code: offset of its address from that of the head's page, and where it is. */
export interface CodePage {
  readonly offset: number;
  /** Linear addresses of its decoded entries and of the frame. */
  readonly decoded: number;
  readonly frame: number;
}

export class CodeSource {
  /** Address of the head's page. */
  readonly base: bigint;
  readonly #pages = new Map<number, CodePage | undefined>();
  readonly #memory: MachineMemory;
  readonly #bank: number;
  readonly #tags: BigUint64Array;
  readonly #jumps: Int32Array;

  constructor(memory: MachineMemory, state: VcpuState, pc: bigint) {
    this.#memory = memory;
    this.base = pc & ~0xfffn;
    this.#bank = Number(state.fetchBank);
    this.#tags = memory.u64;
    this.#jumps = state.jumps;
  }

  /** The page that holds the address at `offset` from `base`; undefined where the fetch buffer does not know it. */
  page(offset: number): CodePage | undefined {
    const start = Math.floor(offset / 4096) * 4096;
    if (this.#pages.has(start)) return this.#pages.get(start);
    const found = this.#find(start);
    this.#pages.set(start, found);
    return found;
  }

  /** The instruction at `offset`: 32 bits, or 16 where its lowest two say so; undefined where it is not known. */
  bits(offset: number): number | undefined {
    const page = this.page(offset);
    if (page === undefined) return undefined;
    const low = this.#halfword(page, offset);
    if ((low & 3) !== 3) return low;
    const next = this.page(offset + 2);
    if (next === undefined) return undefined;
    return (low | (this.#halfword(next, offset + 2) << 16)) >>> 0;
  }

  /** Whether the instruction was ever reached by the interpreter, or begins a region. */
  wasExecuted(offset: number): boolean {
    const page = this.page(offset);
    if (page === undefined) return false;
    const entry = (page.decoded + (offset - page.offset) * 4) / 4;
    return must(this.#memory.u32[entry]) !== SPECIAL.undecoded;
  }

  /** Whether a debugger stops there. */
  isBreakpoint(offset: number): boolean {
    const page = this.page(offset);
    const { breakpoints, breakpointCount } = this.#memory.header;
    if (page === undefined || breakpointCount === 0) return false;
    return breakpoints.subarray(0, breakpointCount).includes(page.frame + (offset - page.offset));
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

  /** Whether a region begins there. */
  isHead(offset: number): boolean {
    const page = this.page(offset);
    if (page === undefined) return false;
    return (must(this.#memory.u32[(page.decoded + (offset - page.offset) * 4) / 4]) & 1023) === SPECIAL.region;
  }

  #halfword(page: CodePage, offset: number): number {
    const at = page.frame + (offset - page.offset);
    return must(this.#memory.u8[at]) | (must(this.#memory.u8[at + 1]) << 8);
  }

  #find(start: number): CodePage | undefined {
    const va = BigInt.asUintN(64, this.base + BigInt(start));
    const index = Number((va >> 12n) & BigInt(TLB_ENTRIES - 1));
    const entry = (this.#bank + index * TLB_ENTRY_BYTES) / 8;
    if (this.#tags[entry] !== va) return undefined;
    const decoded = must(this.#memory.u32[entry * 2 + 2]);
    const frame = must(this.#memory.u32[(decoded - DECODED_HEADER_BYTES) / 4]);
    return { offset: start, decoded, frame };
  }
}

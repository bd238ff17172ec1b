/**
 * With a threshold of 1, every jump target is to be translated when it is first reached, and again when it was written.
 * The engine's counters do not tell: they are shared by chance, and compared for equality, so that each tells of one
 * target in 65536 arrivals. So they start anew with each arrival, and arrivals are counted here. For tests.
 */
import { must } from '../base/assert.ts';
import {
  DECODED_HEADER_BYTES,
  decodedHeader,
  HOT_COUNTERS,
  type MachineMemory,
  SPECIAL,
  type VcpuState,
} from '../engine/index.ts';
import type { CodePlace } from './code-source.ts';

/** What could not be translated is looked at again after so many arrivals. */
const RETRY = 64;

/** What was found at a target, how often it was reached, and whether a region was made of it. */
interface Arrivals {
  readonly bits: number;
  count: number;
  isMade: boolean;
}

export class FirstArrivals {
  readonly #memory: MachineMemory;
  readonly #secondThreshold: number;
  readonly #targets = new Map<number, Arrivals>();
  #flushes = 0;

  constructor(memory: MachineMemory, secondThreshold: number) {
    this.#memory = memory;
    this.#secondThreshold = secondThreshold;
  }

  /** A vCPU has reached the place: whether it is one to translate now. */
  isNew(state: VcpuState, { pc, decoded }: CodePlace): boolean {
    const { codeFlushes } = this.#memory.header;
    if (codeFlushes !== this.#flushes) this.#targets.clear();
    this.#flushes = codeFlushes;
    const offset = Number(pc & 0xfffn);
    const head = decoded + offset * 4;
    state.hotCounters[(head >>> 3) % HOT_COUNTERS] = 0;
    const before = this.#targets.get(head);
    const isHead = (must(this.#memory.u32[head / 4]) & 1023) === SPECIAL.region;
    if (isHead) {
      if (before === undefined) return false;
      before.isMade = true;
      return ++before.count === this.#secondThreshold;
    }
    const bits = this.#bits(decoded, offset);
    if (before !== undefined && !before.isMade && before.bits === bits) return ++before.count % RETRY === 0;
    this.#targets.set(head, { bits, count: 1, isMade: false });
    return true;
  }

  /** A region is made for that head: if there is none any more, it was dropped. */
  noteMade(head: number): void {
    const target = this.#targets.get(head);
    if (target !== undefined) target.isMade = true;
  }

  /** Of the instruction there, as far as it lies in the page. */
  #bits(decoded: number, offset: number): number {
    const { u8, u32 } = this.#memory;
    const frame = must(u32[(decoded - DECODED_HEADER_BYTES + decodedHeader.offset.frame) / 4]);
    let bits = 0;
    for (let i = 0; i < Math.min(4, 4096 - offset); i++) bits |= must(u8[frame + offset + i]) << (8 * i);
    return bits;
  }
}

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
  isRegionHead,
  type MachineMemory,
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
  #epoch = 0;

  constructor(memory: MachineMemory, secondThreshold: number) {
    this.#memory = memory;
    this.#secondThreshold = secondThreshold;
  }

  /** A vCPU has reached the place: whether it is one to translate now. */
  isNew(state: VcpuState, { pc, decoded }: CodePlace): boolean {
    this.#forgetDropped();
    const offset = Number(pc & 0xfffn);
    const head = decoded + offset * 4;
    state.hotCounters[(head >>> 3) % HOT_COUNTERS] = 0;
    const before = this.#targets.get(head);
    const isHead = isRegionHead(this.#memory, head);
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

  /** What became of places whose pages were taken back is another place's. */
  #forgetDropped(): void {
    const { decodedEpoch } = this.#memory.header;
    if (decodedEpoch === this.#epoch) return;
    this.#epoch = decodedEpoch;
    for (const head of this.#targets.keys()) if (!isRegionHead(this.#memory, head)) this.#targets.delete(head);
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

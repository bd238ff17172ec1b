/**
 * Hot code on its way to the thread that translates: each vCPU has a queue in its block, filled by the thread that runs
 * it and emptied by that other one, which sleeps on a word of the machine's header meanwhile. A place is described by
 * what does not change when the vCPU goes on.
 *
 *   entry:  u64 pc | u32 decoded entries of its page, u32 fetch bank | u32 epoch of decoded code, u32 why
 */
import { HOT_QUEUE, HOT_QUEUE_WORDS, headerLayout, type MachineMemory, PLAN, type VcpuState } from '../engine/index.ts';
import type { CodePlace } from './code-source.ts';

const EMULATED = 1n << 32n;
const QUEUED = 0;
const TAKEN = 1;
const BELL = (PLAN.header + headerLayout.offset.hotBell) / 4;

/** A place, and the generation of code that it belongs to. */
export interface HotCode extends CodePlace {
  readonly epoch: number;
  /** The pc was reached often; or the sensitive instruction there was emulated often. */
  readonly why: 'reached' | 'emulated';
}

export class HotQueue {
  readonly #state: VcpuState;

  constructor(state: VcpuState) {
    this.#state = state;
  }

  /** By the vCPU's thread. False: the queue is full, and the code stays interpreted until it is hot again. */
  put({ pc, decoded, bank, epoch, why }: Omit<HotCode, 'jumps'>): boolean {
    const { hotQueue, hotQueueEnds } = this.#state;
    const next = Atomics.load(hotQueueEnds, QUEUED);
    if ((next - Atomics.load(hotQueueEnds, TAKEN)) >>> 0 >= HOT_QUEUE) return false;
    const at = (next % HOT_QUEUE) * HOT_QUEUE_WORDS;
    hotQueue[at] = pc;
    hotQueue[at + 1] = BigInt(decoded) | (BigInt(bank) << 32n);
    hotQueue[at + 2] = BigInt(epoch) | (why === 'emulated' ? EMULATED : 0n);
    Atomics.store(hotQueueEnds, QUEUED, next + 1);
    return true;
  }

  /** By the thread that translates; undefined: nothing waits. */
  take(): HotCode | undefined {
    const { hotQueue, hotQueueEnds, jumps } = this.#state;
    const next = Atomics.load(hotQueueEnds, TAKEN);
    if (next === Atomics.load(hotQueueEnds, QUEUED)) return undefined;
    const at = (next % HOT_QUEUE) * HOT_QUEUE_WORDS;
    const [pc = 0n, place = 0n, age = 0n] = hotQueue.subarray(at, at + HOT_QUEUE_WORDS);
    Atomics.store(hotQueueEnds, TAKEN, next + 1);
    const decoded = Number(place & 0xffffffffn);
    const why = (age & EMULATED) === 0n ? 'reached' : 'emulated';
    return { pc, decoded, bank: Number(place >> 32n), jumps, epoch: Number(age & 0xffffffffn), why };
  }
}

/** Wakes the thread that translates. */
export function ringHotBell({ i32 }: MachineMemory): void {
  Atomics.add(i32, BELL, 1);
  Atomics.notify(i32, BELL);
}

/** What the bell says; with a number from before, `awaitHotBell` returns as soon as it says something else. */
export function hotBell({ i32 }: MachineMemory): number {
  return Atomics.load(i32, BELL);
}

/** Only on threads that may block. */
export function awaitHotBell({ i32 }: MachineMemory, heard: number, timeoutMs: number): void {
  Atomics.wait(i32, BELL, heard, timeoutMs);
}

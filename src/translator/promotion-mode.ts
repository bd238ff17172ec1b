/**
 * Mechanism 3's switch: which sensitive instructions are promoted. The machine is made with one of the modes, and it can be
 * changed while it runs: the word stands in shared memory, and who makes regions acts on it at its next look.
 */
import { headerLayout, type MachineMemory, PLAN } from '../engine/index.ts';
import { ringHotBell } from './hot-queue.ts';
import type { PromotionMode } from './options.ts';

/** By the header's word; 0 is none of them. */
const MODES: readonly (PromotionMode | undefined)[] = [undefined, 'off', 'auto', 'always'];
const WORD = (PLAN.header + headerLayout.offset.promotionMode) / 4;

/** `made`: what the machine was made with. */
export function promotionMode(memory: MachineMemory, made: PromotionMode): PromotionMode {
  return MODES[Atomics.load(memory.u32, WORD)] ?? made;
}

/** In force when this returns, for what is promoted from now on; what is promoted already goes soon after. */
export function setPromotionMode(memory: MachineMemory, mode: PromotionMode): void {
  Atomics.store(memory.u32, WORD, MODES.indexOf(mode));
  ringHotBell(memory);
}

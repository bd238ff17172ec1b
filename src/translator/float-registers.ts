/**
 * How a region keeps floating-point registers. One that only instructions of format S touch lives as an f32, with no NaN
 * box; all others as the 64 bits of an f64.
 *
 * Singles know whether they were written: a register that was not keeps in the vCPU what it held, boxed or not. Read
 * before that, an improper box is a NaN, as for every instruction of format S; but stores and moves take its low bits
 * as they are. Where those could come first (`raw`), the region is not entered with an improper box.
 */
import { type Instruction, isFloatState } from './instruction.ts';
import type { Block, RegionGraph } from './region-graph.ts';
import { successors } from './region-graph.ts';

export interface FloatUse {
  /** Bit masks by register. */
  readonly used: number;
  readonly written: number;
  readonly singles: number;
  /** Singles whose low bits may be taken as they are on entry. */
  readonly raw: number;
  /** Some instruction rounds by frm. */
  readonly isDynamic: boolean;
  /** Some instruction uses registers, or fflags or frm. */
  readonly isAny: boolean;
}

const LOW_BITS = new Set(['fsw', 'fmv.x.w']);

/** Registers that the instruction uses in formats other than S. */
function others({ row, floatReads, floatWrites }: Instruction): number {
  const [, to = '', from = ''] = /^fcvt\.(\w+)\.(\w+)$/.exec(row.name) ?? [];
  const mask = (registers: readonly number[]): number => registers.reduce((bits, i) => bits | (1 << i), 0);
  const writes = floatWrites === undefined ? [] : [floatWrites];
  if (to !== '') return mask(from === 's' ? [] : floatReads) | mask(to === 's' ? [] : writes);
  if (row.name.endsWith('.s') || row.name === 'flw' || row.name === 'fmv.w.x' || LOW_BITS.has(row.name)) return 0;
  return mask(floatReads) | mask(writes);
}

export function floatUse(graph: RegionGraph): FloatUse {
  let used = 0;
  let written = 0;
  let other = 0;
  let isDynamic = false;
  let isAny = false;
  for (const { instructions } of graph.blocks) {
    for (const { instruction } of instructions) {
      isAny ||= isFloatState(instruction);
      if (instruction.floatReads.length === 0 && instruction.floatWrites === undefined) continue;
      for (const register of instruction.floatReads) used |= 1 << register;
      if (instruction.floatWrites !== undefined) written |= 1 << instruction.floatWrites;
      other |= others(instruction);
      isDynamic ||= instruction.rm === 7 && / rm /.test(instruction.row.pattern);
    }
  }
  used |= written;
  const singles = used & ~other;
  isAny ||= used !== 0;
  return { used, written, singles, raw: singles === 0 ? 0 : rawOnEntry(graph, singles), isDynamic, isAny };
}

/** Liveness of low bits, backwards over the blocks until nothing changes. */
function rawOnEntry(graph: RegionGraph, singles: number): number {
  const reads = new Map<Block, number>();
  const writes = new Map<Block, number>();
  for (const block of graph.blocks) {
    let read = 0;
    let wrote = 0;
    for (const { instruction } of block.instructions) {
      if (LOW_BITS.has(instruction.row.name))
        for (const register of instruction.floatReads) read |= (1 << register) & ~wrote;
      if (instruction.floatWrites !== undefined) wrote |= 1 << instruction.floatWrites;
    }
    reads.set(block, read & singles);
    writes.set(block, wrote);
  }
  const live = new Map<Block, number>(reads);
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of graph.blocks) {
      let after = 0;
      for (const next of successors(block)) after |= live.get(next) ?? 0;
      const before = (reads.get(block) ?? 0) | (after & ~(writes.get(block) ?? 0));
      if (before !== live.get(block)) {
        live.set(block, before);
        changed = true;
      }
    }
  }
  return live.get(graph.entry) ?? 0;
}

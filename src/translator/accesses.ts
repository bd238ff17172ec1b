/**
 * Which loads and stores of a block share one check of their page slot (engine/memory-slots.ts): those through one
 * base register, of one kind, between two changes of that register. The first of them checks the span of all.
 */
import type { Placed } from './region-graph.ts';

export interface AccessGroup {
  readonly base: number;
  readonly isWrite: boolean;
  /** Offsets from the base register: first byte, and behind the last. */
  from: number;
  to: number;
  /** The instruction that checks, by its place in the block; how many there are. */
  readonly first: number;
  count: number;
}

/** More would miss at the ends of pages too often. */
const MOST_BYTES = 256;

/** Bytes that a load or store of the row kinds `load` and `store` accesses: funct3 says so, whatever is loaded. */
export function accessBytes(expanded: number): 1 | 2 | 4 | 8 {
  return (1 << ((expanded >>> 12) & 3)) as 1 | 2 | 4 | 8;
}

/** The group of each instruction that accesses memory at imm(rs1), by its place in the block. */
export function groupAccesses(instructions: readonly Placed[]): ReadonlyMap<number, AccessGroup> {
  const groups = new Map<number, AccessGroup>();
  const open = new Map<number, AccessGroup>();
  instructions.forEach(({ instruction, site }, index) => {
    const { row, rs1, imm, expanded, writes } = instruction;
    // An access that meets devices shares nothing.
    if (site === undefined && (row.kind === 'load' || row.kind === 'store')) {
      const isWrite = row.kind === 'store';
      const key = rs1 + (isWrite ? 32 : 0);
      const to = imm + accessBytes(expanded);
      let group = open.get(key);
      if (group === undefined || Math.max(group.to, to) - Math.min(group.from, imm) > MOST_BYTES) {
        group = { base: rs1, isWrite, from: imm, to, first: index, count: 0 };
        open.set(key, group);
      }
      group.from = Math.min(group.from, imm);
      group.to = Math.max(group.to, to);
      group.count++;
      groups.set(index, group);
    }
    if (writes !== undefined) {
      open.delete(writes);
      open.delete(writes + 32);
    }
  });
  return groups;
}

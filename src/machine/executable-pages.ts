/**
 * Page tables read the other way round: where code in guest-physical memory can be executed. Only leaves with X count.
 * Nothing is written. "Virtual Address Translation Process", without what does not matter here: rights of modes, A.
 */
import { FRAME_BYTES } from '../engine/index.ts';
import type { Board } from './board.ts';

const [V, R, X] = [1n, 2n, 8n];
const PPN = (1n << 44n) - 1n;
/** The mode of satp that has three levels of tables; each one above has one more. */
const SV39 = 8n;
/** Entries that are looked at: a guest's tables may be as large as they like, and lead back to themselves. */
const MOST_ENTRIES = 1 << 20;

/** Calls `visit` for each run of bytes that the tables under `satp` let somebody execute. */
export function eachExecutable(
  board: Board,
  satp: bigint,
  visit: (run: { readonly va: bigint; readonly gpa: number; readonly bytes: number }) => void,
): void {
  if (satp >> 60n === 0n) visit({ va: 0n, gpa: 0, bytes: board.map.pages * FRAME_BYTES });
  const levels = Number(satp >> 60n) - Number(SV39) + 3;
  if (levels < 3 || levels > 5) return;
  let left = MOST_ENTRIES;
  const walk = (table: bigint, level: number, base: bigint): void => {
    const seen = board.map.look(Number(table));
    if (seen.kind === 'nothing' || seen.host === 0) return;
    for (let i = 0; i < 512 && left > 0; i++) {
      left--;
      const entry = board.memory.u64[seen.host / 8 + i] ?? 0n;
      if ((entry & V) === 0n) continue;
      const va = base | (BigInt(i) << BigInt(12 + 9 * level));
      const page = (entry >> 10n) & PPN;
      if ((entry & (R | X)) === 0n) {
        if (level > 0) walk(page, level - 1, va);
      } else if ((entry & X) !== 0n) {
        const sizeBits = 12 + 9 * levels;
        const canonical = BigInt.asUintN(64, BigInt.asIntN(sizeBits, va));
        visit({ va: canonical, gpa: Number(page) * FRAME_BYTES, bytes: FRAME_BYTES * 512 ** level });
      }
    }
  };
  walk(satp & PPN, levels - 1, 0n);
}

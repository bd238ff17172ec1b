/**
 * Page tables read the other way round: where code in guest-physical memory can be executed, by the guest or (through both
 * stages) by its guest. Only leaves with X count. Nothing is written. "Virtual Address Translation Process", without what
 * does not matter here: rights of modes, A.
 */
import { FRAME_BYTES } from '../engine/index.ts';
import type { Board } from './board.ts';

const [V, R, X] = [1n, 2n, 8n];
const PPN = (1n << 44n) - 1n;
/** The mode of satp that has three levels of tables; each one above has one more. */
const SV39 = 8n;
/** Entries and pages that are looked at: a guest's tables may be as large as they like, and lead back to themselves. */
const MOST_ENTRIES = 1 << 20;
/** Tables of which hgatp's root consists. */
const GUEST_ROOT_PAGES = 4;

/** Of bytes that somebody may execute, at `va`. */
export interface ExecutableRun {
  readonly va: bigint;
  readonly gpa: number;
  readonly bytes: number;
}
type Visit = (run: ExecutableRun) => void;
/** Where a page is in the machine's guest-physical memory, if anywhere; by number. */
type Locate = (page: bigint) => number | undefined;

/** Calls `visit` for each run of bytes that the tables under `satp` let somebody execute. */
export function eachExecutable(board: Board, satp: bigint, visit: Visit): void {
  if (satp >> 60n === 0n) visit({ va: 0n, gpa: 0, bytes: board.map.pages * FRAME_BYTES });
  else new Walk(board, Number).each(satp, 1, visit);
}

/** The same for a guest of the guest. */
export function eachExecutableOfGuest(
  board: Board,
  { vsatp, hgatp }: { readonly vsatp: bigint; readonly hgatp: bigint },
  visit: Visit,
): void {
  const stage = new Map<number, number>();
  const second = new Walk(board, Number);
  second.each(hgatp, GUEST_ROOT_PAGES, ({ va, gpa, bytes }) => {
    const end = Math.min(bytes, board.map.pages * FRAME_BYTES - gpa);
    for (let at = 0; at < end && second.hasMore(); at += FRAME_BYTES)
      stage.set(Number((va + BigInt(at)) / BigInt(FRAME_BYTES)), (gpa + at) / FRAME_BYTES);
  });
  if (vsatp >> 60n === 0n) {
    for (const [page, found] of stage)
      visit({ va: BigInt(page) * BigInt(FRAME_BYTES), gpa: found * FRAME_BYTES, bytes: FRAME_BYTES });
    return;
  }
  const first = new Walk(board, (page) => stage.get(Number(page)));
  first.each(vsatp, 1, ({ va, gpa, bytes }) => {
    // Small pages of the second stage behind a large one of the guest.
    for (let at = 0; at < bytes && first.hasMore(); at += FRAME_BYTES) {
      const found = stage.get((gpa + at) / FRAME_BYTES);
      if (found !== undefined) visit({ va: va + BigInt(at), gpa: found * FRAME_BYTES, bytes: FRAME_BYTES });
    }
  });
}

class Walk {
  readonly #board: Board;
  readonly #locate: Locate;
  #left = MOST_ENTRIES;

  /** `locate`: of the tables. */
  constructor(board: Board, locate: Locate) {
    this.#board = board;
    this.#locate = locate;
  }

  /** One more entry or page may be looked at. */
  hasMore(): boolean {
    return this.#left-- > 0;
  }

  /** Leaves with X below a root of so many pages, whose addresses are sign-extended if it is one. */
  each(root: bigint, rootPages: number, visit: Visit): void {
    const levels = Number(root >> 60n) - Number(SV39) + 3;
    if (levels < 3 || levels > 5) return;
    const sizeBits = 12 + 9 * levels;
    const extend = (va: bigint): bigint => (rootPages === 1 ? BigInt.asUintN(64, BigInt.asIntN(sizeBits, va)) : va);
    for (let i = 0; i < rootPages; i++)
      this.#table((root & PPN) + BigInt(i), levels - 1, BigInt(i) << BigInt(sizeBits), (run) =>
        visit({ ...run, va: extend(run.va) }),
      );
  }

  #table(page: bigint, level: number, base: bigint, visit: Visit): void {
    const located = this.#locate(page);
    const seen = located === undefined ? undefined : this.#board.map.look(located);
    if (seen === undefined || seen.kind === 'nothing' || seen.host === 0) return;
    for (let i = 0; i < 512 && this.hasMore(); i++) {
      const entry = this.#board.memory.u64[seen.host / 8 + i] ?? 0n;
      if ((entry & V) === 0n) continue;
      const va = base | (BigInt(i) << BigInt(12 + 9 * level));
      const next = (entry >> 10n) & PPN;
      if ((entry & (R | X)) === 0n) {
        if (level > 0) this.#table(next, level - 1, va, visit);
      } else if ((entry & X) !== 0n) visit({ va, gpa: Number(next) * FRAME_BYTES, bytes: FRAME_BYTES * 512 ** level });
    }
  }
}

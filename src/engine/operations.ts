/**
 * Numbers the interpreter's operations. A row of the instruction table becomes one operation for each length that
 * its instructions come in (4 bytes; 2 where a compressed row expands to it), and branches and direct jumps two:
 * the general one, and one for targets in the same page ("near"). An operation's number is its case in the dispatch.
 */
import { assert } from '../base/assert.ts';
import type { Row } from '../isa/index.ts';

/** Operations that no row stands behind. */
export const SPECIAL = {
  undecoded: 0,
  pageEnd: 1,
  straddle: 2,
  illegal: 3,
  breakpoint: 4,
  region: 5,
  overlay: 6,
} as const;
/** What the immediate of SPECIAL.overlay means: leave a dropped overlay, a policy traps this, else a record's address. */
export const OVERLAY_ENTRY = { leave: 0, trapped: 1 } as const;
/** Numbers below are special. */
export const FIRST_OPERATION = 8;

export interface Operation {
  readonly number: number;
  readonly row: Row;
  readonly bytes: 2 | 4;
  readonly isNear: boolean;
}

export class Operations {
  /** Those with a place in the loop stand first. */
  readonly all: readonly Operation[];
  readonly inline: number;
  readonly #byRow = new Map<string, number>();
  readonly #emulated: ReadonlySet<Row>;

  /**
   * `compressedTargets`: names of the rows to which compressed instructions expand. `emulated`: those of the rows that
   * the hart is without.
   */
  constructor(
    rows: readonly Row[],
    compressedTargets: ReadonlySet<string>,
    emulated: ReadonlySet<Row> = new Set<Row>(),
  ) {
    this.#emulated = emulated;
    const all: Operation[] = [];
    const ordered = [...rows.filter((row) => isInline(row)), ...rows.filter((row) => !isInline(row))];
    for (const row of ordered) {
      for (const bytes of [4, 2] as const) {
        if (bytes === 2 && !compressedTargets.has(row.name)) continue;
        this.#byRow.set(`${row.name}/${bytes}`, FIRST_OPERATION + all.length);
        all.push({ number: FIRST_OPERATION + all.length, row, bytes, isNear: false });
        if (hasNear(row)) all.push({ number: FIRST_OPERATION + all.length, row, bytes, isNear: true });
      }
    }
    assert(FIRST_OPERATION + all.length <= 1024, 'an entry has ten bits for the operation');
    this.all = all;
    this.inline = all.filter(({ row }) => isInline(row)).length;
  }

  /** The hart is without this row: only substitutes lead to its operations, which count themselves. */
  isEmulated(row: Row): boolean {
    return this.#emulated.has(row);
  }

  /** Number of the row's operation; for rows that have a near one, that is the next number. */
  numberOf(name: string, bytes: 2 | 4): number {
    const number = this.#byRow.get(`${name}/${bytes}`);
    assert(number !== undefined, `${name} does not come in ${bytes} bytes`);
    return number;
  }
}

/** Conditional branches and jal: pc-relative, so that near targets can be resolved when decoding. */
export function hasNear(row: Row): boolean {
  return row.kind === 'branch' || row.name === 'jal';
}

/** Rows whose handlers are worth a place in the loop: integer, control flow, memory. */
export function isInline(row: Row): boolean {
  return (
    row.kind === 'alu' ||
    row.kind === 'branch' ||
    row.kind === 'jump' ||
    row.kind === 'load' ||
    row.kind === 'store' ||
    row.kind === 'hint'
  );
}

/**
 * A decoded entry, eight bytes:
 *
 *   63            32 31   26 25 21 20 16 15   10 9       0
 *   |  immediate    |  rm   | rs2 | rs1 |  rd   |   op    |
 *
 * The immediate is the CSR's number, rs3 or the offset where a row has those; a near target is in bytes of entries.
 * rd is 32 where x0 is written, so that the write goes nowhere. rs1 holds zimm where the row has it.
 */
export const ENTRY = { rd: 10, rs1: 16, rs2: 21, rm: 26, immediate: 32 } as const;

/** For machines that run semantics which no instruction stands behind: traps, CSRs. */
export const NO_ROW: Row = {
  name: 'none',
  pattern: '',
  assembly: '',
  extension: 'i',
  kind: 'system',
  summary: '',
  semantics: () => undefined,
};

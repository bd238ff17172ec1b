/**
 * Device registers as rows of a table, and the one dispatcher that turns a bus access into a row's handler.
 * Trace names, the register tables of docs/machine.md and the reset tests derive from the same rows.
 *
 * An access belongs to the first row that starts at its offset, accepts its width, has a handler for its direction
 * and whose `when` holds. So write-only and read-only registers can share an offset, and banks (a 16550's divisor
 * latch) are rows with conditions. Everything else is unassigned: it reads as zero, swallows writes and is counted,
 * never logged, because a guest can do it a hundred million times a second.
 */
import { assert } from '../base/assert.ts';
import type { AccessBytes } from './device.ts';

/** One register, or `array.count` equal ones; handlers get the element's index (0 for a single register). */
export interface Register<D> {
  /** Byte offset in the device's window. */
  readonly at: number;
  /** The register's own width. */
  readonly bytes: AccessBytes;
  /** Further access widths that reach it; wider ones carry it in their low bits, narrower ones are zero-extended. */
  readonly alsoAs?: readonly AccessBytes[];
  /** As the device's manual spells it. */
  readonly name: string;
  readonly array?: { readonly count: number; readonly strideBytes: number };
  /** The bank condition in words, for the docs, and as code. */
  readonly when?: { readonly says: string; holds(device: D): boolean };
  /** Unsigned, fits `bytes`. */
  read?(device: D, index: number): number;
  /** `value` is unsigned and cut to `bytes`. */
  write?(device: D, value: number, index: number): void;
  /** What a read shows after reset; absent where nothing can be read or the surroundings decide. */
  readonly reset?: number;
  /** One clause for the docs. */
  readonly does: string;
}

/** The counters that every register model keeps: spread into its layout. */
export const accessCounters = { unassignedReads: 'u32', unassignedWrites: 'u32' } as const;

/** What the dispatcher needs of a device. */
export interface RegisterModel {
  readonly state: { unassignedReads: number; unassignedWrites: number };
}

interface Hit<D> {
  readonly row: Register<D>;
  readonly index: number;
}

/** The rows of one kind of device. Holds no state: it is shared by every instance on every thread. */
export class RegisterTable<D extends RegisterModel> {
  readonly rows: readonly Register<D>[];

  constructor(rows: readonly Register<D>[]) {
    for (const row of rows) {
      assert(row.at % row.bytes === 0, `register ${row.name} is misaligned`);
      assert(row.read !== undefined || row.write !== undefined, `register ${row.name} has no handler`);
      assert(row.array === undefined || row.array.strideBytes >= row.bytes, `register ${row.name} overlaps itself`);
    }
    this.rows = rows;
  }

  read(device: D, offset: number, bytes: AccessBytes): number {
    const hit = this.#find(device, offset, bytes, 'read');
    if (hit?.row.read !== undefined) return cut(hit.row.read(device, hit.index), hit.row.bytes);
    device.state.unassignedReads++;
    return 0;
  }

  write(device: D, offset: number, bytes: AccessBytes, value: number): void {
    const hit = this.#find(device, offset, bytes, 'write');
    if (hit?.row.write !== undefined) hit.row.write(device, cut(value, hit.row.bytes), hit.index);
    else device.state.unassignedWrites++;
  }

  /** The name of the register that such an access reaches now, for traces: `ENABLE[3]`; undefined if unassigned. */
  nameOf(device: D, offset: number, bytes: AccessBytes, direction: 'read' | 'write'): string | undefined {
    const hit = this.#find(device, offset, bytes, direction);
    if (hit === undefined) return undefined;
    return hit.row.array === undefined ? hit.row.name : `${hit.row.name}[${hit.index}]`;
  }

  #find(device: D, offset: number, bytes: AccessBytes, direction: 'read' | 'write'): Hit<D> | undefined {
    for (const row of this.rows) {
      if (row[direction] === undefined) continue;
      if (row.bytes !== bytes && row.alsoAs?.includes(bytes) !== true) continue;
      const index = indexOf(row, offset);
      if (index === undefined) continue;
      if (row.when === undefined || row.when.holds(device)) return { row, index };
    }
    return undefined;
  }
}

function indexOf<D>(row: Register<D>, offset: number): number | undefined {
  const beyond = offset - row.at;
  if (row.array === undefined) return beyond === 0 ? 0 : undefined;
  if (beyond < 0 || beyond % row.array.strideBytes !== 0) return undefined;
  const index = beyond / row.array.strideBytes;
  return index < row.array.count ? index : undefined;
}

function cut(value: number, bytes: AccessBytes): number {
  return bytes === 4 ? value >>> 0 : value & (bytes === 2 ? 0xffff : 0xff);
}

/** The rows as a Markdown table: how docs/machine.md gets its register tables. */
export function registersAsMarkdown<D extends RegisterModel>(table: RegisterTable<D>): string {
  const lines = ['| offset | bytes | register | access | reset | what it does |', '|---|---|---|---|---|---|'];
  for (const row of table.rows) {
    const { array } = row;
    const at = array === undefined ? hex(row.at) : `${hex(row.at)} + ${hex(array.strideBytes)} x n`;
    const access = `${row.read === undefined ? '' : 'r'}${row.write === undefined ? '' : 'w'}`;
    const reset = row.reset === undefined ? '' : hex(row.reset);
    const does = row.when === undefined ? row.does : `${row.does} (${row.when.says})`;
    lines.push(`| ${at} | ${row.bytes} | ${row.name} | ${access} | ${reset} | ${does} |`);
  }
  return lines.join('\n');
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

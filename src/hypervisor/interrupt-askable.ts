/**
 * Whom a plain wire may have spoken for: it tells of lines that changed and that there was a message, not whose. Behind one,
 * the VMM polls all of them; with a relay they are only counted.
 */
import { lowestBit } from '../base/words.ts';
import { type InterruptTable, PINS } from './interrupt-table.ts';

/** Of what a wire tells, the bit for messages; below are the lines. */
const WIRE_MESSAGE = 1 << PINS;

/** Assigned functions of a port's rows: those on the lines, or all where there was a message. */
export function eachAskable(
  table: InterruptTable,
  { first, count }: { readonly first: number; readonly count: number },
  wire: number,
  ask: (row: number) => void,
): void {
  for (let start = first; start < first + count; start += 32) {
    for (let bits = table.assigned(start >> 5); bits !== 0; bits &= bits - 1) {
      const row = start + lowestBit(bits);
      if (wire >= WIRE_MESSAGE || isOnLine(table, row, wire)) ask(row);
    }
  }
}

/** How many those are. */
export function countAskable(
  table: InterruptTable,
  rows: { readonly first: number; readonly count: number },
  wire: number,
): number {
  let count = 0;
  if (wire < WIRE_MESSAGE) eachAskable(table, rows, wire, () => count++);
  else
    for (let start = rows.first; start < rows.first + rows.count; start += 32)
      for (let bits = table.assigned(start >> 5); bits !== 0; bits &= bits - 1) count++;
  return count;
}

function isOnLine(table: InterruptTable, row: number, wire: number): boolean {
  for (let pin = 0; pin < PINS; pin++) if ((wire & (1 << pin)) !== 0 && table.source(row, pin) !== 0) return true;
  return false;
}

/**
 * A: load-reserved, store-conditional and atomic memory operations. Unprivileged specification, chapter 13. aq and rl
 * are honoured by making every atomic sequentially consistent.
 */
import type { AmoOperation } from '../machine.ts';
import { type Row, row } from '../row.ts';

// biome-ignore format: table
export const ATOMIC: readonly Row[] = [
  row('lr.w', '00010 aq rl 00000 rs1 010 rd 0101111', 'lr.w rd, (rs1)', 'a', 'amo', 'Loads a word and reserves it.', (m) => m.rd(m.loadReserved(m.rs1(), 4))),
  row('lr.d', '00010 aq rl 00000 rs1 011 rd 0101111', 'lr.d rd, (rs1)', 'a', 'amo', 'Loads a doubleword and reserves it.', (m) => m.rd(m.loadReserved(m.rs1(), 8))),
  row('sc.w', '00011 aq rl rs2 rs1 010 rd 0101111', 'sc.w rd, rs2, (rs1)', 'a', 'amo', 'Stores a word if the reservation holds.', (m) => m.rd(m.storeConditional(m.rs1(), 4, m.rs2()))),
  row('sc.d', '00011 aq rl rs2 rs1 011 rd 0101111', 'sc.d rd, rs2, (rs1)', 'a', 'amo', 'Stores a doubleword if the reservation holds.', (m) => m.rd(m.storeConditional(m.rs1(), 8, m.rs2()))),
  ...amo('swap', '00001', 'swaps it with rs2'),
  ...amo('add', '00000', 'adds rs2 to it'),
  ...amo('xor', '00100', 'makes it the exclusive or with rs2'),
  ...amo('and', '01100', 'makes it the and with rs2'),
  ...amo('or', '01000', 'makes it the or with rs2'),
  ...amo('min', '10000', 'makes it the lesser of it and rs2, signed'),
  ...amo('max', '10100', 'makes it the greater of it and rs2, signed'),
  ...amo('minu', '11000', 'makes it the lesser of it and rs2, unsigned'),
  ...amo('maxu', '11100', 'makes it the greater of it and rs2, unsigned'),
];

function amo(operation: AmoOperation, code: string, does: string): readonly Row[] {
  const name = `amo${operation}`;
  // biome-ignore format: table
  return [
    row(`${name}.w`, `${code} aq rl rs2 rs1 010 rd 0101111`, `${name}.w rd, rs2, (rs1)`, 'a', 'amo', `Loads a word and ${does}.`, (m) => m.rd(m.amo(operation, m.rs1(), 4, m.rs2()))),
    row(`${name}.d`, `${code} aq rl rs2 rs1 011 rd 0101111`, `${name}.d rd, rs2, (rs1)`, 'a', 'amo', `Loads a doubleword and ${does}.`, (m) => m.rd(m.amo(operation, m.rs1(), 8, m.rs2()))),
  ];
}

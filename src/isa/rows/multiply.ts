/** M: multiplication and division. Unprivileged specification, chapter 12. Word forms reduce to the 64-bit operations. */
import { type Row, row } from '../row.ts';

// biome-ignore format: table
export const MULTIPLY: readonly Row[] = [
  row('mul',    '0000001 rs2 rs1 000 rd 0110011', 'mul rd, rs1, rs2', 'm', 'alu', 'Low half of the product.', (m) => m.rd(m.mul(m.rs1(), m.rs2()))),
  row('mulh',   '0000001 rs2 rs1 001 rd 0110011', 'mulh rd, rs1, rs2', 'm', 'alu', 'High half of the product, both signed.', (m) => m.rd(m.mulh(m.rs1(), m.rs2()))),
  row('mulhsu', '0000001 rs2 rs1 010 rd 0110011', 'mulhsu rd, rs1, rs2', 'm', 'alu', 'High half of the product, rs1 signed, rs2 unsigned.', (m) => m.rd(m.mulhsu(m.rs1(), m.rs2()))),
  row('mulhu',  '0000001 rs2 rs1 011 rd 0110011', 'mulhu rd, rs1, rs2', 'm', 'alu', 'High half of the product, both unsigned.', (m) => m.rd(m.mulhu(m.rs1(), m.rs2()))),
  row('div',    '0000001 rs2 rs1 100 rd 0110011', 'div rd, rs1, rs2', 'm', 'alu', 'Quotient, signed, towards zero; -1 by zero.', (m) => m.rd(m.div(m.rs1(), m.rs2()))),
  row('divu',   '0000001 rs2 rs1 101 rd 0110011', 'divu rd, rs1, rs2', 'm', 'alu', 'Quotient, unsigned; all ones by zero.', (m) => m.rd(m.divu(m.rs1(), m.rs2()))),
  row('rem',    '0000001 rs2 rs1 110 rd 0110011', 'rem rd, rs1, rs2', 'm', 'alu', 'Remainder with the sign of rs1; rs1 by zero.', (m) => m.rd(m.rem(m.rs1(), m.rs2()))),
  row('remu',   '0000001 rs2 rs1 111 rd 0110011', 'remu rd, rs1, rs2', 'm', 'alu', 'Remainder, unsigned; rs1 by zero.', (m) => m.rd(m.remu(m.rs1(), m.rs2()))),
  row('mulw',   '0000001 rs2 rs1 000 rd 0111011', 'mulw rd, rs1, rs2', 'm', 'alu', 'Product of words.', (m) => m.rd(m.sext32(m.mul(m.rs1(), m.rs2())))),
  row('divw',   '0000001 rs2 rs1 100 rd 0111011', 'divw rd, rs1, rs2', 'm', 'alu', 'Quotient of words, signed.', (m) => m.rd(m.sext32(m.div(m.sext32(m.rs1()), m.sext32(m.rs2()))))),
  row('divuw',  '0000001 rs2 rs1 101 rd 0111011', 'divuw rd, rs1, rs2', 'm', 'alu', 'Quotient of words, unsigned.', (m) => m.rd(m.sext32(m.divu(m.zext32(m.rs1()), m.zext32(m.rs2()))))),
  row('remw',   '0000001 rs2 rs1 110 rd 0111011', 'remw rd, rs1, rs2', 'm', 'alu', 'Remainder of words, signed.', (m) => m.rd(m.sext32(m.rem(m.sext32(m.rs1()), m.sext32(m.rs2()))))),
  row('remuw',  '0000001 rs2 rs1 111 rd 0111011', 'remuw rd, rs1, rs2', 'm', 'alu', 'Remainder of words, unsigned.', (m) => m.rd(m.sext32(m.remu(m.zext32(m.rs1()), m.zext32(m.rs2()))))),
];

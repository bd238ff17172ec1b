/**
 * C for RV64 (with C's D part), Zcb and Zcmop: instructions of 16 bits, each short for one of 32. Unprivileged
 * specification, chapters 26 and 27, and 7.3 (Zcmop). HINT encodings expand to instructions that write x0, and so do
 * nothing; reserved ones are excepted, and trap. The order is that of the quadrants in the manual's listing.
 */
import { type CompressedRow, compressed } from '../row.ts';

// biome-ignore format: table
export const COMPRESSED: readonly CompressedRow[] = [
  // Quadrant 0
  compressed('c.addi4spn', "000 uimm[5:4|9:6|2|3] rd' 00", 'c.addi4spn rd, sp, uimm', 'c', 'addi rd, sp, uimm', 'Address of a stack slot.', ['uimm=0']),
  compressed('c.fld',      "001 uimm[5:3] rs1' uimm[7:6] rd' 00", 'c.fld frd, uimm(rs1)', 'c+d', 'fld frd, uimm(rs1)', 'Loads a double.'),
  compressed('c.lw',       "010 uimm[5:3] rs1' uimm[2|6] rd' 00", 'c.lw rd, uimm(rs1)', 'c', 'lw rd, uimm(rs1)', 'Loads a word.'),
  compressed('c.ld',       "011 uimm[5:3] rs1' uimm[7:6] rd' 00", 'c.ld rd, uimm(rs1)', 'c', 'ld rd, uimm(rs1)', 'Loads a doubleword.'),
  compressed('c.lbu',      "100 000 rs1' uimm[0|1] rd' 00", 'c.lbu rd, uimm(rs1)', 'zcb', 'lbu rd, uimm(rs1)', 'Loads an unsigned byte.'),
  compressed('c.lhu',      "100 001 rs1' 0 uimm[1] rd' 00", 'c.lhu rd, uimm(rs1)', 'zcb', 'lhu rd, uimm(rs1)', 'Loads an unsigned halfword.'),
  compressed('c.lh',       "100 001 rs1' 1 uimm[1] rd' 00", 'c.lh rd, uimm(rs1)', 'zcb', 'lh rd, uimm(rs1)', 'Loads a halfword.'),
  compressed('c.sb',       "100 010 rs1' uimm[0|1] rs2' 00", 'c.sb rs2, uimm(rs1)', 'zcb', 'sb rs2, uimm(rs1)', 'Stores a byte.'),
  compressed('c.sh',       "100 011 rs1' 0 uimm[1] rs2' 00", 'c.sh rs2, uimm(rs1)', 'zcb', 'sh rs2, uimm(rs1)', 'Stores a halfword.'),
  compressed('c.fsd',      "101 uimm[5:3] rs1' uimm[7:6] rs2' 00", 'c.fsd frs2, uimm(rs1)', 'c+d', 'fsd frs2, uimm(rs1)', 'Stores a double.'),
  compressed('c.sw',       "110 uimm[5:3] rs1' uimm[2|6] rs2' 00", 'c.sw rs2, uimm(rs1)', 'c', 'sw rs2, uimm(rs1)', 'Stores a word.'),
  compressed('c.sd',       "111 uimm[5:3] rs1' uimm[7:6] rs2' 00", 'c.sd rs2, uimm(rs1)', 'c', 'sd rs2, uimm(rs1)', 'Stores a doubleword.'),

  // Quadrant 1
  compressed('c.nop',      '000 imm[5] 00000 imm[4:0] 01', 'c.nop imm?', 'c', 'addi zero, zero, imm', 'Nothing.'),
  compressed('c.addi',     '000 imm[5] rd imm[4:0] 01', 'c.addi rd, imm', 'c', 'addi rd, rd, imm', 'Adds the immediate.', ['rd=0']),
  compressed('c.addiw',    '001 imm[5] rd imm[4:0] 01', 'c.addiw rd, imm', 'c', 'addiw rd, rd, imm', 'Adds the immediate to a word.', ['rd=0']),
  compressed('c.li',       '010 imm[5] rd imm[4:0] 01', 'c.li rd, imm', 'c', 'addi rd, zero, imm', 'Loads the immediate.'),
  compressed('c.addi16sp', '011 imm[9] 00010 imm[4|6|8:7|5] 01', 'c.addi16sp sp, imm', 'c', 'addi sp, sp, imm', 'Moves the stack pointer.', ['imm=0']),
  compressed('c.lui',      '011 imm[17] rd imm[16:12] 01', 'c.lui rd, imm', 'c', 'lui rd, imm', 'Loads the upper immediate.', ['imm=0', 'rd=2']),
  ...[1, 3, 5, 7, 9, 11, 13, 15].map((n) =>
    compressed(`c.mop.${n}`, `011 00 ${(n >> 1).toString(2).padStart(3, '0')} 1 00000 01`, `c.mop.${n}`, 'zcmop', 'addi zero, zero, 0', 'May be an operation: does nothing.')),
  compressed('c.srli',     "100 uimm[5] 00 rd' uimm[4:0] 01", 'c.srli rd, uimm', 'c', 'srli rd, rd, uimm', 'Shifts right.'),
  compressed('c.srai',     "100 uimm[5] 01 rd' uimm[4:0] 01", 'c.srai rd, uimm', 'c', 'srai rd, rd, uimm', 'Shifts right, keeping the sign.'),
  compressed('c.andi',     "100 imm[5] 10 rd' imm[4:0] 01", 'c.andi rd, imm', 'c', 'andi rd, rd, imm', 'And with the immediate.'),
  compressed('c.sub',      "100 0 11 rd' 00 rs2' 01", 'c.sub rd, rs2', 'c', 'sub rd, rd, rs2', 'Subtracts.'),
  compressed('c.xor',      "100 0 11 rd' 01 rs2' 01", 'c.xor rd, rs2', 'c', 'xor rd, rd, rs2', 'Exclusive or.'),
  compressed('c.or',       "100 0 11 rd' 10 rs2' 01", 'c.or rd, rs2', 'c', 'or rd, rd, rs2', 'Or.'),
  compressed('c.and',      "100 0 11 rd' 11 rs2' 01", 'c.and rd, rs2', 'c', 'and rd, rd, rs2', 'And.'),
  compressed('c.subw',     "100 1 11 rd' 00 rs2' 01", 'c.subw rd, rs2', 'c', 'subw rd, rd, rs2', 'Subtracts words.'),
  compressed('c.addw',     "100 1 11 rd' 01 rs2' 01", 'c.addw rd, rs2', 'c', 'addw rd, rd, rs2', 'Adds words.'),
  compressed('c.mul',      "100 1 11 rd' 10 rs2' 01", 'c.mul rd, rs2', 'zcb+m', 'mul rd, rd, rs2', 'Multiplies.'),
  compressed('c.zext.b',   "100 1 11 rd' 11 000 01", 'c.zext.b rd', 'zcb', 'andi rd, rd, 255', 'Zero-extends the byte.'),
  compressed('c.sext.b',   "100 1 11 rd' 11 001 01", 'c.sext.b rd', 'zcb+zbb', 'sext.b rd, rd', 'Sign-extends the byte.'),
  compressed('c.zext.h',   "100 1 11 rd' 11 010 01", 'c.zext.h rd', 'zcb+zbb', 'zext.h rd, rd', 'Zero-extends the halfword.'),
  compressed('c.sext.h',   "100 1 11 rd' 11 011 01", 'c.sext.h rd', 'zcb+zbb', 'sext.h rd, rd', 'Sign-extends the halfword.'),
  compressed('c.zext.w',   "100 1 11 rd' 11 100 01", 'c.zext.w rd', 'zcb+zba', 'add.uw rd, rd, zero', 'Zero-extends the word.'),
  compressed('c.not',      "100 1 11 rd' 11 101 01", 'c.not rd', 'zcb', 'xori rd, rd, -1', 'Inverts.'),
  compressed('c.j',        '101 imm[11|4|9:8|10|6|7|3:1|5] 01', 'c.j imm', 'c', 'jal zero, imm', 'Jumps.'),
  compressed('c.beqz',     "110 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", 'c.beqz rs1, imm', 'c', 'beq rs1, zero, imm', 'Branches if zero.'),
  compressed('c.bnez',     "111 imm[8|4:3] rs1' imm[7:6|2:1|5] 01", 'c.bnez rs1, imm', 'c', 'bne rs1, zero, imm', 'Branches if not zero.'),

  // Quadrant 2
  compressed('c.slli',     '000 uimm[5] rd uimm[4:0] 10', 'c.slli rd, uimm', 'c', 'slli rd, rd, uimm', 'Shifts left.'),
  compressed('c.fldsp',    '001 uimm[5] rd uimm[4:3|8:6] 10', 'c.fldsp frd, uimm(sp)', 'c+d', 'fld frd, uimm(sp)', 'Loads a double from the stack.'),
  compressed('c.lwsp',     '010 uimm[5] rd uimm[4:2|7:6] 10', 'c.lwsp rd, uimm(sp)', 'c', 'lw rd, uimm(sp)', 'Loads a word from the stack.', ['rd=0']),
  compressed('c.ldsp',     '011 uimm[5] rd uimm[4:3|8:6] 10', 'c.ldsp rd, uimm(sp)', 'c', 'ld rd, uimm(sp)', 'Loads a doubleword from the stack.', ['rd=0']),
  compressed('c.jr',       '100 0 rs1 00000 10', 'c.jr rs1', 'c', 'jalr zero, 0(rs1)', 'Jumps to rs1.', ['rs1=0']),
  compressed('c.mv',       '100 0 rd rs2 10', 'c.mv rd, rs2', 'c', 'add rd, zero, rs2', 'Copies.', ['rs2=0']),
  compressed('c.ebreak',   '100 1 00000 00000 10', 'c.ebreak', 'c', 'ebreak', 'Breakpoint.'),
  compressed('c.jalr',     '100 1 rs1 00000 10', 'c.jalr rs1', 'c', 'jalr ra, 0(rs1)', 'Jumps to rs1 and links.', ['rs1=0']),
  compressed('c.add',      '100 1 rd rs2 10', 'c.add rd, rs2', 'c', 'add rd, rd, rs2', 'Adds.', ['rs2=0']),
  compressed('c.fsdsp',    '101 uimm[5:3|8:6] rs2 10', 'c.fsdsp frs2, uimm(sp)', 'c+d', 'fsd frs2, uimm(sp)', 'Stores a double on the stack.'),
  compressed('c.swsp',     '110 uimm[5:2|7:6] rs2 10', 'c.swsp rs2, uimm(sp)', 'c', 'sw rs2, uimm(sp)', 'Stores a word on the stack.'),
  compressed('c.sdsp',     '111 uimm[5:3|8:6] rs2 10', 'c.sdsp rs2, uimm(sp)', 'c', 'sd rs2, uimm(sp)', 'Stores a doubleword on the stack.'),
];

/** RV64I: the base integer instructions. Unprivileged specification, chapters 2 and 4. */
import { type Row, row } from '../row.ts';

// biome-ignore format: table
export const INTEGER: readonly Row[] = [
  row('lui',   'imm[31:12] rd 0110111', 'lui rd, imm', 'i', 'alu', 'Loads the upper immediate.', m => m.rd(m.imm())),
  row('auipc', 'imm[31:12] rd 0010111', 'auipc rd, imm', 'i', 'alu', 'Adds the upper immediate to pc.', m => m.rd(m.add(m.pc(), m.imm()))),
  row('jal',   'imm[20|10:1|11|19:12] rd 1101111', 'jal rd, imm', 'i', 'jump', 'Jumps and links.', m => { m.rd(m.next()); m.jump(); }),
  row('jalr',  'imm[11:0] rs1 000 rd 1100111', 'jalr rd, imm(rs1)', 'i', 'jump', 'Jumps to rs1 + imm and links.', m => {
    const target = m.and(m.add(m.rs1(), m.imm()), m.const(-2));
    m.rd(m.next());
    m.jumpTo(target);
  }),
  row('beq',   'imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011', 'beq rs1, rs2, imm', 'i', 'branch', 'Branches if equal.', m => m.branch(m.eq(m.rs1(), m.rs2()))),
  row('lw',    'imm[11:0] rs1 010 rd 0000011', 'lw rd, imm(rs1)', 'i', 'load', 'Loads a word, sign-extended.', m => m.rd(m.load(m.add(m.rs1(), m.imm()), 4, true))),
  row('sw',    'imm[11:5] rs2 rs1 010 imm[4:0] 0100011', 'sw rs2, imm(rs1)', 'i', 'store', 'Stores a word.', m => m.store(m.add(m.rs1(), m.imm()), 4, m.rs2())),
  row('addi',  'imm[11:0] rs1 000 rd 0010011', 'addi rd, rs1, imm', 'i', 'alu', 'Adds the immediate.', m => m.rd(m.add(m.rs1(), m.imm()))),
  row('slli',  '000000 uimm[5:0] rs1 001 rd 0010011', 'slli rd, rs1, uimm', 'i', 'alu', 'Shifts left by the immediate.', m => m.rd(m.sll(m.rs1(), m.imm()))),
];

/**
 * RV64I: the base integer instructions, and FENCE.I (Zifencei). Unprivileged specification, chapters 2, 4 and 3.
 * ECALL and EBREAK are in privileged/. Reserved fences (fm, rs1, rd) are done as the strongest fence.
 */
import type { AccessSize, Machine } from '../machine.ts';
import { type Row, row } from '../row.ts';

const address = <V, C>(m: Machine<V, C>): V => m.add(m.rs1(), m.imm());
const five = <V, C>(m: Machine<V, C>): V => m.and(m.rs2(), m.const(31));
const load = <V, C>(m: Machine<V, C>, size: AccessSize, signed: boolean): void =>
  m.rd(m.load(address(m), size, signed));
const store = <V, C>(m: Machine<V, C>, size: AccessSize): void => m.store(address(m), size, m.rs2());

// biome-ignore format: table
export const INTEGER: readonly Row[] = [
  row('lui',   'imm[31:12] rd 0110111', 'lui rd, imm', 'i', 'alu', 'Loads the upper immediate.', (m) => m.rd(m.imm())),
  row('auipc', 'imm[31:12] rd 0010111', 'auipc rd, imm', 'i', 'alu', 'Adds the upper immediate to pc.', (m) => m.rd(m.add(m.pc(), m.imm()))),
  row('jal',   'imm[20|10:1|11|19:12] rd 1101111', 'jal rd, imm', 'i', 'jump', 'Jumps and links.', (m) => {
    m.requireTarget(m.add(m.pc(), m.imm()));
    m.rd(m.next());
    m.jump();
  }),
  row('jalr',  'imm[11:0] rs1 000 rd 1100111', 'jalr rd, imm(rs1)', 'i', 'jump', 'Jumps to rs1 + imm and links.', (m) => {
    const target = m.let(m.and(address(m), m.const(-2)));
    m.requireTarget(target);
    m.rd(m.next());
    m.jumpTo(target);
  }),

  row('beq',   'imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011', 'beq rs1, rs2, imm', 'i', 'branch', 'Branches if equal.', (m) => m.branch(m.eq(m.rs1(), m.rs2()))),
  row('bne',   'imm[12|10:5] rs2 rs1 001 imm[4:1|11] 1100011', 'bne rs1, rs2, imm', 'i', 'branch', 'Branches if not equal.', (m) => m.branch(m.ne(m.rs1(), m.rs2()))),
  row('blt',   'imm[12|10:5] rs2 rs1 100 imm[4:1|11] 1100011', 'blt rs1, rs2, imm', 'i', 'branch', 'Branches if less, signed.', (m) => m.branch(m.lts(m.rs1(), m.rs2()))),
  row('bge',   'imm[12|10:5] rs2 rs1 101 imm[4:1|11] 1100011', 'bge rs1, rs2, imm', 'i', 'branch', 'Branches if greater or equal, signed.', (m) => m.branch(m.negate(m.lts(m.rs1(), m.rs2())))),
  row('bltu',  'imm[12|10:5] rs2 rs1 110 imm[4:1|11] 1100011', 'bltu rs1, rs2, imm', 'i', 'branch', 'Branches if less, unsigned.', (m) => m.branch(m.ltu(m.rs1(), m.rs2()))),
  row('bgeu',  'imm[12|10:5] rs2 rs1 111 imm[4:1|11] 1100011', 'bgeu rs1, rs2, imm', 'i', 'branch', 'Branches if greater or equal, unsigned.', (m) => m.branch(m.negate(m.ltu(m.rs1(), m.rs2())))),

  row('lb',    'imm[11:0] rs1 000 rd 0000011', 'lb rd, imm(rs1)', 'i', 'load', 'Loads a byte, sign-extended.', (m) => load(m, 1, true)),
  row('lh',    'imm[11:0] rs1 001 rd 0000011', 'lh rd, imm(rs1)', 'i', 'load', 'Loads a halfword, sign-extended.', (m) => load(m, 2, true)),
  row('lw',    'imm[11:0] rs1 010 rd 0000011', 'lw rd, imm(rs1)', 'i', 'load', 'Loads a word, sign-extended.', (m) => load(m, 4, true)),
  row('ld',    'imm[11:0] rs1 011 rd 0000011', 'ld rd, imm(rs1)', 'i', 'load', 'Loads a doubleword.', (m) => load(m, 8, true)),
  row('lbu',   'imm[11:0] rs1 100 rd 0000011', 'lbu rd, imm(rs1)', 'i', 'load', 'Loads a byte, zero-extended.', (m) => load(m, 1, false)),
  row('lhu',   'imm[11:0] rs1 101 rd 0000011', 'lhu rd, imm(rs1)', 'i', 'load', 'Loads a halfword, zero-extended.', (m) => load(m, 2, false)),
  row('lwu',   'imm[11:0] rs1 110 rd 0000011', 'lwu rd, imm(rs1)', 'i', 'load', 'Loads a word, zero-extended.', (m) => load(m, 4, false)),
  row('sb',    'imm[11:5] rs2 rs1 000 imm[4:0] 0100011', 'sb rs2, imm(rs1)', 'i', 'store', 'Stores a byte.', (m) => store(m, 1)),
  row('sh',    'imm[11:5] rs2 rs1 001 imm[4:0] 0100011', 'sh rs2, imm(rs1)', 'i', 'store', 'Stores a halfword.', (m) => store(m, 2)),
  row('sw',    'imm[11:5] rs2 rs1 010 imm[4:0] 0100011', 'sw rs2, imm(rs1)', 'i', 'store', 'Stores a word.', (m) => store(m, 4)),
  row('sd',    'imm[11:5] rs2 rs1 011 imm[4:0] 0100011', 'sd rs2, imm(rs1)', 'i', 'store', 'Stores a doubleword.', (m) => store(m, 8)),

  row('addi',  'imm[11:0] rs1 000 rd 0010011', 'addi rd, rs1, imm', 'i', 'alu', 'Adds the immediate.', (m) => m.rd(m.add(m.rs1(), m.imm()))),
  row('slti',  'imm[11:0] rs1 010 rd 0010011', 'slti rd, rs1, imm', 'i', 'alu', 'One if less than the immediate, signed.', (m) => m.rd(m.bool(m.lts(m.rs1(), m.imm())))),
  row('sltiu', 'imm[11:0] rs1 011 rd 0010011', 'sltiu rd, rs1, imm', 'i', 'alu', 'One if less than the immediate, unsigned.', (m) => m.rd(m.bool(m.ltu(m.rs1(), m.imm())))),
  row('xori',  'imm[11:0] rs1 100 rd 0010011', 'xori rd, rs1, imm', 'i', 'alu', 'Exclusive or with the immediate.', (m) => m.rd(m.xor(m.rs1(), m.imm()))),
  row('ori',   'imm[11:0] rs1 110 rd 0010011', 'ori rd, rs1, imm', 'i', 'alu', 'Or with the immediate.', (m) => m.rd(m.or(m.rs1(), m.imm()))),
  row('andi',  'imm[11:0] rs1 111 rd 0010011', 'andi rd, rs1, imm', 'i', 'alu', 'And with the immediate.', (m) => m.rd(m.and(m.rs1(), m.imm()))),
  row('slli',  '000000 uimm[5:0] rs1 001 rd 0010011', 'slli rd, rs1, uimm', 'i', 'alu', 'Shifts left by the immediate.', (m) => m.rd(m.sll(m.rs1(), m.imm()))),
  row('srli',  '000000 uimm[5:0] rs1 101 rd 0010011', 'srli rd, rs1, uimm', 'i', 'alu', 'Shifts right by the immediate.', (m) => m.rd(m.srl(m.rs1(), m.imm()))),
  row('srai',  '010000 uimm[5:0] rs1 101 rd 0010011', 'srai rd, rs1, uimm', 'i', 'alu', 'Shifts right by the immediate, keeping the sign.', (m) => m.rd(m.sra(m.rs1(), m.imm()))),
  row('addiw', 'imm[11:0] rs1 000 rd 0011011', 'addiw rd, rs1, imm', 'i', 'alu', 'Adds the immediate to a word.', (m) => m.rd(m.sext32(m.add(m.rs1(), m.imm())))),
  row('slliw', '0000000 uimm[4:0] rs1 001 rd 0011011', 'slliw rd, rs1, uimm', 'i', 'alu', 'Shifts a word left by the immediate.', (m) => m.rd(m.sext32(m.sll(m.rs1(), m.imm())))),
  row('srliw', '0000000 uimm[4:0] rs1 101 rd 0011011', 'srliw rd, rs1, uimm', 'i', 'alu', 'Shifts a word right by the immediate.', (m) => m.rd(m.sext32(m.srl(m.zext32(m.rs1()), m.imm())))),
  row('sraiw', '0100000 uimm[4:0] rs1 101 rd 0011011', 'sraiw rd, rs1, uimm', 'i', 'alu', 'Shifts a word right by the immediate, keeping the sign.', (m) => m.rd(m.sra(m.sext32(m.rs1()), m.imm()))),

  row('add',   '0000000 rs2 rs1 000 rd 0110011', 'add rd, rs1, rs2', 'i', 'alu', 'Adds.', (m) => m.rd(m.add(m.rs1(), m.rs2()))),
  row('sub',   '0100000 rs2 rs1 000 rd 0110011', 'sub rd, rs1, rs2', 'i', 'alu', 'Subtracts rs2 from rs1.', (m) => m.rd(m.sub(m.rs1(), m.rs2()))),
  row('sll',   '0000000 rs2 rs1 001 rd 0110011', 'sll rd, rs1, rs2', 'i', 'alu', 'Shifts left.', (m) => m.rd(m.sll(m.rs1(), m.rs2()))),
  row('slt',   '0000000 rs2 rs1 010 rd 0110011', 'slt rd, rs1, rs2', 'i', 'alu', 'One if less, signed.', (m) => m.rd(m.bool(m.lts(m.rs1(), m.rs2())))),
  row('sltu',  '0000000 rs2 rs1 011 rd 0110011', 'sltu rd, rs1, rs2', 'i', 'alu', 'One if less, unsigned.', (m) => m.rd(m.bool(m.ltu(m.rs1(), m.rs2())))),
  row('xor',   '0000000 rs2 rs1 100 rd 0110011', 'xor rd, rs1, rs2', 'i', 'alu', 'Exclusive or.', (m) => m.rd(m.xor(m.rs1(), m.rs2()))),
  row('srl',   '0000000 rs2 rs1 101 rd 0110011', 'srl rd, rs1, rs2', 'i', 'alu', 'Shifts right.', (m) => m.rd(m.srl(m.rs1(), m.rs2()))),
  row('sra',   '0100000 rs2 rs1 101 rd 0110011', 'sra rd, rs1, rs2', 'i', 'alu', 'Shifts right, keeping the sign.', (m) => m.rd(m.sra(m.rs1(), m.rs2()))),
  row('or',    '0000000 rs2 rs1 110 rd 0110011', 'or rd, rs1, rs2', 'i', 'alu', 'Or.', (m) => m.rd(m.or(m.rs1(), m.rs2()))),
  row('and',   '0000000 rs2 rs1 111 rd 0110011', 'and rd, rs1, rs2', 'i', 'alu', 'And.', (m) => m.rd(m.and(m.rs1(), m.rs2()))),
  row('addw',  '0000000 rs2 rs1 000 rd 0111011', 'addw rd, rs1, rs2', 'i', 'alu', 'Adds words.', (m) => m.rd(m.sext32(m.add(m.rs1(), m.rs2())))),
  row('subw',  '0100000 rs2 rs1 000 rd 0111011', 'subw rd, rs1, rs2', 'i', 'alu', 'Subtracts words.', (m) => m.rd(m.sext32(m.sub(m.rs1(), m.rs2())))),
  row('sllw',  '0000000 rs2 rs1 001 rd 0111011', 'sllw rd, rs1, rs2', 'i', 'alu', 'Shifts a word left.', (m) => m.rd(m.sext32(m.sll(m.rs1(), five(m))))),
  row('srlw',  '0000000 rs2 rs1 101 rd 0111011', 'srlw rd, rs1, rs2', 'i', 'alu', 'Shifts a word right.', (m) => m.rd(m.sext32(m.srl(m.zext32(m.rs1()), five(m))))),
  row('sraw',  '0100000 rs2 rs1 101 rd 0111011', 'sraw rd, rs1, rs2', 'i', 'alu', 'Shifts a word right, keeping the sign.', (m) => m.rd(m.sra(m.sext32(m.rs1()), five(m)))),

  row('fence',     'fm pred succ rs1 000 rd 0001111', 'fence pred, succ', 'i', 'system', 'Orders memory accesses.', (m) => m.fence()),
  row('fence.tso', '1000 0011 0011 00000 000 00000 0001111', 'fence.tso', 'i', 'system', 'Orders memory accesses, but no load behind an earlier store.', (m) => m.fence()),
  row('fence.i',   'imm[11:0] rs1 001 rd 0001111', 'fence.i', 'zifencei', 'system', 'Makes stores visible to instruction fetch.', (m) => m.fenceInstruction()),
];

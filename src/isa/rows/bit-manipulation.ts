/**
 * Zba, Zbb, Zbc, Zbs: bit manipulation, and Zicond: conditional zeroing. Unprivileged specification, chapters 28
 * (B) and 12 (Zicond). Bytes are reversed and ORed within words by masks, since no loop could be shorter.
 */
import type { Machine } from '../machine.ts';
import { type Row, row } from '../row.ts';

/** rs1 << shift + rs2, with rs1 whole or its low word alone. */
const shiftAdd = <V, C>(m: Machine<V, C>, shift: number): void => m.rd(m.add(m.sll(m.rs1(), m.const(shift)), m.rs2()));
const shiftAddWord = <V, C>(m: Machine<V, C>, shift: number): void =>
  m.rd(m.add(m.sll(m.zext32(m.rs1()), m.const(shift)), m.rs2()));

/** A word rotated right by 0 to 31: both shifts of its zero-extended value, of which the low word counts. */
const rotateWord = <V, C>(m: Machine<V, C>, amount: V): V => {
  const word = m.let(m.zext32(m.rs1()));
  const right = m.let(m.and(amount, m.const(31)));
  return m.sext32(m.or(m.srl(word, right), m.sll(word, m.sub(m.const(32), right))));
};

/** Swaps neighbours of `bits` bits: those in `mask` with those above them. */
const swapNeighbours = <V, C>(m: Machine<V, C>, value: V, bits: number, mask: bigint): V => {
  const x = m.let(value);
  return m.or(m.and(m.srl(x, m.const(bits)), m.const(mask)), m.sll(m.and(x, m.const(mask)), m.const(bits)));
};

const reverseBytes = <V, C>(m: Machine<V, C>): V => {
  const bytes = swapNeighbours(m, m.rs1(), 8, 0x00ff_00ff_00ff_00ffn);
  const halves = swapNeighbours(m, bytes, 16, 0x0000_ffff_0000_ffffn);
  return m.rotr(halves, m.const(32));
};

/** 0xff for each byte that is not zero: its top bit, or a carry out of its other seven, spread over the byte. */
const orBytes = <V, C>(m: Machine<V, C>): V => {
  const x = m.let(m.rs1());
  const seven = m.const(0x7f7f_7f7f_7f7f_7f7fn);
  const tops = m.and(m.or(m.add(m.and(x, seven), seven), x), m.not(seven));
  return m.mul(m.srl(tops, m.const(7)), m.const(255));
};

const bit = <V, C>(m: Machine<V, C>, index: V): V => m.sll(m.const(1), index);

const pick = <V, C>(m: Machine<V, C>, less: (a: V, b: V) => C, which: 'min' | 'max'): void => {
  const a = m.let(m.rs1());
  const b = m.let(m.rs2());
  m.rd(which === 'min' ? m.select(less(a, b), a, b) : m.select(less(a, b), b, a));
};

// biome-ignore format: table
export const BIT_MANIPULATION: readonly Row[] = [
  row('add.uw',    '0000100 rs2 rs1 000 rd 0111011', 'add.uw rd, rs1, rs2', 'zba', 'alu', 'Adds the unsigned word of rs1 to rs2.', (m) => m.rd(m.add(m.zext32(m.rs1()), m.rs2()))),
  row('sh1add',    '0010000 rs2 rs1 010 rd 0110011', 'sh1add rd, rs1, rs2', 'zba', 'alu', 'Adds twice rs1 to rs2.', (m) => shiftAdd(m, 1)),
  row('sh2add',    '0010000 rs2 rs1 100 rd 0110011', 'sh2add rd, rs1, rs2', 'zba', 'alu', 'Adds four times rs1 to rs2.', (m) => shiftAdd(m, 2)),
  row('sh3add',    '0010000 rs2 rs1 110 rd 0110011', 'sh3add rd, rs1, rs2', 'zba', 'alu', 'Adds eight times rs1 to rs2.', (m) => shiftAdd(m, 3)),
  row('sh1add.uw', '0010000 rs2 rs1 010 rd 0111011', 'sh1add.uw rd, rs1, rs2', 'zba', 'alu', 'Adds twice the unsigned word of rs1 to rs2.', (m) => shiftAddWord(m, 1)),
  row('sh2add.uw', '0010000 rs2 rs1 100 rd 0111011', 'sh2add.uw rd, rs1, rs2', 'zba', 'alu', 'Adds four times the unsigned word of rs1 to rs2.', (m) => shiftAddWord(m, 2)),
  row('sh3add.uw', '0010000 rs2 rs1 110 rd 0111011', 'sh3add.uw rd, rs1, rs2', 'zba', 'alu', 'Adds eight times the unsigned word of rs1 to rs2.', (m) => shiftAddWord(m, 3)),
  row('slli.uw',   '000010 uimm[5:0] rs1 001 rd 0011011', 'slli.uw rd, rs1, uimm', 'zba', 'alu', 'Shifts the unsigned word of rs1 left.', (m) => m.rd(m.sll(m.zext32(m.rs1()), m.imm()))),

  row('andn',      '0100000 rs2 rs1 111 rd 0110011', 'andn rd, rs1, rs2', 'zbb', 'alu', 'And with the inverted rs2.', (m) => m.rd(m.and(m.rs1(), m.not(m.rs2())))),
  row('orn',       '0100000 rs2 rs1 110 rd 0110011', 'orn rd, rs1, rs2', 'zbb', 'alu', 'Or with the inverted rs2.', (m) => m.rd(m.or(m.rs1(), m.not(m.rs2())))),
  row('xnor',      '0100000 rs2 rs1 100 rd 0110011', 'xnor rd, rs1, rs2', 'zbb', 'alu', 'Exclusive nor.', (m) => m.rd(m.not(m.xor(m.rs1(), m.rs2())))),
  row('clz',       '0110000 00000 rs1 001 rd 0010011', 'clz rd, rs1', 'zbb', 'alu', 'Counts leading zeros.', (m) => m.rd(m.clz(m.rs1()))),
  row('ctz',       '0110000 00001 rs1 001 rd 0010011', 'ctz rd, rs1', 'zbb', 'alu', 'Counts trailing zeros.', (m) => m.rd(m.ctz(m.rs1()))),
  row('cpop',      '0110000 00010 rs1 001 rd 0010011', 'cpop rd, rs1', 'zbb', 'alu', 'Counts ones.', (m) => m.rd(m.popcnt(m.rs1()))),
  row('clzw',      '0110000 00000 rs1 001 rd 0011011', 'clzw rd, rs1', 'zbb', 'alu', 'Counts leading zeros of the word.', (m) => m.rd(m.sub(m.clz(m.zext32(m.rs1())), m.const(32)))),
  row('ctzw',      '0110000 00001 rs1 001 rd 0011011', 'ctzw rd, rs1', 'zbb', 'alu', 'Counts trailing zeros of the word.', (m) => m.rd(m.ctz(m.or(m.rs1(), m.const(1n << 32n))))),
  row('cpopw',     '0110000 00010 rs1 001 rd 0011011', 'cpopw rd, rs1', 'zbb', 'alu', 'Counts ones of the word.', (m) => m.rd(m.popcnt(m.zext32(m.rs1())))),
  row('min',       '0000101 rs2 rs1 100 rd 0110011', 'min rd, rs1, rs2', 'zbb', 'alu', 'The lesser, signed.', (m) => pick(m, m.lts.bind(m), 'min')),
  row('minu',      '0000101 rs2 rs1 101 rd 0110011', 'minu rd, rs1, rs2', 'zbb', 'alu', 'The lesser, unsigned.', (m) => pick(m, m.ltu.bind(m), 'min')),
  row('max',       '0000101 rs2 rs1 110 rd 0110011', 'max rd, rs1, rs2', 'zbb', 'alu', 'The greater, signed.', (m) => pick(m, m.lts.bind(m), 'max')),
  row('maxu',      '0000101 rs2 rs1 111 rd 0110011', 'maxu rd, rs1, rs2', 'zbb', 'alu', 'The greater, unsigned.', (m) => pick(m, m.ltu.bind(m), 'max')),
  row('sext.b',    '0110000 00100 rs1 001 rd 0010011', 'sext.b rd, rs1', 'zbb', 'alu', 'Sign-extends the byte.', (m) => m.rd(m.sext8(m.rs1()))),
  row('sext.h',    '0110000 00101 rs1 001 rd 0010011', 'sext.h rd, rs1', 'zbb', 'alu', 'Sign-extends the halfword.', (m) => m.rd(m.sext16(m.rs1()))),
  row('zext.h',    '0000100 00000 rs1 100 rd 0111011', 'zext.h rd, rs1', 'zbb', 'alu', 'Zero-extends the halfword.', (m) => m.rd(m.and(m.rs1(), m.const(0xffff)))),
  row('rol',       '0110000 rs2 rs1 001 rd 0110011', 'rol rd, rs1, rs2', 'zbb', 'alu', 'Rotates left.', (m) => m.rd(m.rotr(m.rs1(), m.sub(m.const(0), m.rs2())))),
  row('ror',       '0110000 rs2 rs1 101 rd 0110011', 'ror rd, rs1, rs2', 'zbb', 'alu', 'Rotates right.', (m) => m.rd(m.rotr(m.rs1(), m.rs2()))),
  row('rori',      '011000 uimm[5:0] rs1 101 rd 0010011', 'rori rd, rs1, uimm', 'zbb', 'alu', 'Rotates right by the immediate.', (m) => m.rd(m.rotr(m.rs1(), m.imm()))),
  row('rolw',      '0110000 rs2 rs1 001 rd 0111011', 'rolw rd, rs1, rs2', 'zbb', 'alu', 'Rotates a word left.', (m) => m.rd(rotateWord(m, m.sub(m.const(0), m.rs2())))),
  row('rorw',      '0110000 rs2 rs1 101 rd 0111011', 'rorw rd, rs1, rs2', 'zbb', 'alu', 'Rotates a word right.', (m) => m.rd(rotateWord(m, m.rs2()))),
  row('roriw',     '0110000 uimm[4:0] rs1 101 rd 0011011', 'roriw rd, rs1, uimm', 'zbb', 'alu', 'Rotates a word right by the immediate.', (m) => m.rd(rotateWord(m, m.imm()))),
  row('orc.b',     '001010000111 rs1 101 rd 0010011', 'orc.b rd, rs1', 'zbb', 'alu', 'Sets each byte that is not zero to all ones.', (m) => m.rd(orBytes(m))),
  row('rev8',      '011010111000 rs1 101 rd 0010011', 'rev8 rd, rs1', 'zbb', 'alu', 'Reverses the order of bytes.', (m) => m.rd(reverseBytes(m))),

  row('clmul',     '0000101 rs2 rs1 001 rd 0110011', 'clmul rd, rs1, rs2', 'zbc', 'alu', 'Low half of the carry-less product.', (m) => m.rd(m.clmul(m.rs1(), m.rs2()))),
  row('clmulr',    '0000101 rs2 rs1 010 rd 0110011', 'clmulr rd, rs1, rs2', 'zbc', 'alu', 'Bits 126 to 63 of the carry-less product.', (m) => {
    const a = m.let(m.rs1());
    const b = m.let(m.rs2());
    m.rd(m.or(m.sll(m.clmulh(a, b), m.const(1)), m.srl(m.clmul(a, b), m.const(63))));
  }),
  row('clmulh',    '0000101 rs2 rs1 011 rd 0110011', 'clmulh rd, rs1, rs2', 'zbc', 'alu', 'High half of the carry-less product.', (m) => m.rd(m.clmulh(m.rs1(), m.rs2()))),

  row('bclr',      '0100100 rs2 rs1 001 rd 0110011', 'bclr rd, rs1, rs2', 'zbs', 'alu', 'Clears a bit.', (m) => m.rd(m.and(m.rs1(), m.not(bit(m, m.rs2()))))),
  row('bclri',     '010010 uimm[5:0] rs1 001 rd 0010011', 'bclri rd, rs1, uimm', 'zbs', 'alu', 'Clears the bit of the immediate.', (m) => m.rd(m.and(m.rs1(), m.not(bit(m, m.imm()))))),
  row('bext',      '0100100 rs2 rs1 101 rd 0110011', 'bext rd, rs1, rs2', 'zbs', 'alu', 'Extracts a bit.', (m) => m.rd(m.and(m.srl(m.rs1(), m.rs2()), m.const(1)))),
  row('bexti',     '010010 uimm[5:0] rs1 101 rd 0010011', 'bexti rd, rs1, uimm', 'zbs', 'alu', 'Extracts the bit of the immediate.', (m) => m.rd(m.and(m.srl(m.rs1(), m.imm()), m.const(1)))),
  row('binv',      '0110100 rs2 rs1 001 rd 0110011', 'binv rd, rs1, rs2', 'zbs', 'alu', 'Inverts a bit.', (m) => m.rd(m.xor(m.rs1(), bit(m, m.rs2())))),
  row('binvi',     '011010 uimm[5:0] rs1 001 rd 0010011', 'binvi rd, rs1, uimm', 'zbs', 'alu', 'Inverts the bit of the immediate.', (m) => m.rd(m.xor(m.rs1(), bit(m, m.imm())))),
  row('bset',      '0010100 rs2 rs1 001 rd 0110011', 'bset rd, rs1, rs2', 'zbs', 'alu', 'Sets a bit.', (m) => m.rd(m.or(m.rs1(), bit(m, m.rs2())))),
  row('bseti',     '001010 uimm[5:0] rs1 001 rd 0010011', 'bseti rd, rs1, uimm', 'zbs', 'alu', 'Sets the bit of the immediate.', (m) => m.rd(m.or(m.rs1(), bit(m, m.imm())))),

  row('czero.eqz', '0000111 rs2 rs1 101 rd 0110011', 'czero.eqz rd, rs1, rs2', 'zicond', 'alu', 'Zero if rs2 is zero, else rs1.', (m) => m.rd(m.select(m.eq(m.rs2(), m.const(0)), m.const(0), m.rs1()))),
  row('czero.nez', '0000111 rs2 rs1 111 rd 0110011', 'czero.nez rd, rs1, rs2', 'zicond', 'alu', 'Zero if rs2 is not zero, else rs1.', (m) => m.rd(m.select(m.ne(m.rs2(), m.const(0)), m.const(0), m.rs1()))),
];

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError } from '../base/errors.ts';
import { assemble, assembleInstruction } from './assembler.ts';
import { COMPRESSED_CODES, ROW_CODES } from './code.ts';
import { createDecoder, expand } from './decoder.ts';
import { disassemble } from './disassembler.ts';
import { parseCpu } from './extensions.ts';
import { type Pattern, writeField } from './pattern.ts';
import type { CompressedRow, Row } from './row.ts';

const decoder = createDecoder(parseCpu('rv64,h=on,smstateen=on'));

function* random(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    yield state ^ (state >>> 15);
  }
}

/** Random bits of the row, with zeros in what the assembly does not say (fields of fence, fence.i). */
function instruction(row: Row | CompressedRow, pattern: Pattern, noise: number): number {
  let bits = (noise & ~pattern.mask) | pattern.match;
  const unspoken = pattern.fields.filter(({ name }) => row.name === 'fence' && ['fm', 'rs1', 'rd'].includes(name));
  if (row.name === 'fence.i') return pattern.match;
  for (const field of unspoken) bits &= ~(writeField(field, 2 ** field.width - 1) ?? 0);
  return bits >>> 0;
}

test('what the disassembler prints, the assembler reads: every row', () => {
  const noise = random(1);
  for (const { row, pattern } of ROW_CODES) {
    for (let i = 0; i < 200; i++) {
      const bits = instruction(row, pattern, noise.next().value as number);
      const text = disassemble(decoder, bits, 0x8000_0000n);
      assert.ok(!text.startsWith('.'), `${row.name}: ${bits.toString(16)}`);
      assert.equal(assembleInstruction(text, 0x8000_0000n), bits, `${text} (${row.name})`);
    }
  }
});

test('what the disassembler prints, the assembler reads: every 16-bit instruction', () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    if ((bits & 3) === 3) continue;
    const text = disassemble(decoder, bits, 0x1_0000n);
    assert.equal(text.startsWith('.half'), decoder.decode(bits) === undefined);
    if (!text.startsWith('.half')) assert.equal(assembleInstruction(text, 0x1_0000n), bits, text);
  }
});

test('a compressed row and its expansion say the same', () => {
  for (const code of COMPRESSED_CODES) {
    const bits = code.pattern.match | 0x1f40;
    const decoded = decoder.decode(bits);
    if (decoded?.compressed !== code.row) continue;
    assert.equal(decoder.decode(expand(code, bits) ?? 0)?.row, decoded.row);
  }
});

/** Bits from the manual's listings and from GNU as. */
const single: readonly [text: string, bits: number][] = [
  ['addi a0, a0, -1', 0xfff50513],
  ['nop', 0x00000013],
  ['mv a0, a1', 0x00058513],
  ['not a0, a1', 0xfff5c513],
  ['neg a0, a1', 0x40b00533],
  ['seqz a0, a1', 0x0015b513],
  ['ret', 0x00008067],
  ['jr a0', 0x00050067],
  ['jalr a0', 0x000500e7],
  ['jalr ra, 16(a0)', 0x010500e7],
  ['lw a0, -4(sp)', 0xffc12503],
  ['lw a0, (sp)', 0x00012503],
  ['sd x1, 8(x2)', 0x00113423],
  ['lui a0, 0xfffff', 0xfffff537],
  ['lui a0, -1', 0xfffff537],
  ['slli a0, a1, 63', 0x03f59513],
  ['j .', 0x0000006f],
  ['beqz a0, . - 4', 0xfe050ee3],
  ['lr.w.aqrl a0, (a1)', 0x1605a52f],
  ['sc.d.rl a0, a2, 0(a1)', 0x1ac5b52f],
  ['amoadd.w.aq a0, a2, (a1)', 0x04c5a52f],
  ['fence', 0x0ff0000f],
  ['fence rw, w', 0x0310000f],
  ['fence.tso', 0x8330000f],
  ['fadd.s fa0, fa1, fa2', 0x00c5f553],
  ['fadd.s fa0, fa1, fa2, rtz', 0x00c59553],
  ['fcvt.d.w fa0, a0', 0xd2050553],
  ['fcvt.w.d a0, fa0, rtz', 0xc2051553],
  ['fmv.d fa0, fa1', 0x22b58553],
  ['fli.s fa0, 1.0', 0xf0180553],
  ['fli.d fa0, -1', 0xf2100553],
  ['fli.h fa0, inf', 0xf41f0553],
  ['csrr a0, mhartid', 0xf1402573],
  ['csrwi 0x300, 31', 0x300fd073],
  ['sfence.vma', 0x12000073],
  ['sfence.vma a0, a1', 0x12b50073],
  ['mop.r.31 a0, a1', 0xcdf5c573],
  ['unimp', 0xc0001073],
  ['c.nop', 0x0001],
  ['c.addi sp, -16', 0x1141],
  ['c.addi16sp sp, -16', 0x717d],
  ['c.lui a0, 0xfffff', 0x757d],
  ['c.ldsp ra, 8(sp)', 0x60a2],
  ['c.lw a0, 4(a1)', 0x41c8],
];
for (const [text, bits] of single) {
  test(`'${text}' is 0x${bits.toString(16)}`, () =>
    assert.equal(assembleInstruction(text).toString(16), bits.toString(16)));
}

const refused: readonly [text: string, why: RegExp][] = [
  ['frobnicate a0', /no instruction/],
  ['addi a0, a0, 2048', /does not fit/],
  ['addi a0, a0', /does not fit/],
  ['addi a0, a0, 1, 2', /does not fit/],
  ['addi a0, a0, nowhere', /does not fit/],
  ['add a0, a0, x32', /does not fit/],
  ['fadd.s a0, fa1, fa2', /does not fit/],
  ['lw a0, 4(5)', /does not fit/],
  ['lr.w a0, 4(a1)', /does not fit/],
  ['beq a0, a1, . + 4096', /does not fit/],
  ['beq a0, a1, . + 1', /does not fit/],
  ['c.addi zero, 1', /does not fit/],
  ['c.lw a0, 4(t0)', /does not fit/],
  ['c.addi16sp a0, 16', /does not fit/],
  ['amoadd.w.3 a0, a1, (a2)', /no instruction/],
  ['slli a0, a0, 64', /does not fit/],
  ['li a0', /needs a register and a value/],
  ['li a0, x', /not a number/],
  ['la a0, x', /no address/],
  ['x: x:', /twice/],
  ['.byte 256', /no data/],
  ['.balign 3', /no data/],
  ['.section .text', /no data/],
];
for (const [text, why] of refused) {
  test(`'${text}' is refused`, () => {
    const fails = (error: unknown) =>
      error instanceof OperatorError && error.code === 'bad-assembly' && why.test(error.message);
    assert.throws(() => assemble(`nop\n${text}`), fails);
    assert.throws(() => assemble(`nop\n${text}`), /line 2/);
  });
}

test('labels, local labels, data and alignment', () => {
  const { bytes, symbols } = assemble(
    `
start:  la   a0, data      # forward
1:      bnez a0, 1b
        beqz a0, 1f ; j start
1:      c.j  1b            // backward
        .balign 8
data:   .dword start, data - start
        .half -1, 'A'
        .byte 1, 2
        .asciz "a, b\\n"
        .zero 3
        .word end
end:
`,
    0x8000_0000n,
  );
  assert.equal(symbols.get('data'), 0x8000_0018n);
  assert.equal(symbols.get('end'), 0x8000_003bn);
  const view = new DataView(bytes.buffer);
  assert.equal(bytes.length, 0x3b);
  assert.equal(view.getUint32(0, true), 0x00000517);
  assert.equal(view.getUint32(4, true), 0x01850513);
  assert.equal(view.getUint32(8, true), assembleInstruction('bne a0, zero, 0'));
  assert.equal(view.getUint32(12, true), assembleInstruction('beq a0, zero, 8'));
  assert.equal(view.getUint32(16, true), assembleInstruction('jal zero, 0', 16n));
  assert.equal(view.getUint16(20, true), assembleInstruction('c.j 0'));
  assert.equal(view.getUint16(22, true), 0);
  assert.equal(view.getBigUint64(24, true), 0x8000_0000n);
  assert.equal(view.getBigUint64(32, true), 0x18n);
  assert.equal(view.getInt16(40, true), -1);
  assert.equal(view.getInt16(42, true), 65);
  assert.deepEqual([...bytes.subarray(44, 55)], [1, 2, 97, 44, 32, 98, 10, 0, 0, 0, 0]);
  assert.equal(view.getUint32(55, true), 0x8000_003b);
});

test('li loads any constant', () => {
  const constants = [0n, 1n, -1n, 2047n, 2048n, -2048n, -2049n, 0x7fff_f7ffn, 0x7fff_f800n, 0x7fff_ffffn, 0x8000_0000n];
  constants.push(
    -0x8000_0000n,
    0xffff_ffffn,
    1n << 63n,
    (1n << 63n) - 1n,
    0x0123_4567_89ab_cdefn,
    0xfedc_ba98_7654_3210n,
  );
  const noise = random(7);
  for (let i = 0; i < 500; i++) {
    const wide = (BigInt(noise.next().value as number) << 32n) | BigInt((noise.next().value as number) >>> 0);
    constants.push(wide, wide >> BigInt(i % 64));
  }
  for (const constant of constants) {
    const { bytes } = assemble(`li a0, ${constant}`);
    assert.ok(bytes.length <= 32);
    assert.equal(run(bytes), BigInt.asIntN(64, constant), String(constant));
  }
});

/** Runs the four instructions that `li` uses, by the manual's definitions. */
function run(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer);
  let a0 = 0n;
  for (let at = 0; at < bytes.length; at += 4) {
    const decoded = decoder.decode(view.getUint32(at, true));
    assert.ok(decoded && decoded.rd === 10);
    const imm = BigInt(decoded.imm);
    const rs1 = decoded.rs1 === 0 ? 0n : a0;
    if (decoded.row.name === 'lui') a0 = imm;
    else if (decoded.row.name === 'addi') a0 = BigInt.asIntN(64, rs1 + imm);
    else if (decoded.row.name === 'addiw') a0 = BigInt.asIntN(32, rs1 + imm);
    else a0 = BigInt.asIntN(64, a0 << imm);
  }
  return a0;
}

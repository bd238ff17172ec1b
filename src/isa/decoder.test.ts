import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMPRESSED_CODES, ROW_CODES } from './code.ts';
import { createDecoder, expand, instructionsOf } from './decoder.ts';
import { DEFAULT_EXTENSIONS, EXTENSIONS, IMSIC_EXTENSIONS, parseCpu } from './extensions.ts';
import { matches } from './pattern.ts';
import { COMPRESSED_ROWS, ROWS } from './table.ts';

const decoder = createDecoder(DEFAULT_EXTENSIONS);
const nameOf = (bits: number): string | undefined => {
  const decoded = decoder.decode(bits);
  return decoded?.compressed?.name ?? decoded?.row.name;
};

test('names are unique', () => {
  assert.equal(
    new Set([...ROWS, ...COMPRESSED_ROWS].map(({ name }) => name)).size,
    ROWS.length + COMPRESSED_ROWS.length,
  );
});

test('rows overlap only where one is a part of the other, and that one comes first', () => {
  const contained: string[] = [];
  ROW_CODES.forEach((later, j) => {
    for (const earlier of ROW_CODES.slice(0, j)) {
      const common = earlier.pattern.mask & later.pattern.mask;
      if (((earlier.pattern.match ^ later.pattern.match) & common) !== 0) continue;
      assert.equal(common >>> 0, later.pattern.mask, `${earlier.row.name} and ${later.row.name} overlap`);
      contained.push(`${earlier.row.name} in ${later.row.name}`);
    }
  });
  assert.deepEqual(contained.toSorted(), [
    'fence.tso in fence',
    'pause in fence',
    'prefetch.i in ori',
    'prefetch.r in ori',
    'prefetch.w in ori',
  ]);
});

test('no 16 bits are two compressed instructions', () => {
  const owner = new Map<number, string>();
  for (const code of COMPRESSED_CODES) {
    for (const bits of instructionsOf(code.pattern, 0xffff)) {
      if (expand(code, bits) === undefined) continue;
      assert.equal(owner.get(bits), undefined, `${code.row.name}: ${bits.toString(16)}`);
      owner.set(bits, code.row.name);
    }
  }
});

test('every enabled expansion decodes to the row that the compressed row names', () => {
  for (const code of COMPRESSED_CODES) {
    for (const bits of instructionsOf(code.pattern, 0xffff)) {
      const decoded = decoder.decode(bits);
      if (expand(code, bits) === undefined) continue;
      assert.equal(decoded?.compressed, code.row);
      assert.equal(decoded.row, code.target.row);
      assert.equal(decoded.length, 2);
      assert.equal(decoded.bits, bits);
      assert.equal(decoded.expanded, decoder.expansions[bits]);
    }
  }
});

/** From the manual's listings, fields worked out by hand. */
const known: readonly [bits: number, name: string, fields?: object][] = [
  [0xfff50513, 'addi', { rd: 10, rs1: 10, imm: -1 }],
  [0x800000b7, 'lui', { rd: 1, imm: -0x80000000 }],
  [0xfe209ee3, 'bne', { rs1: 1, rs2: 2, imm: -4 }],
  [0x800000ef, 'jal', { rd: 1, imm: -0x100000 }],
  [0x7ffff06f, 'jal', { rd: 0, imm: 0xffffe }],
  [0xfe113c23, 'sd', { rs1: 2, rs2: 1, imm: -8 }],
  [0x03f51513, 'slli', { rd: 10, imm: 63 }],
  [0x30529073, 'csrrw', { rd: 0, rs1: 5, csr: 0x305 }],
  [0x1000a5af, 'lr.w', { rd: 11, rs1: 1 }],
  [0x02b577d3, 'fadd.d', { rd: 15, rs1: 10, rs2: 11, rm: 7 }],
  [0x6ab57543, 'fmadd.d', { rd: 10, rs1: 10, rs2: 11, rs3: 13, rm: 7 }],
  [0x0ff0000f, 'fence'],
  [0x8330000f, 'fence.tso'],
  [0x0100000f, 'pause'],
  [0x0000100f, 'fence.i'],
  [0x00006013, 'prefetch.i'],
  [0x00106013, 'prefetch.r'],
  [0x00206013, 'ori'],
  [0x00306013, 'prefetch.w'],
  [0x30200073, 'mret'],
  [0x12b50073, 'sfence.vma', { rs1: 10, rs2: 11 }],
  // 32-bit expansions of 16-bit ones
  [0x1141, 'c.addi', { rd: 2, rs1: 2, imm: -16 }],
  [0x0001, 'c.nop', { rd: 0, imm: 0 }],
  [0x717d, 'c.addi16sp', { rd: 2, rs1: 2, imm: -16 }],
  [0x0800, 'c.addi4spn', { rd: 8, rs1: 2, imm: 16 }],
  [0x0020, 'c.addi4spn', { rd: 8, rs1: 2, imm: 8 }],
  [0x757d, 'c.lui', { rd: 10, imm: -4096 }],
  [0x8082, 'c.jr', { rd: 0, rs1: 1, imm: 0 }],
  [0x9502, 'c.jalr', { rd: 1, rs1: 10, imm: 0 }],
  [0x9002, 'c.ebreak'],
  [0x852e, 'c.mv', { rd: 10, rs1: 0, rs2: 11 }],
  [0x952e, 'c.add', { rd: 10, rs1: 10, rs2: 11 }],
  [0xbffd, 'c.j', { rd: 0, imm: -2 }],
  [0xd57d, 'c.beqz', { rs1: 10, rs2: 0, imm: -18 }],
  [0x60a2, 'c.ldsp', { rd: 1, rs1: 2, imm: 8 }],
  [0xe406, 'c.sdsp', { rs2: 1, rs1: 2, imm: 8 }],
  [0x6181, 'c.mop.3'],
  [0x6081, 'c.mop.1', { rd: 0, rs1: 0, imm: 0 }],
];
for (const [bits, name, fields] of known) {
  test(`0x${bits.toString(16)} is ${name}`, () => {
    assert.equal(nameOf(bits), name);
    const decoded = decoder.decode(bits) as unknown as Record<string, unknown>;
    for (const [field, value] of Object.entries(fields ?? {})) assert.equal(decoded[field], value, field);
  });
}

const illegal: readonly [bits: number, why: string][] = [
  [0x00000000, 'all zeros, and c.addi4spn without an offset'],
  [0xffffffff, 'all ones'],
  [0x0004, 'c.addi4spn with offset 0'],
  [0x2001, 'c.addiw to x0'],
  [0x6101, 'c.addi16sp with offset 0'],
  [0x6001, 'c.lui of 0 to x0'],
  [0x6801, 'c.lui of 0 to x16'],
  [0x6881, 'c.lui of 0 to x17, which is no c.mop'],
  [0x4002, 'c.lwsp to x0'],
  [0x6002, 'c.ldsp to x0'],
  [0x8002, 'c.jr x0'],
  [0x9c00, 'quadrant 0, reserved'],
  [0x9c79, 'Zcb, reserved'],
  [0x0000001f, 'longer than 32 bits'],
  [0x00002063, 'branch, funct3 2'],
  [0x00007003, 'load, funct3 7'],
  [0x42005033, 'sra with a wrong funct7'],
  [0x0400101b, 'slliw by 64'],
  [0x0200101b, 'slliw by 32'],
];
for (const [bits, why] of illegal) {
  test(`0x${bits.toString(16)} is illegal: ${why}`, () => assert.equal(nameOf(bits), undefined));
}

const hints = [0x0005, 0x4005, 0x6005, 0x0002, 0x100a, 0x8006, 0x900a, 0x8501, 0x8401];
for (const bits of hints) {
  test(`0x${bits.toString(16)} is a hint: it writes x0 or shifts by nothing`, () => {
    const decoded = decoder.decode(bits);
    assert.ok(decoded);
    assert.ok(decoded.rd === 0 || (decoded.row.name.startsWith('s') && decoded.imm === 0));
  });
}

test('rows of an extension that is off do not decode, and all others do', () => {
  for (const { name } of EXTENSIONS) {
    if (['i', 'g', 'u', 'zicsr', ...IMSIC_EXTENSIONS].includes(name)) continue;
    const without = parseCpu(`rv64,${name}=off`);
    const reduced = createDecoder(without);
    for (const { row, pattern } of ROW_CODES) {
      const decoded = reduced.decode(pattern.match);
      const has = row.extension.split('+').every((part) => without.has(part));
      if (has) assert.ok(decoded, `${row.name} without ${name}`);
      else assert.notEqual(decoded?.row, row, `${row.name} without ${name}`);
    }
  }
});

test('without Zihintpause pause is a fence, without Zicbop prefetches are ori', () => {
  const plain = createDecoder(parseCpu('rv64,zihintpause=off,zicbop=off'));
  assert.equal(plain.decode(0x0100000f)?.row.name, 'fence');
  assert.equal(plain.decode(0x00106013)?.row.name, 'ori');
});

test('rows as data find the same instruction as decode', () => {
  let state = 1;
  for (let i = 0; i < 100_000; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    const code = decoder.rows[i % decoder.rows.length];
    assert.ok(code);
    const bits = ((state & ~code.pattern.mask) | code.pattern.match) >>> 0;
    assert.equal(decoder.rows.find(({ pattern }) => matches(pattern, bits))?.row, decoder.decode(bits)?.row);
  }
});

test('every 16-bit instruction expands as its row says, one by one', () => {
  const expected = new Uint32Array(0x10000);
  for (const code of COMPRESSED_CODES) {
    if (!code.row.extension.split('+').every((name) => DEFAULT_EXTENSIONS.has(name))) continue;
    if (!code.target.row.extension.split('+').every((name) => DEFAULT_EXTENSIONS.has(name))) continue;
    for (const bits of instructionsOf(code.pattern, 0xffff)) expected[bits] = expand(code, bits) ?? expected[bits] ?? 0;
  }
  assert.deepEqual(decoder.expansions, expected);
});

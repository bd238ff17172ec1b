/**
 * F, D and Zfh: floating point in the formats S, D and H. Unprivileged specification, chapters 20, 21 and 23. The three
 * extensions bring the same instructions, so that each row is written once as a function of the format; Zfhmin is
 * the part of Zfh that only moves and converts. Operand registers are read through their NaN boxes, except where
 * bits are moved as they are (stores, fmv.x).
 */
import type { FloatOperation } from '../float-operations.ts';
import type { FloatLetter, Machine } from '../machine.ts';
import { type Row, row } from '../row.ts';

/** What the mnemonics' letter brings: the two fmt bits, the width code of loads and stores, the extension. */
export const FORMATS = {
  h: { fmt: '10', width: '001', bytes: 2, extension: 'zfh', minimal: 'zfhmin', sign: 1n << 15n, from: 'fromHalf' },
  s: { fmt: '00', width: '010', bytes: 4, extension: 'f', minimal: 'f', sign: 1n << 31n, from: 'fromSingle' },
  d: { fmt: '01', width: '011', bytes: 8, extension: 'd', minimal: 'd', sign: 1n << 63n, from: 'fromDouble' },
} as const satisfies Record<FloatLetter, object>;

/** An operation on f registers, rounded by the instruction's mode. */
export const rounded = <V, C>(
  m: Machine<V, C>,
  operation: FloatOperation,
  f: FloatLetter,
  operands: 1 | 2 | 3,
): void => {
  m.requireFloat();
  const mode = m.roundingMode();
  const values = [m.unbox(f, m.frs1())];
  if (operands > 1) values.push(m.unbox(f, m.frs2()));
  if (operands > 2) values.push(m.unbox(f, m.frs3()));
  m.frd(m.box(f, m.float(operation, f, ...values, mode)));
};

/** A choice between two operands, which rounds nothing. */
export const chosen = <V, C>(m: Machine<V, C>, operation: FloatOperation, f: FloatLetter): void => {
  m.requireFloat();
  m.frd(m.box(f, m.float(operation, f, m.unbox(f, m.frs1()), m.unbox(f, m.frs2()))));
};

export const compared = <V, C>(m: Machine<V, C>, operation: FloatOperation, f: FloatLetter): void => {
  m.requireFloat();
  m.rd(m.float(operation, f, m.unbox(f, m.frs1()), m.unbox(f, m.frs2())));
};

const toInteger = <V, C>(m: Machine<V, C>, operation: FloatOperation, f: FloatLetter): void => {
  m.requireFloat();
  const mode = m.roundingMode();
  m.rd(m.float(operation, f, m.unbox(f, m.frs1()), mode));
};

const fromInteger = <V, C>(m: Machine<V, C>, operation: FloatOperation, f: FloatLetter): void => {
  m.requireFloat();
  const mode = m.roundingMode();
  m.frd(m.box(f, m.float(operation, f, m.rs1(), mode)));
};

const convert = <V, C>(m: Machine<V, C>, from: FloatLetter, to: FloatLetter): void => {
  m.requireFloat();
  const mode = m.roundingMode();
  m.frd(m.box(to, m.float(FORMATS[from].from, to, m.unbox(from, m.frs1()), mode)));
};

/** The magnitude of rs1 with the sign that `sign` makes of both operands' (only its top bit counts). */
const injectSign = <V, C>(m: Machine<V, C>, f: FloatLetter, sign: (a: V, b: V) => V): void => {
  m.requireFloat();
  const a = m.let(m.unbox(f, m.frs1()));
  const b = m.unbox(f, m.frs2());
  const bit = FORMATS[f].sign;
  m.frd(m.box(f, m.or(m.and(a, m.const(bit - 1n)), m.and(sign(a, b), m.const(bit)))));
};

/** The register's low bits, sign-extended. */
const lowBits = <V, C>(m: Machine<V, C>, f: FloatLetter, raw: V): V =>
  f === 'h' ? m.sext16(raw) : f === 's' ? m.sext32(raw) : raw;

const unsignedLowBits = <V, C>(m: Machine<V, C>, f: FloatLetter, value: V): V =>
  f === 'h' ? m.and(value, m.const(0xffff)) : f === 's' ? m.zext32(value) : value;

function rowsOf(f: FloatLetter): readonly Row[] {
  const { fmt, width, bytes, extension, minimal } = FORMATS[f];
  const x = f === 's' ? 'w' : f;
  // biome-ignore format: table
  return [
    row(`fl${x}`, `imm[11:0] rs1 ${width} rd 0000111`, `fl${x} frd, imm(rs1)`, minimal, 'load', 'Loads a floating-point register.', (m) => {
      m.requireFloat();
      m.frd(m.box(f, m.load(m.add(m.rs1(), m.imm()), bytes, false)));
    }),
    row(`fs${x}`, `imm[11:5] rs2 rs1 ${width} imm[4:0] 0100111`, `fs${x} frs2, imm(rs1)`, minimal, 'store', 'Stores a floating-point register.', (m) => {
      m.requireFloat();
      m.store(m.add(m.rs1(), m.imm()), bytes, m.frs2());
    }),
    row(`fmv.x.${x}`, `11100${fmt} 00000 rs1 000 rd 1010011`, `fmv.x.${x} rd, frs1`, minimal, 'float', 'Moves the bits to an integer register, sign-extended.', (m) => {
      m.requireFloat();
      m.rd(lowBits(m, f, m.frs1()));
    }),
    row(`fmv.${x}.x`, `11110${fmt} 00000 rs1 000 rd 1010011`, `fmv.${x}.x frd, rs1`, minimal, 'float', 'Moves the low bits of an integer register.', (m) => {
      m.requireFloat();
      m.frd(m.box(f, unsignedLowBits(m, f, m.rs1())));
    }),

    row(`fadd.${f}`,   `00000${fmt} rs2 rs1 rm rd 1010011`, `fadd.${f} frd, frs1, frs2, rm`, extension, 'float', 'Adds.', (m) => rounded(m, 'add', f, 2)),
    row(`fsub.${f}`,   `00001${fmt} rs2 rs1 rm rd 1010011`, `fsub.${f} frd, frs1, frs2, rm`, extension, 'float', 'Subtracts rs2 from rs1.', (m) => rounded(m, 'subtract', f, 2)),
    row(`fmul.${f}`,   `00010${fmt} rs2 rs1 rm rd 1010011`, `fmul.${f} frd, frs1, frs2, rm`, extension, 'float', 'Multiplies.', (m) => rounded(m, 'multiply', f, 2)),
    row(`fdiv.${f}`,   `00011${fmt} rs2 rs1 rm rd 1010011`, `fdiv.${f} frd, frs1, frs2, rm`, extension, 'float', 'Divides rs1 by rs2.', (m) => rounded(m, 'divide', f, 2)),
    row(`fsqrt.${f}`,  `01011${fmt} 00000 rs1 rm rd 1010011`, `fsqrt.${f} frd, frs1, rm`, extension, 'float', 'Square root.', (m) => rounded(m, 'squareRoot', f, 1)),
    row(`fmadd.${f}`,  `rs3 ${fmt} rs2 rs1 rm rd 1000011`, `fmadd.${f} frd, frs1, frs2, frs3, rm`, extension, 'float', 'rs1 * rs2 + rs3, rounded once.', (m) => rounded(m, 'multiplyAdd', f, 3)),
    row(`fmsub.${f}`,  `rs3 ${fmt} rs2 rs1 rm rd 1000111`, `fmsub.${f} frd, frs1, frs2, frs3, rm`, extension, 'float', 'rs1 * rs2 - rs3, rounded once.', (m) => rounded(m, 'multiplySubtract', f, 3)),
    row(`fnmsub.${f}`, `rs3 ${fmt} rs2 rs1 rm rd 1001011`, `fnmsub.${f} frd, frs1, frs2, frs3, rm`, extension, 'float', '-(rs1 * rs2) + rs3, rounded once.', (m) => rounded(m, 'negatedMultiplySubtract', f, 3)),
    row(`fnmadd.${f}`, `rs3 ${fmt} rs2 rs1 rm rd 1001111`, `fnmadd.${f} frd, frs1, frs2, frs3, rm`, extension, 'float', '-(rs1 * rs2) - rs3, rounded once.', (m) => rounded(m, 'negatedMultiplyAdd', f, 3)),

    row(`fsgnj.${f}`,  `00100${fmt} rs2 rs1 000 rd 1010011`, `fsgnj.${f} frd, frs1, frs2`, extension, 'float', 'rs1 with the sign of rs2.', (m) => injectSign(m, f, (_, b) => b)),
    row(`fsgnjn.${f}`, `00100${fmt} rs2 rs1 001 rd 1010011`, `fsgnjn.${f} frd, frs1, frs2`, extension, 'float', 'rs1 with the opposite sign of rs2.', (m) => injectSign(m, f, (_, b) => m.not(b))),
    row(`fsgnjx.${f}`, `00100${fmt} rs2 rs1 010 rd 1010011`, `fsgnjx.${f} frd, frs1, frs2`, extension, 'float', 'rs1 with the exclusive or of both signs.', (m) => injectSign(m, f, (a, b) => m.xor(a, b))),
    row(`fmin.${f}`,   `00101${fmt} rs2 rs1 000 rd 1010011`, `fmin.${f} frd, frs1, frs2`, extension, 'float', 'The lesser; a number rather than a NaN.', (m) => chosen(m, 'minimumNumber', f)),
    row(`fmax.${f}`,   `00101${fmt} rs2 rs1 001 rd 1010011`, `fmax.${f} frd, frs1, frs2`, extension, 'float', 'The greater; a number rather than a NaN.', (m) => chosen(m, 'maximumNumber', f)),
    row(`fle.${f}`,    `10100${fmt} rs2 rs1 000 rd 1010011`, `fle.${f} rd, frs1, frs2`, extension, 'float', 'One if less or equal; any NaN is invalid.', (m) => compared(m, 'lessOrEqual', f)),
    row(`flt.${f}`,    `10100${fmt} rs2 rs1 001 rd 1010011`, `flt.${f} rd, frs1, frs2`, extension, 'float', 'One if less; any NaN is invalid.', (m) => compared(m, 'less', f)),
    row(`feq.${f}`,    `10100${fmt} rs2 rs1 010 rd 1010011`, `feq.${f} rd, frs1, frs2`, extension, 'float', 'One if equal; signaling NaNs are invalid.', (m) => compared(m, 'equal', f)),
    row(`fclass.${f}`, `11100${fmt} 00000 rs1 001 rd 1010011`, `fclass.${f} rd, frs1`, extension, 'float', 'One bit of ten that tells the class.', (m) => {
      m.requireFloat();
      m.rd(m.float('classify', f, m.unbox(f, m.frs1())));
    }),

    row(`fcvt.w.${f}`,  `11000${fmt} 00000 rs1 rm rd 1010011`, `fcvt.w.${f} rd, frs1, rm`, extension, 'float', 'To a signed word.', (m) => toInteger(m, 'toW', f)),
    row(`fcvt.wu.${f}`, `11000${fmt} 00001 rs1 rm rd 1010011`, `fcvt.wu.${f} rd, frs1, rm`, extension, 'float', 'To an unsigned word, which is then sign-extended.', (m) => toInteger(m, 'toWu', f)),
    row(`fcvt.l.${f}`,  `11000${fmt} 00010 rs1 rm rd 1010011`, `fcvt.l.${f} rd, frs1, rm`, extension, 'float', 'To a signed doubleword.', (m) => toInteger(m, 'toL', f)),
    row(`fcvt.lu.${f}`, `11000${fmt} 00011 rs1 rm rd 1010011`, `fcvt.lu.${f} rd, frs1, rm`, extension, 'float', 'To an unsigned doubleword.', (m) => toInteger(m, 'toLu', f)),
    row(`fcvt.${f}.w`,  `11010${fmt} 00000 rs1 rm rd 1010011`, `fcvt.${f}.w frd, rs1, rm`, extension, 'float', 'From a signed word.', (m) => fromInteger(m, 'fromW', f)),
    row(`fcvt.${f}.wu`, `11010${fmt} 00001 rs1 rm rd 1010011`, `fcvt.${f}.wu frd, rs1, rm`, extension, 'float', 'From an unsigned word.', (m) => fromInteger(m, 'fromWu', f)),
    row(`fcvt.${f}.l`,  `11010${fmt} 00010 rs1 rm rd 1010011`, `fcvt.${f}.l frd, rs1, rm`, extension, 'float', 'From a signed doubleword.', (m) => fromInteger(m, 'fromL', f)),
    row(`fcvt.${f}.lu`, `11010${fmt} 00011 rs1 rm rd 1010011`, `fcvt.${f}.lu frd, rs1, rm`, extension, 'float', 'From an unsigned doubleword.', (m) => fromInteger(m, 'fromLu', f)),
  ];
}

/** The rs2 field names the source format, fmt the result's. */
function conversion(to: FloatLetter, from: FloatLetter, extension: string): Row {
  const name = `fcvt.${to}.${from}`;
  const pattern = `01000${FORMATS[to].fmt} 000${FORMATS[from].fmt} rs1 rm rd 1010011`;
  const summary = `From format ${from.toUpperCase()} to ${to.toUpperCase()}.`;
  return row(name, pattern, `${name} frd, frs1, rm`, extension, 'float', summary, (m) => convert(m, from, to));
}

export const FLOAT: readonly Row[] = [
  ...rowsOf('s'),
  ...rowsOf('d'),
  ...rowsOf('h'),
  conversion('s', 'd', 'd'),
  conversion('d', 's', 'd'),
  conversion('s', 'h', 'zfhmin'),
  conversion('h', 's', 'zfhmin'),
  conversion('d', 'h', 'zfhmin+d'),
  conversion('h', 'd', 'zfhmin+d'),
];

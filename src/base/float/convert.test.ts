import assert from 'node:assert/strict';
import { test } from 'node:test';
import { corners, random32, randomPattern } from './cases.testing.ts';
import {
  box,
  convert,
  type FloatFormat,
  f16,
  f32,
  f64,
  fromInteger,
  type IntegerType,
  loadImmediate,
  moveFromInteger,
  moveToInteger,
  NV,
  NX,
  RDN,
  RMM,
  RNE,
  ROUNDING_MODES,
  type RoundingMode,
  RTZ,
  RUP,
  roundToIntegral,
  roundToIntegralExact,
  toInteger,
  toIntegerModulo,
  UF,
  unbox,
} from './index.ts';
import { compareFractions, type Fraction, numberOf, roundCut } from './ordered-numbers.testing.ts';

const FORMATS = [f16, f32, f64] as const;
const TYPES: readonly IntegerType[] = ['w', 'wu', 'l', 'lu'];
const LIMITS: Record<IntegerType, readonly [bigint, bigint]> = {
  w: [-(2n ** 31n), 2n ** 31n - 1n],
  wu: [0n, 2n ** 32n - 1n],
  l: [-(2n ** 63n), 2n ** 63n - 1n],
  lu: [0n, 2n ** 64n - 1n],
};

test('to integers: rounded, clipped with NV, inexact with NX; 32-bit results sign-extended', () => {
  const next = random32(11);
  for (const format of FORMATS) {
    const values = [
      ...corners(format),
      ...aroundLimits(format),
      ...Array.from({ length: 400 }, () => randomPattern(format, next)),
    ];
    for (const a of values)
      for (const mode of ROUNDING_MODES) for (const type of TYPES) checkToInteger(format, type, a, mode);
  }
});

test('every f16 to integers', () => {
  for (let a = 0n; a < 0x10000n; a++)
    for (const type of TYPES) checkToInteger(f16, type, a, Number(a % 5n) as RoundingMode);
});

test("the manual's table of invalid conversions", () => {
  const rows: readonly (readonly [IntegerType, bigint, bigint])[] = [
    ['w', 0xffffffff80000000n, 0x7fffffffn],
    ['wu', 0n, 0xffffffffffffffffn],
    ['l', 0x8000000000000000n, 0x7fffffffffffffffn],
    ['lu', 0n, 0xffffffffffffffffn],
  ];
  for (const format of FORMATS) {
    for (const [type, least, greatest] of rows) {
      assert.deepEqual(toInteger(format, type, format.infinity | format.signBit, RNE), { value: least, flags: NV });
      for (const high of [
        format.infinity,
        format.canonicalNaN,
        format.canonicalNaN | format.signBit,
        format.infinity + 1n,
      ]) {
        assert.deepEqual(toInteger(format, type, high, RNE), { value: greatest, flags: NV });
      }
    }
  }
  const minusHalf = 0xbfe0000000000000n;
  assert.deepEqual(toInteger(f64, 'wu', minusHalf, RTZ), { value: 0n, flags: NX }, 'rounds into range');
  assert.deepEqual(toInteger(f64, 'wu', minusHalf, RDN), { value: 0n, flags: NV }, 'rounds out of range');
});

test('from integers: rounded to the neighbours that the mode names', () => {
  const next = random32(13);
  const registers = [
    0n,
    1n,
    2n ** 64n - 1n,
    2n ** 63n,
    2n ** 31n,
    2n ** 32n - 1n,
    65504n,
    65519n,
    65520n,
    2n ** 24n + 1n,
    2n ** 53n + 1n,
  ];
  for (let i = 0; i < 400; i++) {
    registers.push(BigInt.asUintN(64, ((BigInt(next()) << 32n) | BigInt(next())) >> BigInt(next() % 64)));
    registers.push(
      BigInt.asUintN(64, -1n << BigInt(next() % 64)),
      BigInt.asUintN(64, (1n << BigInt(next() % 64)) + 1n),
    );
  }
  for (const format of FORMATS) {
    for (const register of registers)
      for (const type of TYPES) {
        const integer =
          type.length === 2
            ? BigInt.asUintN(type === 'wu' ? 32 : 64, register)
            : BigInt.asIntN(type === 'w' ? 32 : 64, register);
        const magnitude = { numerator: integer < 0n ? -integer : integer, denominator: 1n };
        for (const mode of ROUNDING_MODES) {
          const want =
            integer === 0n
              ? { bits: 0n, flags: 0 }
              : roundCut(format, integer < 0n, (x) => compareFractions(magnitude, x), mode);
          assert.deepEqual(
            fromInteger(format, type, register, mode),
            want,
            `${format.name} ${type} ${register.toString(16)} ${mode}`,
          );
        }
      }
  }
});

test('between formats: widening is exact, narrowing rounds; NaNs become canonical', () => {
  const next = random32(17);
  for (const from of FORMATS) {
    for (const to of FORMATS) {
      if (from === to) continue;
      for (const a of [...corners(from), ...Array.from({ length: 300 }, () => randomPattern(from, next))]) {
        for (const mode of ROUNDING_MODES) checkConvert(from, to, a, mode);
      }
    }
  }
  for (let a = 0n; a < 0x10000n; a++) {
    for (const wide of [f32, f64]) {
      const there = convert(f16, wide, a, RNE);
      const back = convert(wide, f16, there.bits, RTZ);
      const nan = a % 0x8000n > 0x7c00n;
      assert.equal(back.bits, nan ? 0x7e00n : a);
      assert.equal(there.flags, nan && a % 0x8000n < 0x7e00n ? NV : 0);
      assert.equal(back.flags, 0);
    }
  }
  assert.deepEqual(convert(f64, f32, 1n, RNE), { bits: 0n, flags: NX | UF });
});

test('to integral numbers of the same format, every f16 and corners of the others', () => {
  const next = random32(19);
  for (const format of FORMATS) {
    const values =
      format === f16
        ? Array.from({ length: 0x10000 }, (_, i) => BigInt(i))
        : [
            ...corners(format),
            ...aroundLimits(format),
            ...Array.from({ length: 500 }, () => randomPattern(format, next)),
          ];
    for (const a of values)
      checkIntegral(format, a, format === f16 ? [Number(a % 5n) as RoundingMode] : ROUNDING_MODES);
  }
});

test('fcvtmod.w.d agrees with JavaScript, whose conversion it was made for', () => {
  const next = random32(23);
  const words = new DataView(new ArrayBuffer(8));
  for (const a of [
    ...corners(f64),
    ...aroundLimits(f64),
    ...Array.from({ length: 3000 }, () => randomPattern(f64, next)),
  ]) {
    words.setBigUint64(0, a);
    const { value, flags } = toIntegerModulo(a);
    assert.equal(value, BigInt.asUintN(64, BigInt(words.getFloat64(0) | 0)), a.toString(16));
    assert.equal(flags, toInteger(f64, 'w', a, RTZ).flags);
  }
});

test('the constants of fli', () => {
  // Sign, exponent and fraction as the manual prints them for single precision.
  // biome-ignore format: a table
  const manual: readonly (readonly [number, number, number])[] = [
    [0, 0b01111111, 0], [2, 0b01101111, 0], [3, 0b01110000, 0], [4, 0b01110111, 0], [5, 0b01111000, 0], [6, 0b01111011, 0],
    [7, 0b01111100, 0], [8, 0b01111101, 0], [9, 0b01111101, 2], [10, 0b01111101, 4], [11, 0b01111101, 6], [12, 0b01111110, 0],
    [13, 0b01111110, 2], [14, 0b01111110, 4], [15, 0b01111110, 6], [16, 0b01111111, 0], [17, 0b01111111, 2], [18, 0b01111111, 4],
    [19, 0b01111111, 6], [20, 0b10000000, 0], [21, 0b10000000, 2], [22, 0b10000000, 4], [23, 0b10000001, 0], [24, 0b10000010, 0],
    [25, 0b10000011, 0], [26, 0b10000110, 0], [27, 0b10000111, 0], [28, 0b10001110, 0], [29, 0b10001111, 0], [30, 0b11111111, 0],
    [31, 0b11111111, 4],
  ];
  for (const [index, exponent, eighths] of manual) {
    const single = (BigInt(exponent) << 23n) | (BigInt(eighths) << 20n) | (index === 0 ? f32.signBit : 0n);
    assert.equal(loadImmediate(f32, index), single, `fli.s ${index}`);
    assert.equal(loadImmediate(f64, index), convert(f32, f64, single, RNE).bits, `fli.d ${index}`);
    assert.equal(loadImmediate(f16, index), convert(f32, f16, single, RNE).bits, `fli.h ${index}`);
  }
  for (const format of FORMATS) assert.equal(loadImmediate(format, 1), format.smallestNormal);
  assert.equal(loadImmediate(f16, 29), f16.infinity);
  assert.equal(loadImmediate(f16, 2), 0x100n);
  assert.throws(() => loadImmediate(f32, 32), /no such constant/);
});

test('boxes: ones above, else the canonical NaN; moves look at no box', () => {
  for (const [format, narrow] of [
    [f16, 0x8001n],
    [f32, 0x80000001n],
    [f64, 0x8000000000000001n],
  ] as const) {
    assert.equal(unbox(format, box(format, narrow)), narrow);
    assert.equal(moveToInteger(format, narrow), BigInt.asUintN(64, BigInt.asIntN(format.bits, narrow)));
    assert.equal(
      moveFromInteger(format, 0x7654321012345678n),
      box(format, BigInt.asUintN(format.bits, 0x7654321012345678n)),
    );
    for (let bit = format.bits; bit < 64; bit++) {
      const broken = box(format, narrow) ^ (1n << BigInt(bit));
      assert.equal(unbox(format, broken), format.canonicalNaN, `bit ${bit}`);
      assert.equal(moveToInteger(format, broken), moveToInteger(format, narrow));
    }
  }
  assert.equal(box(f32, 0x3f800000n), 0xffffffff3f800000n);
  assert.equal(box(f16, 0x3c00n), 0xffffffffffff3c00n);
});

function checkToInteger(format: FloatFormat, type: IntegerType, a: bigint, mode: RoundingMode): void {
  const [least, greatest] = LIMITS[type];
  const got = toInteger(format, type, a, mode);
  const at = `${format.name} ${type} ${a.toString(16)} mode ${mode}`;
  const register = (integer: bigint): bigint =>
    BigInt.asUintN(64, BigInt.asIntN(type.startsWith('w') ? 32 : 64, integer));
  if (isNaNPattern(format, a)) return void assert.deepEqual(got, { value: register(greatest), flags: NV }, at);
  if (a % format.signBit === format.infinity) {
    return void assert.deepEqual(got, { value: register(a === format.infinity ? greatest : least), flags: NV }, at);
  }
  const { integer, exact } = roundFraction(numberOf(format, a), mode);
  const clipped = integer < least ? least : integer > greatest ? greatest : integer;
  const flags = clipped !== integer ? NV : exact ? 0 : NX;
  assert.deepEqual(got, { value: register(clipped), flags }, at);
}

function checkConvert(from: FloatFormat, to: FloatFormat, a: bigint, mode: RoundingMode): void {
  const got = convert(from, to, a, mode);
  const at = `${from.name} to ${to.name} ${a.toString(16)} mode ${mode}`;
  const negative = a >= from.signBit;
  const sign = negative ? to.signBit : 0n;
  const magnitude = a % from.signBit;
  if (isNaNPattern(from, a)) {
    assert.deepEqual(got, { bits: to.canonicalNaN, flags: magnitude < from.canonicalNaN ? NV : 0 }, at);
  } else if (magnitude === from.infinity || magnitude === 0n) {
    assert.deepEqual(got, { bits: sign | (magnitude === 0n ? 0n : to.infinity), flags: 0 }, at);
  } else {
    const value = numberOf(from, magnitude);
    assert.deepEqual(
      got,
      roundCut(to, negative, (x) => compareFractions(value, x), mode),
      at,
    );
  }
}

function checkIntegral(format: FloatFormat, a: bigint, modes: readonly RoundingMode[]): void {
  for (const mode of modes) {
    const at = `${format.name} ${a.toString(16)} mode ${mode}`;
    const exactly = roundToIntegralExact(format, a, mode);
    const plain = roundToIntegral(format, a, mode);
    assert.equal(plain.bits, exactly.bits, at);
    assert.equal(plain.flags, exactly.flags & ~NX, at);
    if (isNaNPattern(format, a)) {
      assert.deepEqual(
        exactly,
        { bits: format.canonicalNaN, flags: a % format.signBit < format.canonicalNaN ? NV : 0 },
        at,
      );
    } else if (a % format.signBit === format.infinity) {
      assert.deepEqual(exactly, { bits: a, flags: 0 }, at);
    } else {
      const { integer, exact } = roundFraction(numberOf(format, a), mode);
      assert.equal(compareFractions(numberOf(format, exactly.bits), { numerator: integer, denominator: 1n }), 0, at);
      assert.equal(exactly.bits & format.signBit, a & format.signBit, `sign of ${at}`);
      assert.equal(exactly.flags, exact ? 0 : NX, at);
    }
  }
}

/** Rounds by looking at the integers on both sides, as the definitions of the modes say. */
function roundFraction({ numerator, denominator }: Fraction, mode: RoundingMode): { integer: bigint; exact: boolean } {
  const truncated = numerator / denominator;
  const floor = truncated * denominator > numerator ? truncated - 1n : truncated;
  if (floor * denominator === numerator) return { integer: floor, exact: true };
  const twiceAboveFloor = 2n * (numerator - floor * denominator);
  const tie = twiceAboveFloor === denominator;
  const nearest = twiceAboveFloor < denominator ? floor : floor + 1n;
  const choices: Record<RoundingMode, bigint> = {
    [RNE]: tie ? (floor % 2n === 0n ? floor : floor + 1n) : nearest,
    [RTZ]: truncated,
    [RDN]: floor,
    [RUP]: floor + 1n,
    [RMM]: tie ? (numerator < 0n ? floor : floor + 1n) : nearest,
  };
  return { integer: choices[mode], exact: false };
}

/** Numbers around the ends of the integer types, a half and a last place away, both signs. */
function aroundLimits(format: FloatFormat): bigint[] {
  const bias = 2 ** (format.exponentBits - 1) - 1;
  const out: bigint[] = [];
  for (const power of [31, 32, 63, 64, 24, 52, 53]) {
    if (power > bias) continue;
    const at = BigInt(bias + power) << BigInt(format.fractionBits);
    for (let near = -6n; near <= 6n; near++) out.push(at + near, (at + near) | format.signBit);
    const shift = BigInt(format.fractionBits - power);
    if (shift > 0n)
      for (const near of [at - (1n << shift), at + (1n << (shift - 1n)), at - 1n])
        out.push(near, near | format.signBit);
  }
  return out;
}

function isNaNPattern(format: FloatFormat, bits: bigint): boolean {
  return bits % format.signBit > format.infinity;
}

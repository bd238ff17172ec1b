import assert from 'node:assert/strict';
import { test } from 'node:test';
import { corners, random32, randomPattern } from './cases.testing.ts';
import {
  add,
  DZ,
  divide,
  type FloatFormat,
  type FloatResult,
  f16,
  f32,
  f64,
  integerSquareRoot,
  multiply,
  multiplyAdd,
  multiplySubtract,
  NV,
  NX,
  negatedMultiplyAdd,
  negatedMultiplySubtract,
  OF,
  RDN,
  RMM,
  RNE,
  ROUNDING_MODES,
  type RoundingMode,
  RTZ,
  RUP,
  squareRoot,
  subtract,
  UF,
  unpack,
} from './index.ts';
import { type Cut, compareFractions, type Fraction, numberOf, roundCut } from './ordered-numbers.testing.ts';

const SEED = 20_251_123;

test('sums, products, quotients of f16 corners are the neighbours that the rounding mode names', () => {
  const values = corners(f16);
  for (const mode of ROUNDING_MODES) {
    for (const a of values) for (const b of values) checkBinary(f16, a, b, mode);
  }
});

test('random sums, products, quotients are the neighbours that the rounding mode names', (t) => {
  t.diagnostic(`seed ${SEED}`);
  const next = random32(SEED);
  for (const [format, count] of [
    [f16, 12_000],
    [f32, 4_000],
    [f64, 500],
  ] as const) {
    for (let i = 0; i < count; i++) {
      checkBinary(format, randomPattern(format, next), randomPattern(format, next), modeOf(next()));
    }
  }
});

test('every square root of f16, every mode', () => {
  for (let a = 0n; a <= 0x7bffn; a++) {
    for (const mode of ROUNDING_MODES) checkRoot(f16, a, mode);
  }
  for (let a = 0x8001n; a <= 0xfc00n; a++) same(squareRoot(f16, a, RNE), f16.canonicalNaN, NV, `sqrt ${a}`);
});

test('square roots of f32 and f64', () => {
  const next = random32(SEED);
  for (const format of [f32, f64]) {
    for (const a of [...corners(format), ...Array.from({ length: 300 }, () => randomPattern(format, next))]) {
      const x = unpack(format, a);
      if (x.kind === 'finite' && !x.negative) for (const mode of ROUNDING_MODES) checkRoot(format, a, mode);
    }
  }
});

test('random fused multiply-adds are rounded once', (t) => {
  t.diagnostic(`seed ${SEED}`);
  const next = random32(SEED);
  for (const [format, count] of [
    [f16, 12_000],
    [f32, 3_000],
    [f64, 400],
  ] as const) {
    for (let i = 0; i < count; i++) {
      const a = randomPattern(format, next);
      const b = randomPattern(format, next);
      // Half of the time an addend that cancels all but the product's rounding error.
      const c = next() & 1 ? multiply(format, a ^ format.signBit, b, RNE).bits : randomPattern(format, next);
      checkFused(format, a, b, c, modeOf(next()));
    }
  }
});

test('f64 and f32, to nearest: the host agrees', (t) => {
  t.diagnostic(`seed ${SEED}`);
  const next = random32(SEED);
  const words = new DataView(new ArrayBuffer(8));
  const double = (bits: bigint): number => {
    words.setBigUint64(0, bits);
    return words.getFloat64(0);
  };
  const single = (bits: bigint): number => {
    words.setUint32(0, Number(bits));
    return words.getFloat32(0);
  };
  const host = (format: FloatFormat, x: number): bigint => {
    if (Number.isNaN(x)) return format.canonicalNaN;
    if (format === f64) words.setFloat64(0, x);
    else words.setFloat32(0, x);
    return format === f64 ? words.getBigUint64(0) : BigInt(words.getUint32(0));
  };
  for (const [format, read] of [
    [f64, double],
    [f32, single],
  ] as const) {
    const check = (a: bigint, b: bigint) => {
      const [x, y] = [read(a), read(b)];
      const at = `${format.name} ${a.toString(16)} ${b.toString(16)}`;
      assert.equal(add(format, a, b, RNE).bits, host(format, x + y), `add ${at}`);
      assert.equal(subtract(format, a, b, RNE).bits, host(format, x - y), `subtract ${at}`);
      assert.equal(multiply(format, a, b, RNE).bits, host(format, x * y), `multiply ${at}`);
      assert.equal(divide(format, a, b, RNE).bits, host(format, x / y), `divide ${at}`);
      assert.equal(squareRoot(format, a, RNE).bits, host(format, Math.sqrt(x)), `squareRoot ${at}`);
    };
    const values = corners(format);
    for (const a of values) for (const b of values) check(a, b);
    for (let i = 0; i < 15_000; i++) check(randomPattern(format, next), randomPattern(format, next));
  }
});

test('invalid operations give the canonical NaN and NV; division of a number by zero gives an infinity and DZ', () => {
  for (const format of [f16, f32, f64]) {
    const { infinity: inf, signBit: minus, canonicalNaN: quiet } = format;
    const one = oneOf(format);
    const signaling = inf + 1n;
    same(add(format, inf, inf | minus, RNE), quiet, NV, 'inf - inf');
    same(subtract(format, inf, inf, RNE), quiet, NV, 'inf - inf');
    same(add(format, inf, one, RNE), inf, 0, 'inf + 1');
    same(multiply(format, 0n, inf | minus, RNE), quiet, NV, '0 * -inf');
    same(divide(format, 0n, minus, RNE), quiet, NV, '0 / -0');
    same(divide(format, inf, inf, RNE), quiet, NV, 'inf / inf');
    same(divide(format, one, minus, RNE), inf | minus, DZ, '1 / -0');
    same(divide(format, inf, 0n, RNE), inf, 0, 'inf / 0');
    same(divide(format, one, inf | minus, RNE), minus, 0, '1 / -inf');
    same(squareRoot(format, one | minus, RNE), quiet, NV, 'sqrt -1');
    same(squareRoot(format, minus, RNE), minus, 0, 'sqrt -0');
    same(multiplyAdd(format, 0n, inf, quiet, RNE), quiet, NV, '0 * inf + qNaN');
    same(multiplyAdd(format, one, inf, inf | minus, RNE), quiet, NV, '1 * inf - inf');
    same(multiplyAdd(format, quiet + 1n, one, one | minus, RNE), quiet, 0, 'qNaN with a payload');
    for (const operation of [add, subtract, multiply, divide]) {
      same(operation(format, signaling, one, RNE), quiet, NV, `${operation.name} sNaN`);
      same(operation(format, one, signaling, RNE), quiet, NV, `${operation.name} sNaN`);
      same(operation(format, quiet | minus, one, RNE), quiet, 0, `${operation.name} qNaN`);
    }
  }
});

test('exact zeros: the common sign, else + except when rounding down', () => {
  for (const format of [f16, f32, f64]) {
    const one = oneOf(format);
    const minus = format.signBit;
    for (const mode of ROUNDING_MODES) {
      const zero = mode === RDN ? minus : 0n;
      same(add(format, one, one | minus, mode), zero, 0, '1 - 1');
      same(subtract(format, one, one, mode), zero, 0, '1 - 1');
      same(add(format, 0n, minus, mode), zero, 0, '0 + -0');
      same(add(format, minus, minus, mode), minus, 0, '-0 + -0');
      same(multiplyAdd(format, one, one, one | minus, mode), zero, 0, '1 * 1 - 1');
      same(multiplyAdd(format, 0n, one | minus, minus, mode), minus, 0, '-0 + -0');
      same(negatedMultiplySubtract(format, one, one, one, mode), zero, 0, '-(1 * 1) + 1');
      same(multiplySubtract(format, one, one, one, mode), zero, 0, '1 * 1 - 1');
      same(negatedMultiplyAdd(format, one, one, one | minus, mode), zero, 0, '-(1 * 1) - -1');
    }
  }
});

test('overflow: to infinity or to the largest finite number, by mode and sign', () => {
  for (const format of [f16, f32, f64]) {
    const { largestFinite: most, infinity: inf, signBit: minus } = format;
    for (const mode of ROUNDING_MODES) {
      const up = mode === RTZ || mode === RDN ? most : inf;
      const down = mode === RTZ || mode === RUP ? most : inf;
      same(add(format, most, most, mode), up, OF | NX, 'most + most');
      same(add(format, most | minus, most | minus, mode), down | minus, OF | NX, '-most - most');
    }
    // Half a last place above the largest is where overflow to nearest begins.
    const half = most - (most % format.smallestNormal) - BigInt(format.fractionBits + 1) * format.smallestNormal;
    same(add(format, most, half - 1n, RNE), most, NX, 'just below the threshold');
    same(add(format, most, half, RNE), inf, OF | NX, 'the threshold is a tie to even');
    same(add(format, most, half, RMM), inf, OF | NX, 'the threshold is a tie away');
    same(add(format, most, 1n, RUP), inf, OF | NX, 'rounding up overflows by any excess');
    same(add(format, most, 1n, RTZ), most, NX, 'rounding to zero does not');
  }
});

test('tininess is detected after rounding', () => {
  for (const format of [f16, f32, f64]) {
    const { smallestNormal: least, fractionBits, signBit: minus } = format;
    const one = oneOf(format);
    // (1 - ulp/2) * least: precision to spare above the subnormals, but not in them.
    same(multiply(format, least, one - 1n, RNE), least, NX | UF, 'rounds to least in the subnormals, not before');
    same(multiply(format, least + 1n, one - 1n, RNE), least, NX, 'rounds to least at full precision: not tiny');
    same(multiply(format, least + 1n, one - 1n, RTZ), least - 0n, NX, 'and above least nothing is tiny');
    same(multiply(format, 1n, one - 1n, RNE), 1n, NX | UF, 'tiny and inexact');
    same(multiply(format, 1n, one - 1n, RTZ), 0n, NX | UF, 'to zero');
    same(multiply(format, 1n | minus, 1n, RDN), 1n | minus, NX | UF, 'down to the least');
    same(multiply(format, 1n, 1n, RNE), 0n, NX | UF, 'vanishes');
    same(
      divide(format, least, one + format.smallestNormal, RNE),
      1n << BigInt(fractionBits - 1),
      0,
      'tiny, exact: no UF',
    );
    same(subtract(format, least, 1n, RNE), least - 1n, 0, 'sums in the subnormals are exact');
  }
});

test('fused multiply-add rounds once where multiply and add would round twice', () => {
  const one = oneOf(f64);
  const above = one + 1n;
  const square = multiply(f64, above, above, RNE);
  assert.equal(square.flags, NX);
  const rest = multiplySubtract(f64, above, above, square.bits, RNE);
  same(rest, 0x3970000000000000n, 0, '(1 + 2^-52)^2 - (1 + 2^-51) = 2^-104');
  // A tie broken by a product 2^-1000 below it: double rounding would lose it.
  const tiny = 0x0170000000000000n;
  const tie = 0x3ca0000000000000n;
  same(add(f64, one, tie, RNE), one, NX, 'tie to even');
  const sum = multiplyAdd(f64, above, tie, one, RNE);
  same(sum, above, NX, 'above the tie');
  same(multiplyAdd(f64, tiny, tiny, one, RUP), above, NX, 'a tiny product still rounds up');
  same(
    multiplyAdd(f64, tiny, tiny, one | f64.signBit, RTZ),
    (one | f64.signBit) - 1n,
    NX,
    'and truncates a difference',
  );
});

test('the integer square root is the greatest whose square fits', () => {
  for (let n = 0n; n < 3000n; n++) {
    const root = integerSquareRoot(n);
    assert.ok(root * root <= n && (root + 1n) * (root + 1n) > n, `${n}`);
  }
  for (let k = 1n; k < 140n; k += 7n) {
    const n = 1n << k;
    for (const root of [n - 1n, n, n + 1n]) {
      assert.equal(integerSquareRoot(root * root), root);
      assert.equal(integerSquareRoot(root * root - 1n), root - 1n);
    }
  }
});

function checkBinary(format: FloatFormat, a: bigint, b: bigint, mode: RoundingMode): void {
  if (!finite(format, a) || !finite(format, b)) return;
  const x = numberOf(format, a);
  const y = numberOf(format, b);
  const at = `${format.name} ${a.toString(16)} ${b.toString(16)} mode ${mode}`;
  checkValue(format, add(format, a, b, mode), plus(x, y), mode, `add ${at}`);
  checkValue(format, subtract(format, a, b, mode), plus(x, { ...y, numerator: -y.numerator }), mode, `subtract ${at}`);
  checkValue(format, multiply(format, a, b, mode), times(x, y), mode, `multiply ${at}`);
  if (y.numerator === 0n) return;
  const sign = y.numerator < 0n ? -1n : 1n;
  const reciprocal = { numerator: sign * y.denominator, denominator: sign * y.numerator };
  checkValue(format, divide(format, a, b, mode), times(x, reciprocal), mode, `divide ${at}`);
}

function checkFused(format: FloatFormat, a: bigint, b: bigint, c: bigint, mode: RoundingMode): void {
  if (![a, b, c].every((operand) => finite(format, operand))) return;
  const [x, y, z] = [numberOf(format, a), numberOf(format, b), numberOf(format, c)];
  const at = `${format.name} ${a.toString(16)} ${b.toString(16)} ${c.toString(16)} mode ${mode}`;
  const p = times(x, y);
  const minus = (v: Fraction): Fraction => ({ ...v, numerator: -v.numerator });
  checkValue(format, multiplyAdd(format, a, b, c, mode), plus(p, z), mode, `multiplyAdd ${at}`);
  checkValue(format, multiplySubtract(format, a, b, c, mode), plus(p, minus(z)), mode, `multiplySubtract ${at}`);
  checkValue(
    format,
    negatedMultiplySubtract(format, a, b, c, mode),
    plus(minus(p), z),
    mode,
    `negatedMultiplySubtract ${at}`,
  );
  checkValue(
    format,
    negatedMultiplyAdd(format, a, b, c, mode),
    plus(minus(p), minus(z)),
    mode,
    `negatedMultiplyAdd ${at}`,
  );
}

/** Zero results are left to their own test: only their magnitude and flags are checked. */
function checkValue(format: FloatFormat, got: FloatResult, value: Fraction, mode: RoundingMode, what: string): void {
  if (value.numerator === 0n) {
    same({ bits: got.bits & ~format.signBit, flags: got.flags }, 0n, 0, what);
    return;
  }
  const negative = value.numerator < 0n;
  const magnitude = negative ? { ...value, numerator: -value.numerator } : value;
  const cut: Cut = (x) => compareFractions(magnitude, x);
  const want = roundCut(format, negative, cut, mode);
  same(got, want.bits, want.flags, what);
}

function checkRoot(format: FloatFormat, a: bigint, mode: RoundingMode): void {
  const got = squareRoot(format, a, mode);
  const what = `sqrt ${format.name} ${a.toString(16)} mode ${mode}`;
  const value = numberOf(format, a);
  const cut: Cut = (x) => compareFractions(value, times(x, x));
  const want = a === 0n ? { bits: 0n, flags: 0 } : roundCut(format, false, cut, mode);
  same(got, want.bits, want.flags, what);
}

function same(got: FloatResult, bits: bigint, flags: number, what: string): void {
  if (got.bits !== bits || got.flags !== flags) {
    assert.fail(`${what}: ${got.bits.toString(16)} flags ${got.flags}, want ${bits.toString(16)} flags ${flags}`);
  }
}

function plus(x: Fraction, y: Fraction): Fraction {
  return {
    numerator: x.numerator * y.denominator + y.numerator * x.denominator,
    denominator: x.denominator * y.denominator,
  };
}

function times(x: Fraction, y: Fraction): Fraction {
  return { numerator: x.numerator * y.numerator, denominator: x.denominator * y.denominator };
}

function finite(format: FloatFormat, bits: bigint): boolean {
  return (bits & format.infinity) !== format.infinity;
}

function oneOf(format: FloatFormat): bigint {
  return BigInt(2 ** (format.exponentBits - 1) - 1) << BigInt(format.fractionBits);
}

function modeOf(random: number): RoundingMode {
  return ROUNDING_MODES[random % 5] ?? RNE;
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { corners, random32, randomPattern } from './cases.testing.ts';
import {
  classify,
  copySign,
  copySignNegated,
  copySignXor,
  equal,
  type FloatFormat,
  f16,
  f32,
  f64,
  less,
  lessOrEqual,
  lessOrEqualQuiet,
  lessQuiet,
  maximum,
  maximumNumber,
  minimum,
  minimumNumber,
  NV,
  negate,
} from './index.ts';
import { compareFractions, numberOf } from './ordered-numbers.testing.ts';

const FORMATS = [f16, f32, f64] as const;

test('numbers compare as their values do, and raise nothing', () => {
  forPairs((format, a, b, at) => {
    if (isNaNPattern(format, a) || isNaNPattern(format, b)) return;
    const order = orderOf(format, a, b);
    const expected = { equal: order === 0, less: order < 0, lessOrEqual: order <= 0 };
    assert.deepEqual(equal(format, a, b), { value: expected.equal ? 1n : 0n, flags: 0 }, at);
    for (const operation of [less, lessQuiet]) {
      assert.deepEqual(operation(format, a, b), { value: expected.less ? 1n : 0n, flags: 0 }, at);
    }
    for (const operation of [lessOrEqual, lessOrEqualQuiet]) {
      assert.deepEqual(operation(format, a, b), { value: expected.lessOrEqual ? 1n : 0n, flags: 0 }, at);
    }
  });
});

test('a NaN is unordered; quiet comparisons are invalid for signaling NaNs alone', () => {
  forPairs((format, a, b, at) => {
    if (!isNaNPattern(format, a) && !isNaNPattern(format, b)) return;
    const signaling = isSignaling(format, a) || isSignaling(format, b);
    for (const operation of [equal, lessQuiet, lessOrEqualQuiet]) {
      assert.deepEqual(operation(format, a, b), { value: 0n, flags: signaling ? NV : 0 }, `${operation.name} ${at}`);
    }
    for (const operation of [less, lessOrEqual]) {
      assert.deepEqual(operation(format, a, b), { value: 0n, flags: NV }, `${operation.name} ${at}`);
    }
  });
});

test('minimum and maximum: -0 below +0; NaNs yield to numbers, or with Zfa win', () => {
  forPairs((format, a, b, at) => {
    const flags = isSignaling(format, a) || isSignaling(format, b) ? NV : 0;
    const aIsNaN = isNaNPattern(format, a);
    const bIsNaN = isNaNPattern(format, b);
    if (aIsNaN || bIsNaN) {
      const number = aIsNaN ? (bIsNaN ? format.canonicalNaN : b) : a;
      for (const operation of [minimumNumber, maximumNumber]) {
        assert.deepEqual(operation(format, a, b), { bits: number, flags }, `${operation.name} ${at}`);
      }
      for (const operation of [minimum, maximum]) {
        assert.deepEqual(operation(format, a, b), { bits: format.canonicalNaN, flags }, `${operation.name} ${at}`);
      }
      return;
    }
    const order = orderOf(format, a, b);
    const aBelow = order < 0 || (order === 0 && (a & format.signBit) !== 0n);
    for (const operation of [minimumNumber, minimum]) {
      assert.deepEqual(operation(format, a, b), { bits: aBelow ? a : b, flags: 0 }, `${operation.name} ${at}`);
    }
    const aAbove = order > 0 || (order === 0 && (a & format.signBit) === 0n);
    for (const operation of [maximumNumber, maximum]) {
      assert.deepEqual(operation(format, a, b), { bits: aAbove ? a : b, flags: 0 }, `${operation.name} ${at}`);
    }
  });
});

test('the ten classes', () => {
  for (const format of FORMATS) {
    const { signBit: minus, infinity, smallestNormal, canonicalNaN, largestFinite } = format;
    const classes: readonly (readonly bigint[])[] = [
      [infinity | minus],
      [largestFinite | minus, smallestNormal | minus],
      [(smallestNormal - 1n) | minus, 1n | minus],
      [minus],
      [0n],
      [1n, smallestNormal - 1n],
      [smallestNormal, largestFinite],
      [infinity],
      [infinity + 1n, canonicalNaN - 1n, (infinity + 1n) | minus],
      [canonicalNaN, canonicalNaN | minus, canonicalNaN + 1n],
    ];
    classes.forEach((members, bit) => {
      for (const member of members) assert.deepEqual(classify(format, member), { value: 1n << BigInt(bit), flags: 0 });
    });
  }
});

test('sign injection moves the sign bit and nothing else', () => {
  forPairs((format, a, b, at) => {
    const magnitude = a % format.signBit;
    const signs = { a: a / format.signBit, b: b / format.signBit };
    assert.equal(copySign(format, a, b), magnitude + signs.b * format.signBit, at);
    assert.equal(copySignNegated(format, a, b), magnitude + (1n - signs.b) * format.signBit, at);
    assert.equal(copySignXor(format, a, b), magnitude + ((signs.a + signs.b) % 2n) * format.signBit, at);
    assert.equal(negate(format, a), magnitude + (1n - signs.a) * format.signBit, at);
  });
});

function forPairs(check: (format: FloatFormat, a: bigint, b: bigint, at: string) => void): void {
  const next = random32(7);
  for (const format of FORMATS) {
    const values = [...corners(format), ...Array.from({ length: 20 }, () => randomPattern(format, next))];
    for (const a of values)
      for (const b of values) check(format, a, b, `${format.name} ${a.toString(16)} ${b.toString(16)}`);
  }
}

/** Infinities stand beyond every number. */
function orderOf(format: FloatFormat, a: bigint, b: bigint): number {
  return compareFractions(numberOf(format, a), numberOf(format, b));
}

function isNaNPattern(format: FloatFormat, bits: bigint): boolean {
  return bits % format.signBit > format.infinity;
}

function isSignaling(format: FloatFormat, bits: bigint): boolean {
  return isNaNPattern(format, bits) && bits % format.signBit < format.canonicalNaN;
}

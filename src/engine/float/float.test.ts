import assert from 'node:assert/strict';
import { test } from 'node:test';
import { corners, random32, randomPattern } from '../../base/float/cases.testing.ts';
import { f16, multiply, NX, RNE, ROUNDING_MODES, type RoundingMode } from '../../base/float/index.ts';
import { instantiate, type Subject, subjects } from './float.testing.ts';

const SEED = 20_251_124;
const RANDOM_CASES = 2_000;

const PATHS = [
  { path: 'host instructions where they are right', options: {} },
  { path: 'without a fused multiply-add of the host', options: { fused: false } },
  { path: 'the exact path alone', options: { fast: false } },
] as const;

for (const { path, options } of PATHS) {
  const call = instantiate(options);

  /** Without sticky flags, with NX sticky, and with all others sticky: the result and the union are right. */
  const check = (subject: Subject, operands: readonly bigint[], mode: RoundingMode): void => {
    const want = subject.oracle(operands, mode);
    const passed = subject.shape.rounds ? [...operands, BigInt(mode)] : operands;
    for (const sticky of [0, NX, 0x1e]) {
      const got = call(subject.name, passed, sticky);
      if (got.bits !== want.bits || got.flags !== (want.flags | sticky)) {
        const hex = operands.map((operand) => operand.toString(16)).join(' ');
        const sides = [got, { bits: want.bits, flags: want.flags | sticky }].map(
          (s) => `${s.bits.toString(16)}/${s.flags}`,
        );
        assert.fail(`${subject.name} ${hex} mode ${mode} fflags ${sticky}: ${sides[0]}, want ${sides[1]}`);
      }
    }
  };

  test(`${path}: all pairs of corners`, () => {
    for (const subject of subjects()) {
      if (subject.shape.operands === 3) continue;
      const values = subject.takes ? corners(subject.takes) : registers(random32(SEED), 40);
      const modes = subject.shape.rounds ? ROUNDING_MODES : [RNE as RoundingMode];
      for (const mode of modes) {
        for (const a of values) {
          const x = subject.operation === 'loadImmediate' ? a % 32n : a;
          if (subject.shape.operands === 1) check(subject, [x], mode);
          // Thinned by a step that is prime to the number of corners; nearest, which has two paths, whole.
          else
            values.forEach((b, i) => (mode === RNE || (i + mode) % 5 === 0 ? check(subject, [x, b], mode) : undefined));
        }
      }
    }
  });

  test(`${path}: random operands`, (t) => {
    t.diagnostic(`seed ${SEED}`);
    const next = random32(SEED);
    for (const subject of subjects()) {
      const integers = registers(next, RANDOM_CASES);
      for (let i = 0; i < RANDOM_CASES; i++) {
        const mode = (next() % 2 === 0 ? RNE : ROUNDING_MODES[next() % 5]) as RoundingMode;
        check(subject, operandsOf(subject, next, integers[i] ?? 0n), mode);
      }
    }
  });
}

test('every f16 through every operation of one operand', () => {
  const call = instantiate({});
  for (const subject of subjects()) {
    if (subject.takes !== f16 || subject.shape.operands !== 1) continue;
    for (let a = 0n; a < 0x10000n; a++) {
      const mode = Number(a % 5n) as RoundingMode;
      const got = call(subject.name, subject.shape.rounds ? [a, BigInt(mode)] : [a], 0);
      const want = subject.oracle([a], mode);
      if (got.bits !== want.bits || got.flags !== want.flags)
        assert.fail(`${subject.name} ${a.toString(16)} mode ${mode}`);
    }
  }
});

function operandsOf(subject: Subject, next: () => number, integer: bigint): readonly bigint[] {
  const { takes, shape, operation } = subject;
  if (!takes) return [operation === 'loadImmediate' ? integer % 32n : integer];
  const operands = Array.from({ length: shape.operands }, () => randomPattern(takes, next));
  // Fused operations often cancel all but the product's rounding error.
  const [a, b] = operands;
  if (shape.operands === 3 && a !== undefined && b !== undefined && next() & 1) {
    operands[2] = multiply(takes, a, b, RNE).bits ^ (next() & 1 ? takes.signBit : 0n);
  }
  return operands;
}

/** 64-bit registers of all lengths, dense and sparse, and their negatives. */
function registers(next: () => number, count: number): bigint[] {
  return Array.from({ length: count }, (_, i) => {
    const length = BigInt(next() % 65);
    const random = (BigInt(next()) << 32n) | BigInt(next());
    const kinds = [
      random,
      1n << length,
      (1n << length) + 1n,
      (1n << length) - 1n,
      (random | (1n << 63n)) & (-1n << 40n),
    ];
    const value = (kinds[i % kinds.length] ?? 0n) >> (i % 3 === 0 ? length : 0n);
    return BigInt.asUintN(64, next() & 1 ? value : -value);
  });
}

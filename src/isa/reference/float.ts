/** The operations that rows name, done by the exact floating point of base/float. */
import { assert } from '../../base/assert.ts';
import * as exact from '../../base/float/index.ts';
import type { FloatOperation } from '../float-operations.ts';
import type { FloatLetter } from '../machine.ts';

export const FLOAT_FORMATS: Readonly<Record<FloatLetter, exact.FloatFormat>> = {
  h: exact.f16,
  s: exact.f32,
  d: exact.f64,
};

/** A result: a pattern of the format or a register value, and the flags to accrue (NV 16, DZ 8, OF 4, UF 2, NX 1). */
export interface FloatOutcome {
  readonly value: bigint;
  readonly flags: number;
}

type Operation = (format: exact.FloatFormat, operands: readonly bigint[]) => exact.FloatResult | exact.IntegerResult;
type Binary = (format: exact.FloatFormat, a: bigint, b: bigint) => exact.FloatResult | exact.IntegerResult;
type Rounding<N extends bigint[]> = (
  format: exact.FloatFormat,
  ...rest: [...N, exact.RoundingMode]
) => exact.FloatResult;

const at = (operands: readonly bigint[], index: number): bigint => {
  const operand = operands[index];
  assert(operand !== undefined, 'a floating-point operand is missing');
  return operand;
};
const mode = (operands: readonly bigint[], index: number): exact.RoundingMode => {
  const value = Number(at(operands, index));
  assert(value >= 0 && value <= 4, `no rounding mode: ${value}`);
  return value as exact.RoundingMode;
};
const unary =
  (f: Rounding<[bigint]>): Operation =>
  (format, o) =>
    f(format, at(o, 0), mode(o, 1));
const binary =
  (f: Rounding<[bigint, bigint]>): Operation =>
  (format, o) =>
    f(format, at(o, 0), at(o, 1), mode(o, 2));
const ternary =
  (f: Rounding<[bigint, bigint, bigint]>): Operation =>
  (format, o) =>
    f(format, at(o, 0), at(o, 1), at(o, 2), mode(o, 3));
const choice =
  (f: Binary): Operation =>
  (format, o) =>
    f(format, at(o, 0), at(o, 1));
const to =
  (type: exact.IntegerType): Operation =>
  (format, o) =>
    exact.toInteger(format, type, at(o, 0), mode(o, 1));
const from =
  (type: exact.IntegerType): Operation =>
  (format, o) =>
    exact.fromInteger(format, type, at(o, 0), mode(o, 1));
const between =
  (source: exact.FloatFormat): Operation =>
  (format, o) =>
    exact.convert(source, format, at(o, 0), mode(o, 1));

const OPERATIONS: Readonly<Record<FloatOperation, Operation>> = {
  add: binary(exact.add),
  subtract: binary(exact.subtract),
  multiply: binary(exact.multiply),
  divide: binary(exact.divide),
  squareRoot: unary(exact.squareRoot),
  multiplyAdd: ternary(exact.multiplyAdd),
  multiplySubtract: ternary(exact.multiplySubtract),
  negatedMultiplySubtract: ternary(exact.negatedMultiplySubtract),
  negatedMultiplyAdd: ternary(exact.negatedMultiplyAdd),
  minimumNumber: choice(exact.minimumNumber),
  maximumNumber: choice(exact.maximumNumber),
  minimum: choice(exact.minimum),
  maximum: choice(exact.maximum),
  equal: choice(exact.equal),
  less: choice(exact.less),
  lessOrEqual: choice(exact.lessOrEqual),
  lessQuiet: choice(exact.lessQuiet),
  lessOrEqualQuiet: choice(exact.lessOrEqualQuiet),
  classify: (format, o) => exact.classify(format, at(o, 0)),
  toW: to('w'),
  toWu: to('wu'),
  toL: to('l'),
  toLu: to('lu'),
  toIntegerModulo: (_, o) => exact.toIntegerModulo(at(o, 0)),
  fromW: from('w'),
  fromWu: from('wu'),
  fromL: from('l'),
  fromLu: from('lu'),
  fromHalf: between(exact.f16),
  fromSingle: between(exact.f32),
  fromDouble: between(exact.f64),
  roundToIntegral: unary(exact.roundToIntegral),
  roundToIntegralExact: unary(exact.roundToIntegralExact),
  loadImmediate: (format, o) => ({ bits: exact.loadImmediate(format, Number(at(o, 0))), flags: 0 }),
};

/** Performs an operation; `operands` as Machine.float takes them. */
export function floatOperation(
  operation: FloatOperation,
  format: FloatLetter,
  operands: readonly bigint[],
): FloatOutcome {
  const result = OPERATIONS[operation](FLOAT_FORMATS[format], operands);
  return { value: 'bits' in result ? result.bits : result.value, flags: result.flags };
}

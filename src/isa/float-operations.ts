/**
 * The floating-point operations that rows name in `m.float(operation, format, ...operands)`, as data. The bigint
 * functions of base/float implement them for the reference machine; the engine has Wasm functions of the same names.
 *
 * Values of f16 and f32 are passed unboxed: the pattern in the low bits, zeros above. Integer results are 64-bit
 * register values (32-bit ones sign-extended, the unsigned ones too).
 */

export interface FloatOperationShape {
  /** Operands besides the rounding mode. */
  readonly operands: 1 | 2 | 3;
  /** Whether a rounding mode (0 to 4) comes last. */
  readonly rounds: boolean;
  /** What the operands are: patterns of `format`, of another format, or integers. */
  readonly takes: 'format' | 'h' | 's' | 'd' | 'integer';
  /** A pattern of `format`, or an integer register's value. */
  readonly gives: 'format' | 'integer';
  /** Whether it can raise flags (and so makes mstatus.FS Dirty). */
  readonly flags: boolean;
}

const shape = (
  operands: 1 | 2 | 3,
  rounds: boolean,
  takes: FloatOperationShape['takes'],
  gives: FloatOperationShape['gives'],
  flags = true,
): FloatOperationShape => ({ operands, rounds, takes, gives, flags });

/** Every operation. `format` is the result's format, or the operands' where the result is an integer. */
export const FLOAT_OPERATIONS = {
  add: shape(2, true, 'format', 'format'),
  subtract: shape(2, true, 'format', 'format'),
  multiply: shape(2, true, 'format', 'format'),
  divide: shape(2, true, 'format', 'format'),
  squareRoot: shape(1, true, 'format', 'format'),
  /** a * b + c, and its relatives as FMSUB, FNMSUB and FNMADD define them; rounded once. */
  multiplyAdd: shape(3, true, 'format', 'format'),
  multiplySubtract: shape(3, true, 'format', 'format'),
  negatedMultiplySubtract: shape(3, true, 'format', 'format'),
  negatedMultiplyAdd: shape(3, true, 'format', 'format'),
  minimumNumber: shape(2, false, 'format', 'format'),
  maximumNumber: shape(2, false, 'format', 'format'),
  minimum: shape(2, false, 'format', 'format'),
  maximum: shape(2, false, 'format', 'format'),
  equal: shape(2, false, 'format', 'integer'),
  less: shape(2, false, 'format', 'integer'),
  lessOrEqual: shape(2, false, 'format', 'integer'),
  lessQuiet: shape(2, false, 'format', 'integer'),
  lessOrEqualQuiet: shape(2, false, 'format', 'integer'),
  classify: shape(1, false, 'format', 'integer', false),
  toW: shape(1, true, 'format', 'integer'),
  toWu: shape(1, true, 'format', 'integer'),
  toL: shape(1, true, 'format', 'integer'),
  toLu: shape(1, true, 'format', 'integer'),
  /** FCVTMOD.W.D; f64 alone. */
  toIntegerModulo: shape(1, false, 'format', 'integer'),
  fromW: shape(1, true, 'integer', 'format'),
  fromWu: shape(1, true, 'integer', 'format'),
  fromL: shape(1, true, 'integer', 'format'),
  fromLu: shape(1, true, 'integer', 'format'),
  /** Between formats: from the one named to `format`. */
  fromHalf: shape(1, true, 'h', 'format'),
  fromSingle: shape(1, true, 's', 'format'),
  fromDouble: shape(1, true, 'd', 'format'),
  roundToIntegral: shape(1, true, 'format', 'format'),
  roundToIntegralExact: shape(1, true, 'format', 'format'),
  /** FLI's constant of that number, 0 to 31. */
  loadImmediate: shape(1, false, 'integer', 'format', false),
} as const satisfies Record<string, FloatOperationShape>;

export type FloatOperation = keyof typeof FLOAT_OPERATIONS;

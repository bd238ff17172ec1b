/** For tests: the generated functions in an instance of their own, and the oracle under the same names. */
import { unreachable } from '../../base/assert.ts';
import {
  add,
  classify,
  convert,
  divide,
  equal,
  type FloatFormat,
  f16,
  f32,
  f64,
  fromInteger,
  type IntegerResult,
  less,
  lessOrEqual,
  lessOrEqualQuiet,
  lessQuiet,
  loadImmediate,
  maximum,
  maximumNumber,
  minimum,
  minimumNumber,
  multiply,
  multiplyAdd,
  multiplySubtract,
  negatedMultiplyAdd,
  negatedMultiplySubtract,
  type RoundingMode,
  roundToIntegral,
  roundToIntegralExact,
  squareRoot,
  subtract,
  toInteger,
  toIntegerModulo,
} from '../../base/float/index.ts';
import { FLOAT_OPERATIONS, type FloatLetter, type FloatOperation, type FloatOperationShape } from '../../isa/index.ts';
import { ModuleBuilder } from '../../wasm/index.ts';
import { defineArithmetic } from '../arithmetic.ts';
import { vcpuState } from '../vcpu-state.ts';
import { Library } from '../wasm-machine.ts';
import { FORMAT, LETTERS } from './float-code.ts';
import { defineFloat, type FloatOptions } from './index.ts';

export interface Outcome {
  readonly bits: bigint;
  readonly flags: number;
}

/** One operation in one format. */
export interface Subject {
  readonly name: string;
  readonly operation: FloatOperation;
  readonly shape: FloatOperationShape;
  /** Of the operands; undefined where they are integers. */
  readonly takes: FloatFormat | undefined;
  readonly oracle: (operands: readonly bigint[], mode: RoundingMode) => Outcome;
}

/** Every operation in every format that it exists for. */
export function subjects(): readonly Subject[] {
  return LETTERS.flatMap((letter) =>
    (Object.keys(FLOAT_OPERATIONS) as FloatOperation[])
      .filter((operation) => exists(operation, letter))
      .map((operation) => {
        const shape: FloatOperationShape = FLOAT_OPERATIONS[operation];
        const takes = shape.takes === 'integer' ? undefined : FORMAT[shape.takes === 'format' ? letter : shape.takes];
        return {
          name: `${operation}_${letter}`,
          operation,
          shape,
          takes,
          oracle: (operands, mode) => expected(operation, FORMAT[letter], operands, mode),
        };
      }),
  );
}

/** Calls generated functions; `sticky` is what fflags holds before. */
export function instantiate(
  options: FloatOptions,
): (name: string, operands: readonly bigint[], sticky: number) => Outcome {
  const module = new ModuleBuilder({ width: 32, shared: true, initialPages: 2, maximumPages: 2 });
  const library = new Library({ hasCompressed: true, emulates: false, hasHypervisor: false });
  defineArithmetic(module, library);
  defineFloat(module, library, options);
  for (const { name } of subjects()) module.export(name, library.get(name));
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.build()), { env: { memory } });
  const block = 64;
  const fflags = new BigUint64Array(memory.buffer, block + vcpuState.offset.fflags, 1);
  return (name, operands, sticky) => {
    fflags[0] = BigInt(sticky);
    const call = exports[name] as (vcpu: number, ...operands: readonly bigint[]) => bigint;
    const bits = BigInt.asUintN(64, call(block, ...operands));
    return { bits, flags: Number(fflags[0]) };
  };
}

function exists(operation: FloatOperation, letter: FloatLetter): boolean {
  if (operation === 'toIntegerModulo') return letter === 'd';
  return FLOAT_OPERATIONS[operation].takes !== letter;
}

const ROUNDED_PAIRS = { add, subtract, multiply, divide } as const;
const FUSED = { multiplyAdd, multiplySubtract, negatedMultiplySubtract, negatedMultiplyAdd } as const;
const ROUNDED = { squareRoot, roundToIntegral, roundToIntegralExact } as const;
const CHOICES = { minimumNumber, maximumNumber, minimum, maximum } as const;
const COMPARISONS = { equal, less, lessOrEqual, lessQuiet, lessOrEqualQuiet } as const;
const TO_INTEGER = { toW: 'w', toWu: 'wu', toL: 'l', toLu: 'lu' } as const;
const FROM_INTEGER = { fromW: 'w', fromWu: 'wu', fromL: 'l', fromLu: 'lu' } as const;
const FROM_FORMAT = { fromHalf: f16, fromSingle: f32, fromDouble: f64 } as const;

function expected(
  operation: FloatOperation,
  format: FloatFormat,
  operands: readonly bigint[],
  mode: RoundingMode,
): Outcome {
  const [a = 0n, b = 0n, c = 0n] = operands;
  if (has(ROUNDED_PAIRS, operation)) return ROUNDED_PAIRS[operation](format, a, b, mode);
  if (has(FUSED, operation)) return FUSED[operation](format, a, b, c, mode);
  if (has(ROUNDED, operation)) return ROUNDED[operation](format, a, mode);
  if (has(CHOICES, operation)) return CHOICES[operation](format, a, b);
  if (has(COMPARISONS, operation)) return ofInteger(COMPARISONS[operation](format, a, b));
  if (has(TO_INTEGER, operation)) return ofInteger(toInteger(format, TO_INTEGER[operation], a, mode));
  if (has(FROM_INTEGER, operation)) return fromInteger(format, FROM_INTEGER[operation], a, mode);
  if (has(FROM_FORMAT, operation)) return convert(FROM_FORMAT[operation], format, a, mode);
  switch (operation) {
    case 'classify':
      return ofInteger(classify(format, a));
    case 'toIntegerModulo':
      return ofInteger(toIntegerModulo(a));
    case 'loadImmediate':
      return { bits: loadImmediate(format, Number(a)), flags: 0 };
    default:
      return unreachable(operation);
  }
}

function has<T extends object>(table: T, key: PropertyKey): key is keyof T {
  return Object.hasOwn(table, key);
}

function ofInteger({ value, flags }: IntegerResult): Outcome {
  return { bits: value, flags };
}

/** For tests: the generated functions in an instance of their own, and the oracle under the same names. */

import type { FloatFormat, FloatResult, IntegerResult, IntegerType, RoundingMode } from '../../base/float/index.ts';
import * as exact from '../../base/float/index.ts';
import { FLOAT_OPERATIONS, type FloatOperation, type FloatOperationShape } from '../../isa/float-operations.ts';
import type { FloatLetter } from '../../isa/machine.ts';
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
  const library = new Library({ hasCompressed: true });
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

function expected(
  operation: FloatOperation,
  format: FloatFormat,
  operands: readonly bigint[],
  mode: RoundingMode,
): Outcome {
  const [a = 0n, b = 0n, c = 0n] = operands;
  switch (operation) {
    case 'add':
    case 'subtract':
    case 'multiply':
    case 'divide':
      return exact[operation](format, a, b, mode);
    case 'multiplyAdd':
    case 'multiplySubtract':
    case 'negatedMultiplySubtract':
    case 'negatedMultiplyAdd':
      return exact[operation](format, a, b, c, mode);
    case 'squareRoot':
    case 'roundToIntegral':
    case 'roundToIntegralExact':
      return exact[operation](format, a, mode);
    case 'minimumNumber':
    case 'maximumNumber':
    case 'minimum':
    case 'maximum':
      return exact[operation](format, a, b);
    case 'equal':
    case 'less':
    case 'lessOrEqual':
    case 'lessQuiet':
    case 'lessOrEqualQuiet':
      return ofInteger(exact[operation](format, a, b));
    case 'classify':
      return ofInteger(exact.classify(format, a));
    case 'toW':
    case 'toWu':
    case 'toL':
    case 'toLu':
      return ofInteger(exact.toInteger(format, operation.slice(2).toLowerCase() as IntegerType, a, mode));
    case 'toIntegerModulo':
      return ofInteger(exact.toIntegerModulo(a));
    case 'fromW':
    case 'fromWu':
    case 'fromL':
    case 'fromLu':
      return exact.fromInteger(format, operation.slice(4).toLowerCase() as IntegerType, a, mode);
    case 'fromHalf':
      return exact.convert(exact.f16, format, a, mode);
    case 'fromSingle':
      return exact.convert(exact.f32, format, a, mode);
    case 'fromDouble':
      return exact.convert(exact.f64, format, a, mode);
    case 'loadImmediate':
      return { bits: exact.loadImmediate(format, Number(a % 32n)), flags: 0 };
  }
}

function ofInteger({ value, flags }: IntegerResult): FloatResult {
  return { bits: value, flags };
}

/**
 * The engine's floating point: for every operation of isa/float-operations.ts and every format a generated function
 * `operation_letter(vcpu, operands..., mode)`, exact as base/float is, with the host's instructions where they are
 * provably right. No imports.
 */
import type { ModuleBuilder } from '../../wasm/index.ts';
import type { Library } from '../wasm-machine.ts';
import { defineConversions, defineDoubleFunctions } from './convert.ts';
import { defineExact } from './exact.ts';
import { defineArithmeticFunctions } from './fast.ts';
import { LETTERS } from './float-code.ts';
import { defineFused } from './fused.ts';
import { hostFusesMultiplyAdd } from './probe.ts';
import { defineRound } from './round.ts';
import { defineSelections } from './select.ts';

export interface FloatOptions {
  /** Try the host's instructions first (default). Without, all arithmetic takes the exact path: for comparison. */
  readonly fast?: boolean;
  /** Whether the host fuses its relaxed multiply-add; probed unless given. */
  readonly fused?: boolean;
}

/** Defines all functions in the library. `mulhu` must be there already (arithmetic.ts). */
export function defineFloat(module: ModuleBuilder, library: Library, options: FloatOptions = {}): void {
  const { fast = true, fused = hostFusesMultiplyAdd() } = options;
  defineDoubleFunctions(module, library);
  for (const letter of LETTERS) {
    defineRound(module, library, letter);
    defineExact(module, library, letter);
    defineFused(module, library, letter);
    defineArithmeticFunctions(module, library, letter, { fast, fused });
    defineSelections(module, library, letter);
    defineConversions(module, library, letter);
  }
}

export { hostFusesMultiplyAdd };

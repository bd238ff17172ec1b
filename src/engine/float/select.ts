/** Comparisons, minimum and maximum, classification in generated code: see base/float/compare.ts. */
import { NV } from '../../base/float/index.ts';
import type { FloatLetter } from '../../isa/index.ts';
import type { I32, I64, ModuleBuilder } from '../../wasm/index.ts';
import type { Library } from '../wasm-machine.ts';
import { defineFloatFunction, type FloatCode } from './float-code.ts';

export function defineSelections(module: ModuleBuilder, library: Library, letter: FloatLetter): void {
  const comparisons = [
    ['equal', 'eq', 'quiet'],
    ['less', 'lt', 'signaling'],
    ['lessOrEqual', 'le', 'signaling'],
    ['lessQuiet', 'lt', 'quiet'],
    ['lessOrEqualQuiet', 'le', 'quiet'],
  ] as const;
  for (const [name, comparison, predicate] of comparisons) {
    defineFloatFunction(module, library, letter, `${name}_${letter}`, 2, (code) =>
      compare(code, comparison, predicate),
    );
  }
  const choices = [
    ['minimumNumber', 'lesser', 'number'],
    ['maximumNumber', 'greater', 'number'],
    ['minimum', 'lesser', 'nan'],
    ['maximum', 'greater', 'nan'],
  ] as const;
  for (const [name, which, prefers] of choices) {
    defineFloatFunction(module, library, letter, `${name}_${letter}`, 2, (code) => choose(code, which, prefers));
  }
  defineFloatFunction(module, library, letter, `classify_${letter}`, 1, classify);
}

/** The host's comparisons are false for NaNs and raise nothing. */
function compare(code: FloatCode, comparison: 'eq' | 'lt' | 'le', predicate: 'quiet' | 'signaling'): void {
  const { f } = code;
  const [a, b] = [code.operand(0), code.operand(1)];
  const x = f.let(code.toDouble(a));
  const y = f.let(code.toDouble(b));
  const unordered = f.i32.or(f.f64.compare('ne', x, x), f.f64.compare('ne', y, y));
  f.if(
    unordered,
    () => {
      if (predicate === 'signaling') code.raise(NV);
      else raiseIfSignaling(code, a, b);
    },
    undefined,
    'unlikely',
  );
  f.return(code.bit(f.f64.compare(comparison, x, y)));
}

function choose(code: FloatCode, which: 'lesser' | 'greater', prefers: 'number' | 'nan'): void {
  const { f, format } = code;
  const { i64, i32 } = f;
  const [a, b] = [code.operand(0), code.operand(1)];
  f.if(
    i32.or(code.isNaN(a), code.isNaN(b)),
    () => {
      raiseIfSignaling(code, a, b);
      if (prefers === 'number') {
        f.if(i32.eqz(code.isNaN(a)), () => f.return(a));
        f.if(i32.eqz(code.isNaN(b)), () => f.return(b));
      }
      f.return(code.constant(format.canonicalNaN));
    },
    undefined,
    'unlikely',
  );
  const aBelow = i64.ltS(rank(code, a), rank(code, b));
  f.return(which === 'lesser' ? f.select(aBelow, a, b) : f.select(aBelow, b, a));
}

/** A signed integer in the order of the numbers, -0 below +0. */
function rank(code: FloatCode, a: I64): I64 {
  const { i64 } = code.f;
  const extended = code.f.let(i64.shl(a, code.constant(64 - code.format.bits)));
  const turned = i64.shrU(i64.shrS(extended, code.constant(63)), code.constant(1));
  return code.f.let(i64.xor(extended, turned));
}

function classify(code: FloatCode): void {
  const { f, format } = code;
  const { i64 } = f;
  const a = code.operand(0);
  const magnitude = f.let(code.magnitude(a));
  const infinity = code.constant(format.infinity);
  f.if(i64.gtU(magnitude, infinity), () => {
    const quiet = i64.geU(magnitude, code.constant(format.canonicalNaN));
    f.return(f.select(quiet, code.constant(1 << 9), code.constant(1 << 8)));
  });
  // Zero 0, subnormal 1, normal 2, infinite 3.
  const steps: readonly I32[] = [
    i64.ne(magnitude, code.constant(0)),
    i64.geU(magnitude, code.constant(format.smallestNormal)),
    i64.eq(magnitude, infinity),
  ];
  const away = f.let(steps.map((step) => code.bit(step)).reduce((sum, step) => i64.add(sum, step)));
  const place = f.select(i64.eqz(code.sign(a)), i64.add(code.constant(4), away), i64.sub(code.constant(3), away));
  f.return(i64.shl(code.constant(1), place));
}

function raiseIfSignaling(code: FloatCode, a: I64, b: I64): void {
  code.f.if(code.f.i32.or(code.isSignaling(a), code.isSignaling(b)), () => code.raise(NV));
}

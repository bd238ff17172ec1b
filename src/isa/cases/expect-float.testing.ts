/**
 * What floating-point instructions give: which operation of base/float (proved exact there) a mnemonic means, on
 * which registers, boxed how. Written from the manual's text, not from the rows.
 */
import { must } from '../../base/assert.ts';
import * as exact from '../../base/float/index.ts';

export interface FloatInputs {
  /** Raw registers. */
  readonly f1: bigint;
  readonly f2: bigint;
  readonly f3: bigint;
  readonly x1: bigint;
  readonly mode: exact.RoundingMode;
  /** FLI's constant. */
  readonly constant: number;
}

export interface FloatExpectation {
  readonly to: 'x' | 'f';
  readonly value: bigint;
  readonly flags: number;
}

const FORMATS: Readonly<Record<string, exact.FloatFormat>> = { h: exact.f16, s: exact.f32, d: exact.f64, w: exact.f32 };

type Rule = (i: FloatInputs, format: exact.FloatFormat) => exact.FloatResult | exact.IntegerResult | bigint;
type Operands = (i: FloatInputs, format: exact.FloatFormat) => [bigint, bigint, bigint];

const o: Operands = (i, format) => [exact.unbox(format, i.f1), exact.unbox(format, i.f2), exact.unbox(format, i.f3)];
const two =
  (f: (format: exact.FloatFormat, a: bigint, b: bigint) => exact.FloatResult | exact.IntegerResult | bigint): Rule =>
  (i, format) =>
    f(format, o(i, format)[0], o(i, format)[1]);

/** By the mnemonic without its format. */
// biome-ignore format: table
const RULES: Readonly<Record<string, Rule>> = {
  fadd:   (i, format) => exact.add(format, o(i, format)[0], o(i, format)[1], i.mode),
  fsub:   (i, format) => exact.subtract(format, o(i, format)[0], o(i, format)[1], i.mode),
  fmul:   (i, format) => exact.multiply(format, o(i, format)[0], o(i, format)[1], i.mode),
  fdiv:   (i, format) => exact.divide(format, o(i, format)[0], o(i, format)[1], i.mode),
  fsqrt:  (i, format) => exact.squareRoot(format, o(i, format)[0], i.mode),
  fmadd:  (i, format) => exact.multiplyAdd(format, ...o(i, format), i.mode),
  fmsub:  (i, format) => exact.multiplySubtract(format, ...o(i, format), i.mode),
  fnmsub: (i, format) => exact.negatedMultiplySubtract(format, ...o(i, format), i.mode),
  fnmadd: (i, format) => exact.negatedMultiplyAdd(format, ...o(i, format), i.mode),
  fsgnj:  two(exact.copySign),
  fsgnjn: two(exact.copySignNegated),
  fsgnjx: two(exact.copySignXor),
  fmin:   two(exact.minimumNumber),
  fmax:   two(exact.maximumNumber),
  fminm:  two(exact.minimum),
  fmaxm:  two(exact.maximum),
  feq:    two(exact.equal),
  flt:    two(exact.less),
  fle:    two(exact.lessOrEqual),
  fltq:   two(exact.lessQuiet),
  fleq:   two(exact.lessOrEqualQuiet),
  fclass: (i, format) => exact.classify(format, o(i, format)[0]),
  fround:   (i, format) => exact.roundToIntegral(format, o(i, format)[0], i.mode),
  froundnx: (i, format) => exact.roundToIntegralExact(format, o(i, format)[0], i.mode),
  fli:      (i, format) => exact.loadImmediate(format, i.constant),
};

/** Mnemonics whose result goes to an integer register. */
const TO_INTEGER = new Set(['feq', 'flt', 'fle', 'fltq', 'fleq', 'fclass']);
const isInteger = (type: string): type is exact.IntegerType => /^(w|l)u?$/.test(type);

/** What the instruction of that name gives. */
export function expectFloat(name: string, i: FloatInputs): FloatExpectation {
  const [stem = '', ...types] = name.split('.');
  if (name === 'fcvtmod.w.d') return { to: 'x', ...integerResult(exact.toIntegerModulo(i.f1)) };
  if (stem === 'fmv') return expectMove(types, i);
  if (stem === 'fcvt') return expectConversion(types as [string, string], i);
  const format = must(FORMATS[types[0] as string]);
  const result = must(RULES[stem], name)(i, format);
  if (TO_INTEGER.has(stem)) return { to: 'x', ...integerResult(result as exact.IntegerResult) };
  const { bits, flags } = typeof result === 'bigint' ? { bits: result, flags: 0 } : (result as exact.FloatResult);
  return { to: 'f', value: exact.box(format, bits), flags };
}

function expectMove(types: readonly string[], i: FloatInputs): FloatExpectation {
  if (types[0] === 'x')
    return { to: 'x', value: exact.moveToInteger(must(FORMATS[types[1] as string]), i.f1), flags: 0 };
  return { to: 'f', value: exact.moveFromInteger(must(FORMATS[types[0] as string]), i.x1), flags: 0 };
}

function expectConversion([to, from]: [string, string], i: FloatInputs): FloatExpectation {
  if (isInteger(to)) {
    const format = must(FORMATS[from]);
    return { to: 'x', ...integerResult(exact.toInteger(format, to, exact.unbox(format, i.f1), i.mode)) };
  }
  const format = must(FORMATS[to]);
  const source = must(FORMATS[from === 'l' || from === 'lu' || from === 'wu' ? 'd' : from]);
  const { bits, flags } = isInteger(from)
    ? exact.fromInteger(format, from, i.x1, i.mode)
    : exact.convert(source, format, exact.unbox(source, i.f1), i.mode);
  return { to: 'f', value: exact.box(format, bits), flags };
}

function integerResult({ value, flags }: exact.IntegerResult): { value: bigint; flags: number } {
  return { value, flags };
}

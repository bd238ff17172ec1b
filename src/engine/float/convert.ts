/**
 * Conversions in generated code: see base/float/convert.ts. Every f16 and f32 is an f64, so what leaves floating point
 * or only cuts fractions off is done in f64, where the host's ceil, floor, trunc and nearest are exact by definition.
 */
import { f64 as DOUBLE, loadImmediate, NV, NX, RDN, RNE, RTZ, RUP } from '../../base/float/index.ts';
import type { FloatLetter } from '../../isa/index.ts';
import type { F64, I32, I64, ModuleBuilder } from '../../wasm/index.ts';
import type { Library } from '../wasm-machine.ts';
import { defineFloatFunction, FloatCode, LETTERS } from './float-code.ts';

type IntegerName = 'W' | 'Wu' | 'L' | 'Lu';
/** Results lie in [least, beyond); a NaN gives the greatest, as a 64-bit register. */
const INTEGERS: Readonly<Record<IntegerName, { least: number; beyond: number; ofNaN: bigint }>> = {
  W: { least: -(2 ** 31), beyond: 2 ** 31, ofNaN: 0x7fffffffn },
  Wu: { least: 0, beyond: 2 ** 32, ofNaN: -1n },
  L: { least: -(2 ** 63), beyond: 2 ** 63, ofNaN: 0x7fffffffffffffffn },
  Lu: { least: 0, beyond: 2 ** 64, ofNaN: -1n },
};
const INTEGER_NAMES: readonly IntegerName[] = ['W', 'Wu', 'L', 'Lu'];

/** Functions without a format: half_to_double(bits) -> f64, to_integral(f64, mode) -> f64. */
export function defineDoubleFunctions(module: ModuleBuilder, library: Library): void {
  library.set(
    'half_to_double',
    module.function('half_to_double', ['i64'], ['f64'], (f) => {
      const { i64 } = f;
      const bits = f.param<I64>(0).get;
      const sign = i64.shl(i64.and(bits, i64.const(0x8000)), i64.const(48));
      const shifted = f.let(i64.shl(i64.and(bits, i64.const(0x7fff)), i64.const(42)));
      const exponent = i64.and(bits, i64.const(0x7c00));
      f.if(i64.eq(exponent, i64.const(0x7c00)), () => {
        const special = i64.or(shifted, i64.const(DOUBLE.infinity));
        f.return(f.convert('f64_reinterpret_i64', i64.or(special, sign)));
      });
      // The exponent's bias moves from 15 to 1023; subnormals become normal. Exact.
      const scaled = f.f64.op('mul', f.convert('f64_reinterpret_i64', shifted), f.f64.const(2 ** 1008));
      f.return(f.f64.op('copysign', scaled, f.convert('f64_reinterpret_i64', sign)));
    }),
  );
  library.set(
    'to_integral',
    module.function('to_integral', ['f64', 'i64'], ['f64'], (f) => {
      const { f64, i64 } = f;
      const value = f.param<F64>(0).get;
      const mode = f.param<I64>(1).get;
      f.if(i64.eq(mode, i64.const(RTZ)), () => f.return(f64.unary('trunc', value)));
      f.if(i64.eq(mode, i64.const(RNE)), () => f.return(f64.unary('nearest', value)));
      f.if(i64.eq(mode, i64.const(RDN)), () => f.return(f64.unary('floor', value)));
      f.if(i64.eq(mode, i64.const(RUP)), () => f.return(f64.unary('ceil', value)));
      // RMM: what trunc cuts off is exact; a half or more of it counts as one.
      const truncated = f.let(f64.unary('trunc', value));
      const cut = f64.unary('abs', f64.op('sub', value, truncated));
      const away = f64.op('add', truncated, f64.op('copysign', f64.const(1), value));
      f.return(f.select(f64.compare('ge', cut, f64.const(0.5)), away, truncated));
    }),
  );
}

export function defineConversions(module: ModuleBuilder, library: Library, letter: FloatLetter): void {
  const define = (name: string, operands: number, body: (code: FloatCode) => void): void => {
    defineFloatFunction(module, library, letter, `${name}_${letter}`, operands, body);
  };
  define('narrow', 2, narrow);
  for (const name of INTEGER_NAMES) {
    define(`to${name}`, 2, (code) => toInteger(code, name));
    define(`from${name}`, 2, (code) => fromInteger(code, name));
  }
  for (const from of LETTERS) {
    if (from !== letter) define(FROM_NAMES[from], 2, (code) => convert(code, new FloatCode(code.f, from, library)));
  }
  define('roundToIntegral', 2, (code) => roundToIntegral(code, false));
  define('roundToIntegralExact', 2, (code) => roundToIntegral(code, true));
  define('loadImmediate', 1, (code) => {
    const constants = Array.from(
      { length: 32 },
      (_, i) => () => code.f.return(code.constant(loadImmediate(code.format, i))),
    );
    code.f.switch(code.f.convert('i32_wrap_i64', code.operand(0)), constants, () => code.f.unreachable());
    code.f.unreachable();
  });
  if (letter === 'd') define('toIntegerModulo', 1, toIntegerModulo);
}

const FROM_NAMES = { h: 'fromHalf', s: 'fromSingle', d: 'fromDouble' } as const;

function toInteger(code: FloatCode, name: IntegerName): void {
  const { f } = code;
  const mode = code.operand(1);
  const value = f.let(code.toDouble(code.operand(0)));
  const rounded = f.local('f64');
  // C's casts truncate.
  f.if(
    f.i64.eq(mode, code.constant(RTZ)),
    () => f.set(rounded, f.f64.unary('trunc', value)),
    () => f.set(rounded, f.call(code.library.get('to_integral'), value, mode) as F64),
    'likely',
  );
  f.if(
    inRange(code, name, rounded.get),
    () => f.if(f.f64.compare('ne', rounded.get, value), () => code.raise(NX)),
    () => {
      code.raise(NV);
      f.if(f.f64.compare('ne', value, value), () => f.return(code.constant(INTEGERS[name].ofNaN)));
    },
    'likely',
  );
  f.return(saturate(code, name, rounded.get));
}

function inRange(code: FloatCode, name: IntegerName, value: F64): I32 {
  const { f64 } = code.f;
  const { least, beyond } = INTEGERS[name];
  return code.both(f64.compare('ge', value, f64.const(least)), f64.compare('lt', value, f64.const(beyond)));
}

/** Wasm's saturating truncations clip as RISC-V does, NaNs apart. */
function saturate(code: FloatCode, name: IntegerName, value: F64): I64 {
  const { f } = code;
  switch (name) {
    case 'W':
      return f.convert('i64_extend_i32_s', f.convert('i32_trunc_sat_f64_s', value));
    case 'Wu':
      return f.convert('i64_extend_i32_s', f.convert('i32_trunc_sat_f64_u', value));
    case 'L':
      return f.convert('i64_trunc_sat_f64_s', value);
    case 'Lu':
      return f.convert('i64_trunc_sat_f64_u', value);
  }
}

/** FCVTMOD.W.D: the low 32 bits of the truncated value; NaNs and infinities, whose exponent is beyond all shifts, give 0. */
function toIntegerModulo(code: FloatCode): void {
  const { f, format } = code;
  const { i64 } = f;
  const a = code.operand(0);
  const value = f.let(code.toDouble(a));
  const truncated = f.let(f.f64.unary('trunc', value));
  f.if(
    inRange(code, 'W', truncated),
    () => f.if(f.f64.compare('ne', truncated, value), () => code.raise(NX)),
    () => code.raise(NV),
  );
  f.if(inRange(code, 'L', truncated), () => {
    f.return(signExtend32(code, f.convert('i64_trunc_sat_f64_s', truncated)));
  });
  const biased = i64.shrU(code.magnitude(a), code.constant(format.fractionBits));
  const shift = f.let(i64.sub(biased, code.constant(code.bias + format.fractionBits)));
  f.if(i64.gtU(shift, code.constant(31)), () => f.return(code.constant(0)));
  const whole = i64.or(i64.and(a, code.constant(format.smallestNormal - 1n)), code.constant(format.smallestNormal));
  const magnitude = f.let(i64.shl(whole, shift));
  const integer = f.select(i64.eqz(code.sign(a)), magnitude, i64.sub(code.constant(0), magnitude));
  f.return(signExtend32(code, integer));
}

function fromInteger(code: FloatCode, name: IntegerName): void {
  const { f, format } = code;
  const { i64, i32 } = f;
  const mode = code.operand(1);
  const register = code.operand(0);
  const unsigned = name === 'Lu';
  const value = f.let(
    name === 'W' ? signExtend32(code, register) : name === 'Wu' ? zeroExtend32(code, register) : register,
  );
  const isNegative = unsigned ? i32.const(0) : i64.ltS(value, code.constant(0));
  if (code.letter === 'd' && (name === 'W' || name === 'Wu')) {
    f.return(f.convert('i64_reinterpret_f64', f.convert('f64_convert_i64_s', value)));
    return;
  }
  f.if(i64.eqz(value), () => f.return(code.constant(0)));
  const magnitude = f.let(f.select(isNegative, i64.sub(code.constant(0), value), value));
  const zeros = f.let(i64.unary('clz', magnitude));
  if (code.letter !== 'h') {
    const width = i64.sub(i64.sub(code.constant(64), zeros), i64.unary('ctz', magnitude));
    const exact = f.let(i64.compare('le_u', width, code.constant(format.fractionBits + 1)));
    f.if(i32.or(exact, i64.eq(mode, code.constant(RNE))), () => {
      f.if(i32.eqz(exact), () => code.raise(NX));
      f.return(hostFromInteger(code, value, unsigned));
    });
  }
  const leadingAt63 = f.let(i64.shl(magnitude, zeros));
  const exponent = i64.sub(code.constant(code.bias + 63), zeros);
  const sign = f.select(isNegative, code.constant(format.signBit), code.constant(0));
  code.returnRounded({ sign, exponent, significand: code.halveSticky(leadingAt63) }, mode);
}

function hostFromInteger(code: FloatCode, value: I64, unsigned: boolean): I64 {
  const { f } = code;
  if (code.letter === 'd') {
    return f.convert('i64_reinterpret_f64', f.convert(unsigned ? 'f64_convert_i64_u' : 'f64_convert_i64_s', value));
  }
  const single = f.convert(unsigned ? 'f32_convert_i64_u' : 'f32_convert_i64_s', value);
  return f.convert('i64_extend_i32_u', f.convert('i32_reinterpret_f32', single));
}

/** Through f64: widening to it is exact, and `source` is narrower than the result or the result narrower than f64. */
function convert(code: FloatCode, source: FloatCode): void {
  const { f, format } = code;
  const a = code.operand(0);
  const mode = code.operand(1);
  f.if(source.isNaN(a), () => {
    f.if(source.isSignaling(a), () => code.raise(NV));
    f.return(code.constant(format.canonicalNaN));
  });
  const value = f.let(source.toDouble(a));
  if (code.letter === 'd') {
    f.return(f.convert('i64_reinterpret_f64', value));
    return;
  }
  if (code.letter === 's') {
    const rounded = f.let(f.convert('f32_demote_f64', value));
    const bits = f.let(f.convert('i64_extend_i32_u', f.convert('i32_reinterpret_f32', rounded)));
    f.if(f.f64.compare('eq', f.convert('f64_promote_f32', rounded), value), () => f.return(bits));
    f.if(code.both(code.isSafelyNormal(bits), f.i64.eq(mode, code.constant(RNE))), () => {
      code.raise(NX);
      f.return(bits);
    });
  }
  f.return(f.call(code.library.get(`narrow_${code.letter}`), code.vcpu, f.convert('i64_reinterpret_f64', value), mode));
}

/** narrow_x(vcpu, an f64's bits, mode): rounds an f64 that is no NaN to the format. */
function narrow(code: FloatCode): void {
  const { f, format } = code;
  const { i64 } = f;
  const source = new FloatCode(f, 'd', code.library);
  const a = code.operand(0);
  const sign = f.let(i64.shrU(source.sign(a), code.constant(64 - format.bits)));
  f.if(source.isZero(a), () => f.return(sign));
  f.if(source.isInfinite(a), () => f.return(i64.or(sign, code.constant(format.infinity))));
  const parts = source.unpack(a);
  const exponent = i64.add(parts.exponent, code.constant(code.bias - source.bias));
  code.returnRounded({ sign, exponent, significand: parts.significand }, code.operand(1));
}

function roundToIntegral(code: FloatCode, isExact: boolean): void {
  const { f } = code;
  const a = code.operand(0);
  const mode = code.operand(1);
  code.returnIfNaN(a);
  const value = f.let(code.toDouble(a));
  const rounded = f.let(f.call(code.library.get('to_integral'), value, mode) as F64);
  if (isExact) f.if(f.f64.compare('ne', rounded, value), () => code.raise(NX));
  if (code.letter === 'd') {
    f.return(f.convert('i64_reinterpret_f64', rounded));
  } else {
    // Exact: an integral number between two of the format.
    f.return(
      f.call(code.library.get(`narrow_${code.letter}`), code.vcpu, f.convert('i64_reinterpret_f64', rounded), mode),
    );
  }
}

function signExtend32(code: FloatCode, a: I64): I64 {
  return code.f.convert('i64_extend_i32_s', code.f.convert('i32_wrap_i64', a));
}

function zeroExtend32(code: FloatCode, a: I64): I64 {
  return code.f.convert('i64_extend_i32_u', code.f.convert('i32_wrap_i64', a));
}

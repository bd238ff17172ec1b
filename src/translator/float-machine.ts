/**
 * Floating point of regions: registers in f32 and f64 locals, arithmetic by the host's own instructions where their
 * result is right, flags included (engine/float/fast.ts says when): round to nearest even, NX already up, neither NaN
 * nor infinity nor so small that it may have underflowed. All else calls the engine's functions.
 *
 * What the region knows of the state lives in locals: `raises` and `turns`, masks that are 0 where the host's results may
 * be taken and all ones elsewhere (see FloatLocals), `dirty` (mstatus.FS is Dirty). Results are judged by their biased
 * exponents: one unsigned comparison of exponent | mask, no constants of the format. Values are passed as bit patterns like everywhere; the
 * floating-point value behind a pattern is remembered, so that no move to and fro is emitted.
 */
import { must } from '../base/assert.ts';
import { type Library, vcpuState, WasmMachine } from '../engine/index.ts';
import {
  CSR_BY_NUMBER,
  FLOAT_OPERATIONS,
  type FloatLetter,
  type FloatOperation,
  readCsr,
  writeCsr,
} from '../isa/index.ts';
import type { F32, F64, FunctionBuilder, I32, I64, Local, Ptr } from '../wasm/index.ts';
import type { Instruction } from './instruction.ts';

const at = vcpuState.offset;
const NX = 1;
const RTZ = 1;
const DYNAMIC = 7;

type Host = F32 | F64;

export interface FloatLocals {
  /** By register; an f32 for a single. */
  readonly f: readonly (Local<F64> | undefined)[];
  readonly singles: readonly (Local<F32> | undefined)[];
  /** Bit mask of singles that were written. */
  readonly singlesWritten: Local<I32>;
  /** 0: NX is up, so inexact results raise nothing new; else all ones. */
  readonly raises: Local<I32>;
  /** The same, if also frm says RNE. */
  readonly turns: Local<I32>;
  readonly mode: Local<I64>;
  readonly dirty: Local<I32>;
}

/** What the host computes for an operation, and whether it is right. */
interface Attempt {
  readonly value: Host;
  readonly isRight: I32;
}

/** The biased exponent of infinities and NaNs. */
const SPECIAL_EXPONENT = { s: 0xff, d: 0x7ff } as const;

/** Bounds within which a double can be truncated to an integer, and how. */
const TO_INTEGER = {
  toW: [-(2 ** 31), 2 ** 31, 'i32_trunc_sat_f64_s'],
  toWu: [-1, 2 ** 32, 'i32_trunc_sat_f64_u'],
  toL: [-(2 ** 63), 2 ** 63, 'i64_trunc_sat_f64_s'],
  toLu: [-1, 2 ** 64, 'i64_trunc_sat_f64_u'],
} as const;

/** Sets the masks by fflags and frm (which `mode` holds). */
export function setMasks(f: FunctionBuilder, vcpu: Ptr, { raises, turns, mode }: FloatLocals): void {
  const { i32, i64 } = f;
  f.set(raises, i32.sub(i32.and(i32.load(vcpu, at.fflags), i32.const(NX)), i32.const(1)));
  f.set(turns, f.select(i64.eqz(mode.get), raises.get, i32.const(-1)));
}

export abstract class FloatMachine extends WasmMachine {
  protected readonly floatLocals: FloatLocals;
  readonly #fuses: boolean;
  /** Values behind patterns, of this instruction. */
  readonly #doubles = new Map<I64, F64>();
  readonly #singles = new Map<I64, F32>();
  readonly #boxed = new Map<I64, F32>();
  #isDirty = false;

  constructor(f: FunctionBuilder, vcpu: Ptr, library: Library, locals: FloatLocals, fuses: boolean) {
    super(f, vcpu, library);
    this.floatLocals = locals;
    this.#fuses = fuses;
  }

  /** Before each instruction. */
  protected forgetValues(): void {
    this.#doubles.clear();
    this.#singles.clear();
    this.#boxed.clear();
  }

  /** Before code that may be reached from elsewhere. */
  beginBlock(): void {
    this.#isDirty = false;
  }

  protected abstract get instruction(): Instruction;

  /**
   * Moves and changes of sign, which the rows describe bit by bit, as the host has them. False: not for these
   * registers.
   */
  protected injectsSign(): boolean {
    const { f } = this;
    const { row, rs1, rs2, rd } = this.instruction;
    const [, kind = '', letter = ''] = /^fsgnj([nx]?)\.([sd])$/.exec(row.name) ?? [];
    if (letter === '' || (kind === 'x' && rs1 !== rs2)) return false;
    const ops = letter === 's' ? f.f32 : f.f64;
    const file: readonly (Local<Host> | undefined)[] = letter === 's' ? this.floatLocals.singles : this.floatLocals.f;
    const [to, from, signed] = [file[rd], file[rs1], file[rs2]];
    if (to === undefined || from === undefined || signed === undefined) return false;
    const value = from.get as never;
    const sign = kind === 'n' ? ops.unary('neg', signed.get as never) : signed.get;
    const same = kind === '' ? value : ops.unary(kind === 'n' ? 'neg' : 'abs', value);
    this.floatDirty();
    f.set(to, (rs1 === rs2 ? same : ops.op('copysign', value, sign as never)) as Host);
    if (letter === 's') this.#wroteSingle(rd);
    return true;
  }

  frs1(): I64 {
    return this.#read(this.instruction.rs1);
  }
  frs2(): I64 {
    return this.#read(this.instruction.rs2);
  }
  frs3(): I64 {
    return this.#read(this.instruction.rs3);
  }
  writeFrd(value: I64): void {
    const { f } = this;
    const register = this.instruction.rd;
    const single = this.floatLocals.singles[register];
    if (single === undefined) {
      const known = this.#doubles.get(value) ?? f.convert('f64_reinterpret_i64', value);
      f.set(must(this.floatLocals.f[register]), known);
      return;
    }
    const known = this.#boxed.get(value) ?? f.convert('f32_reinterpret_i32', f.convert('i32_wrap_i64', value));
    f.set(single, known);
    this.#wroteSingle(register);
  }

  #wroteSingle(register: number): void {
    const { f } = this;
    const written = this.floatLocals.singlesWritten;
    f.set(written, f.i32.or(written.get, f.i32.const(1 << register)));
  }

  override unbox(format: FloatLetter, raw: I64): I64 {
    const single = format === 's' ? this.#boxed.get(raw) : undefined;
    return single === undefined ? super.unbox(format, raw) : this.#ofSingle(single);
  }
  override box(format: FloatLetter, value: I64): I64 {
    const boxed = super.box(format, value);
    const single = format === 's' ? this.#singles.get(value) : undefined;
    if (single !== undefined) this.#boxed.set(boxed, single);
    return boxed;
  }

  /** Looked at when the region is entered. */
  override requireFloat(): void {}
  override roundingMode(): I64 {
    const { rm } = this.instruction;
    return rm === DYNAMIC ? this.floatLocals.mode.get : this.const(rm);
  }
  override floatDirty(): void {
    if (this.#isDirty) return;
    this.#isDirty = true;
    const { f } = this;
    const { dirty } = this.floatLocals;
    f.if(
      f.i32.eqz(dirty.get),
      () => {
        super.floatDirty();
        f.set(dirty, f.i32.const(1));
      },
      undefined,
      'unlikely',
    );
  }

  /** fflags, frm, fcsr. */
  override csrRead(): I64 {
    return readCsr(this, must(CSR_BY_NUMBER.get(this.instruction.csr)));
  }
  override csrWrite(value: I64, changes: I64, old: I64): void {
    const { f } = this;
    const { dirty, mode } = this.floatLocals;
    writeCsr(this, must(CSR_BY_NUMBER.get(this.instruction.csr)), value, changes, old);
    this.#isDirty = true;
    f.set(dirty, f.i32.const(1));
    f.set(mode, this.get('frm'));
    this.#flagsChanged();
  }
  /** frm may have become a reserved mode, which this region's instructions do not look for. */
  protected get isModeReserved(): I32 {
    return this.f.i64.gtU(this.floatLocals.mode.get, this.const(4));
  }

  override float(operation: FloatOperation, format: FloatLetter, ...operands: I64[]): I64 {
    const { f } = this;
    const shape = FLOAT_OPERATIONS[operation];
    if (shape.flags) this.floatDirty();
    const attempt = format === 'h' ? undefined : this.#attempt(operation, format, operands);
    const call = (): I64 => f.call(this.fn(`${operation}_${format}`), this.vcpu, ...operands) as I64;
    if (attempt === undefined) {
      const result = f.let(call());
      if (shape.flags) this.#flagsChanged();
      return result;
    }
    if (shape.gives === 'integer') return this.#choose(attempt, call);
    return format === 's' ? this.#chooseSingle(attempt, call) : this.#chooseDouble(attempt, call);
  }

  /** A store of a register: its value, if it is one. */
  protected hostValue(pattern: I64, bytes: number): Host | undefined {
    return bytes === 8 ? this.#doubles.get(pattern) : bytes === 4 ? this.#boxed.get(pattern) : undefined;
  }
  /** The pattern of a value that was loaded for the register to be written. */
  protected loaded(value: F32 | F64, bytes: 4 | 8): I64 {
    return bytes === 8 ? this.#ofDouble(value as F64) : this.#ofSingle(value as F32);
  }
  protected get writesSingle(): boolean {
    return this.floatLocals.singles[this.instruction.rd] !== undefined;
  }

  #read(register: number): I64 {
    const { f } = this;
    const single = this.floatLocals.singles[register];
    if (single === undefined) return this.#ofDouble(must(this.floatLocals.f[register]).get);
    const pattern = super.box('s', f.convert('i64_extend_i32_u', f.convert('i32_reinterpret_f32', single.get)));
    this.#boxed.set(pattern, single.get);
    return pattern;
  }

  #ofDouble(value: F64): I64 {
    const pattern = this.f.convert('i64_reinterpret_f64', value);
    this.#doubles.set(pattern, value);
    return pattern;
  }
  #ofSingle(value: F32): I64 {
    const { f } = this;
    const pattern = f.convert('i64_extend_i32_u', f.convert('i32_reinterpret_f32', value));
    this.#singles.set(pattern, value);
    return pattern;
  }
  #double(pattern: I64): F64 {
    return this.#doubles.get(pattern) ?? this.f.convert('f64_reinterpret_i64', pattern);
  }
  #single(pattern: I64): F32 {
    const { f } = this;
    return this.#singles.get(pattern) ?? f.convert('f32_reinterpret_i32', f.convert('i32_wrap_i64', pattern));
  }

  #choose(attempt: Attempt, call: () => I64): I64 {
    const { f } = this;
    const out = f.local('i64');
    f.if(
      attempt.isRight,
      () => f.set(out, attempt.value as unknown as I64),
      () => {
        f.set(out, call());
        this.#flagsChanged();
      },
      'likely',
    );
    return out.get;
  }
  #chooseDouble(attempt: Attempt, call: () => I64): I64 {
    const { f } = this;
    const out = f.local('f64');
    f.set(out, attempt.value as F64);
    f.if(
      f.i32.eqz(attempt.isRight),
      () => {
        f.set(out, f.convert('f64_reinterpret_i64', call()));
        this.#flagsChanged();
      },
      undefined,
      'unlikely',
    );
    return this.#ofDouble(out.get);
  }
  #chooseSingle(attempt: Attempt, call: () => I64): I64 {
    const { f } = this;
    const out = f.local('f32');
    f.set(out, attempt.value as F32);
    f.if(
      f.i32.eqz(attempt.isRight),
      () => {
        f.set(out, f.convert('f32_reinterpret_i32', f.convert('i32_wrap_i64', call())));
        this.#flagsChanged();
      },
      undefined,
      'unlikely',
    );
    return this.#ofSingle(out.get);
  }

  #flagsChanged(): void {
    setMasks(this.f, this.vcpu, this.floatLocals);
  }

  /** Sign and biased exponent of a value, or the exponent alone. */
  #exponent(letter: FloatLetter, value: Host, withSign = false): I32 {
    const { f } = this;
    const { i32, i64 } = f;
    const high =
      letter === 's'
        ? i32.shrU(f.convert('i32_reinterpret_f32', value), i32.const(23))
        : f.convert('i32_wrap_i64', i64.shrU(f.convert('i64_reinterpret_f64', value), i64.const(52)));
    return withSign ? high : i32.and(high, i32.const(letter === 's' ? 0xff : 0x7ff));
  }

  #attempt(operation: FloatOperation, letter: 's' | 'd', operands: readonly I64[]): Attempt | undefined {
    const { f } = this;
    const ops = letter === 's' ? f.f32 : f.f64;
    const special = SPECIAL_EXPONENT[letter];
    const value = (pattern: I64): F64 =>
      letter === 's' ? (this.#single(pattern) as unknown as F64) : this.#double(pattern);
    const compare = (name: 'eq' | 'ne' | 'lt' | 'gt' | 'le' | 'ge', a: F64, b: F64): I32 =>
      ops.compare(name, a as never, b as never);
    const fixed = (a: Host): F64 => f.let(a as F64);
    const both = (a: I32, b: I32): I32 => f.i32.and(a, b);
    const { rm } = this.instruction;
    const { raises, turns } = this.floatLocals;
    const mask = rm === DYNAMIC ? turns.get : rm === 0 ? raises.get : undefined;
    const rounds = mask && f.i32.eqz(mask);
    const isBelow = (exponent: I32, from: number, limit: number): I32 =>
      f.i32.ltU(f.i32.or(f.i32.sub(exponent, f.i32.const(from)), must(mask)), f.i32.const(limit - from));
    const isBounded = (a: F64): I32 => isBelow(this.#exponent(letter, a), 0, special);
    // The smallest normal numbers may have been rounded up from below: they are underflows, perhaps.
    const isNormal = (a: F64): I32 => isBelow(this.#exponent(letter, a), 2, special);
    const [a, b, c] = operands as [I64, I64, I64];

    switch (operation) {
      case 'add':
      case 'subtract': {
        if (rounds === undefined) return undefined;
        const result = fixed(ops.op(operation === 'add' ? 'add' : 'sub', value(a) as never, value(b) as never) as Host);
        return { value: result, isRight: isBounded(result) };
      }
      case 'multiply':
      case 'divide': {
        if (rounds === undefined) return undefined;
        const result = fixed(
          ops.op(operation === 'multiply' ? 'mul' : 'div', value(a) as never, value(b) as never) as Host,
        );
        return { value: result, isRight: isNormal(result) };
      }
      case 'squareRoot': {
        if (rounds === undefined) return undefined;
        const x = fixed(value(a));
        const result = fixed(ops.unary('sqrt', x as never) as Host);
        return { value: result, isRight: isBelow(this.#exponent(letter, x, true), 1, special) };
      }
      case 'multiplyAdd':
      case 'multiplySubtract':
      case 'negatedMultiplySubtract':
      case 'negatedMultiplyAdd': {
        if (rounds === undefined || !this.#fuses) return undefined;
        const turn = (x: F64, turns: boolean): F64 => (turns ? (ops.unary('neg', x as never) as unknown as F64) : x);
        const factor = turn(value(a), operation.startsWith('negated'));
        const addend = turn(value(c), operation === 'multiplySubtract' || operation === 'negatedMultiplyAdd');
        const result = fixed(f.relaxedMultiplyAdd(factor, value(b), addend));
        return { value: result, isRight: isNormal(result) };
      }
      case 'minimumNumber':
      case 'maximumNumber': {
        const result = fixed(
          ops.op(operation === 'minimumNumber' ? 'min' : 'max', value(a) as never, value(b) as never) as Host,
        );
        return { value: result, isRight: compare('eq', result, result) };
      }
      case 'equal':
      case 'less':
      case 'lessOrEqual': {
        const x = fixed(value(a));
        const y = fixed(value(b));
        const isRight = f.i32.or(compare('lt', x, y), compare('ge', x, y));
        const name = operation === 'equal' ? 'eq' : operation === 'less' ? 'lt' : 'le';
        return { value: this.bool(compare(name, x, y)) as unknown as Host, isRight };
      }
      case 'fromW':
        if (letter === 's') {
          if (rounds === undefined) return undefined;
          return { value: f.convert('f32_convert_i32_s', f.convert('i32_wrap_i64', a)), isRight: rounds };
        }
        return { value: f.convert('f64_convert_i32_s', f.convert('i32_wrap_i64', a)), isRight: f.i32.const(1) };
      case 'fromWu':
        if (letter === 's') {
          if (rounds === undefined) return undefined;
          return { value: f.convert('f32_convert_i32_u', f.convert('i32_wrap_i64', a)), isRight: rounds };
        }
        return { value: f.convert('f64_convert_i32_u', f.convert('i32_wrap_i64', a)), isRight: f.i32.const(1) };
      case 'fromL':
        if (rounds === undefined) return undefined;
        return { value: f.convert(letter === 's' ? 'f32_convert_i64_s' : 'f64_convert_i64_s', a), isRight: rounds };
      case 'fromLu':
        if (rounds === undefined) return undefined;
        return { value: f.convert(letter === 's' ? 'f32_convert_i64_u' : 'f64_convert_i64_u', a), isRight: rounds };
      case 'fromSingle': {
        if (letter !== 'd') return undefined;
        const x = f.let(this.#single(a));
        return { value: f.convert('f64_promote_f32', x), isRight: f.f32.compare('eq', x, x) };
      }
      case 'fromDouble': {
        if (letter !== 's' || rounds === undefined) return undefined;
        const result = fixed(f.convert('f32_demote_f64', this.#double(a)));
        return { value: result, isRight: isNormal(result) };
      }
      case 'toW':
      case 'toWu':
      case 'toL':
      case 'toLu': {
        if (rm !== RTZ) return undefined;
        const x = f.let(letter === 's' ? f.convert('f64_promote_f32', this.#single(a)) : this.#double(a));
        const [least, bound, convert] = TO_INTEGER[operation];
        // Truncation brings what is just outside back inside: `least` is excluded.
        const isInside = both(f.f64.compare('gt', x, f.f64.const(least)), f.f64.compare('lt', x, f.f64.const(bound)));
        const result = f.convert(convert, x);
        const wide = operation === 'toW' || operation === 'toWu' ? f.convert('i64_extend_i32_s', result) : result;
        return { value: wide as unknown as Host, isRight: both(f.i32.eqz(raises.get), isInside) };
      }
      default:
        return undefined;
    }
  }
}

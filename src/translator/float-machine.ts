/**
 * Floating point of regions: registers in f32 and f64 locals, arithmetic by the host's own instructions where their
 * result is right, flags included (engine/float/fast.ts says when): round to nearest even, NX already up, neither NaN
 * nor infinity nor so small that it may have underflowed. All else calls the engine's functions.
 *
 * What the region knows of the state lives in locals: `exact` (NX is up: inexact results raise nothing new), `nearest`
 * (that, and frm says RNE), `dirty` (mstatus.FS is Dirty). Values are passed as bit patterns like everywhere; the
 * floating-point value behind a pattern is remembered, so that no move to and fro is emitted.
 */
import { must } from '../base/assert.ts';
import { type Library, vcpuState, WasmMachine } from '../engine/index.ts';
import { FLOAT_OPERATIONS, type FloatLetter, type FloatOperation } from '../isa/index.ts';
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
  readonly exact: Local<I32>;
  readonly nearest: Local<I32>;
  readonly mode: Local<I64>;
  readonly dirty: Local<I32>;
}

/** What the host computes for an operation, and whether it is right. */
interface Attempt {
  readonly value: Host;
  readonly isRight: I32;
}

const LIMITS = {
  s: { type: 'f32', infinity: Number.POSITIVE_INFINITY, smallest: 2 ** -126 },
  d: { type: 'f64', infinity: Number.POSITIVE_INFINITY, smallest: 2 ** -1022 },
} as const;

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
    const { f } = this;
    const { exact, nearest, mode } = this.floatLocals;
    f.set(exact, f.i32.and(f.i32.load(this.vcpu, at.fflags), f.i32.const(NX)));
    f.set(nearest, f.i32.and(exact.get, f.i64.eqz(mode.get)));
  }

  #attempt(operation: FloatOperation, letter: 's' | 'd', operands: readonly I64[]): Attempt | undefined {
    const { f } = this;
    const ops = letter === 's' ? f.f32 : f.f64;
    const { type, infinity, smallest } = LIMITS[letter];
    const value = (pattern: I64): F64 =>
      letter === 's' ? (this.#single(pattern) as unknown as F64) : this.#double(pattern);
    const compare = (name: 'eq' | 'ne' | 'lt' | 'gt' | 'le' | 'ge', a: F64, b: F64): I32 =>
      ops.compare(name, a as never, b as never);
    const constant = (number: number): F64 => f.constF(type, number) as F64;
    const magnitude = (a: F64): F64 => ops.unary('abs', a as never) as unknown as F64;
    const fixed = (a: Host): F64 => f.let(a as F64);
    const both = (a: I32, b: I32): I32 => f.i32.and(a, b);
    const isBounded = (a: F64): I32 => compare('lt', magnitude(a), constant(infinity));
    const isNormal = (a: F64): I32 => both(isBounded(a), compare('gt', magnitude(a), constant(smallest)));
    const { rm } = this.instruction;
    const rounds = rm === DYNAMIC ? this.floatLocals.nearest.get : rm === 0 ? this.floatLocals.exact.get : undefined;
    const [a, b, c] = operands as [I64, I64, I64];

    switch (operation) {
      case 'add':
      case 'subtract': {
        if (rounds === undefined) return undefined;
        const result = fixed(ops.op(operation === 'add' ? 'add' : 'sub', value(a) as never, value(b) as never) as Host);
        return { value: result, isRight: both(rounds, isBounded(result)) };
      }
      case 'multiply':
      case 'divide': {
        if (rounds === undefined) return undefined;
        const result = fixed(
          ops.op(operation === 'multiply' ? 'mul' : 'div', value(a) as never, value(b) as never) as Host,
        );
        return { value: result, isRight: both(rounds, isNormal(result)) };
      }
      case 'squareRoot': {
        if (rounds === undefined) return undefined;
        const x = fixed(value(a));
        const result = fixed(ops.unary('sqrt', x as never) as Host);
        const isRight = both(both(rounds, compare('gt', x, constant(smallest))), compare('lt', x, constant(infinity)));
        return { value: result, isRight };
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
        return { value: result, isRight: both(rounds, isNormal(result)) };
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
        const isRight = both(compare('eq', x, x), compare('eq', y, y));
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
        if (letter === 's') return undefined;
        return { value: f.convert('f64_convert_i32_u', f.convert('i32_wrap_i64', a)), isRight: f.i32.const(1) };
      case 'fromL':
        if (rounds === undefined) return undefined;
        return { value: f.convert(letter === 's' ? 'f32_convert_i64_s' : 'f64_convert_i64_s', a), isRight: rounds };
      case 'fromSingle': {
        if (letter !== 'd') return undefined;
        const x = f.let(this.#single(a));
        return { value: f.convert('f64_promote_f32', x), isRight: f.f32.compare('eq', x, x) };
      }
      case 'fromDouble': {
        if (letter !== 's' || rounds === undefined) return undefined;
        const result = fixed(f.convert('f32_demote_f64', this.#double(a)));
        return { value: result, isRight: both(rounds, isNormal(result)) };
      }
      case 'toW':
      case 'toL': {
        if (rm !== RTZ) return undefined;
        const x = f.let(letter === 's' ? f.convert('f64_promote_f32', this.#single(a)) : this.#double(a));
        const bound = f.f64.const(operation === 'toW' ? 2 ** 31 : 2 ** 63);
        const isInside = f.f64.compare('lt', f.f64.unary('abs', x), bound);
        const result =
          operation === 'toW'
            ? f.convert('i64_extend_i32_s', f.convert('i32_trunc_sat_f64_s', x))
            : f.convert('i64_trunc_sat_f64_s', x);
        return { value: result as unknown as Host, isRight: both(this.floatLocals.exact.get, isInside) };
      }
      default:
        return undefined;
    }
  }
}

/** A region's floating-point registers and what it knows of the state: checked and loaded on entry, stored on exit. */
import { vcpuState } from '../engine/index.ts';
import type { FunctionBuilder, Ptr } from '../wasm/index.ts';
import { type FloatLocals, setMasks } from './float-machine.ts';
import type { FloatUse } from './float-registers.ts';

const at = vcpuState.offset;
const FS = 0x6000;
const BOX = 0xffffffff;
const CANONICAL_NAN = 0x7fc00000;

export class FloatFile {
  readonly locals: FloatLocals;
  readonly #f: FunctionBuilder;
  readonly #vcpu: Ptr;
  readonly #use: FloatUse;

  constructor(f: FunctionBuilder, vcpu: Ptr, use: FloatUse) {
    this.#f = f;
    this.#vcpu = vcpu;
    this.#use = use;
    const isSingle = (i: number): boolean => (use.singles & (1 << i)) !== 0;
    const isUsed = (i: number): boolean => (use.used & (1 << i)) !== 0;
    this.locals = {
      f: registers((i) => (isUsed(i) && !isSingle(i) ? f.local('f64') : undefined)),
      singles: registers((i) => (isUsed(i) && isSingle(i) ? f.local('f32') : undefined)),
      singlesWritten: f.local('i32'),
      raises: f.local('i32'),
      turns: f.local('i32'),
      mode: f.local('i64'),
      dirty: f.local('i32'),
    };
  }

  /** Gives up where floating point is off, frm is reserved, or bits that are needed are in an improper box. */
  check(giveUp: () => void): void {
    if (!this.#use.isAny) return;
    const { i32, i64 } = this.#f;
    const status = this.#f.convert('i32_wrap_i64', i64.load(this.#vcpu, at.mstatus));
    this.#f.if(i32.eqz(i32.and(status, i32.const(FS))), giveUp, undefined, 'unlikely');
    if (this.#use.isDynamic)
      this.#f.if(i64.gtU(i64.load(this.#vcpu, at.frm), i64.const(4)), giveUp, undefined, 'unlikely');
    for (let i = 0; i < 32; i++) {
      if ((this.#use.raw & (1 << i)) === 0) continue;
      const box = i32.load(this.#vcpu, at.f + i * 8 + 4);
      this.#f.if(i32.ne(box, i32.const(BOX)), giveUp, undefined, 'unlikely');
    }
  }

  load(): void {
    if (!this.#use.isAny) return;
    const f = this.#f;
    const { i32, i64 } = f;
    const { locals } = this;
    const status = f.convert('i32_wrap_i64', i64.load(this.#vcpu, at.mstatus));
    f.set(locals.dirty, i32.eq(i32.and(status, i32.const(FS)), i32.const(FS)));
    f.set(locals.mode, i64.load(this.#vcpu, at.frm));
    setMasks(f, this.#vcpu, locals);
    locals.f.forEach((local, i) => local && f.set(local, f.f64.load(this.#vcpu, at.f + i * 8)));
    locals.singles.forEach((local, i) => {
      if (!local) return;
      const bits = i32.load(this.#vcpu, at.f + i * 8);
      const isBoxed = i32.eq(i32.load(this.#vcpu, at.f + i * 8 + 4), i32.const(BOX));
      f.set(local, f.convert('f32_reinterpret_i32', f.select(isBoxed, bits, i32.const(CANONICAL_NAN))));
    });
  }

  store(): void {
    const f = this.#f;
    const { i32 } = f;
    const { locals } = this;
    locals.f.forEach((local, i) => {
      if (local && (this.#use.written & (1 << i)) !== 0) f.f64.store(this.#vcpu, at.f + i * 8, local.get);
    });
    locals.singles.forEach((local, i) => {
      if (!local || (this.#use.written & (1 << i)) === 0) return;
      f.if(i32.and(locals.singlesWritten.get, i32.const(1 << i)), () => {
        f.f32.store(this.#vcpu, at.f + i * 8, local.get);
        i32.store(this.#vcpu, at.f + i * 8 + 4, i32.const(BOX));
      });
    });
  }
}

/** One for each register. */
export function registers<T>(make: (register: number) => T): readonly T[] {
  return Array.from({ length: 32 }, (_, i) => make(i));
}

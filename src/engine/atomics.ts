/**
 * Atomic memory operations in generated Wasm: LR, SC, AMOs as atomic accesses of the shared memory, so that harts on
 * different threads see each other's; and cache-block operations. Misaligned atomics trap (cause 4 for LR, 6 else).
 *
 * SC succeeds if the memory still holds what LR read, by compare-and-exchange. Deviation: a value that changed and
 * changed back in between (ABA) is not noticed.
 */
import type { FunctionBuilder, FunctionRef, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { ACCESS } from './memory-plan.ts';
import { probe } from './memory-slots.ts';
import { FAULT, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

/** Zicboz and Zicbom work on blocks of this size. */
const CACHE_BLOCK_BYTES = 64;
const at = vcpuState.offset;

/** LR, SC, AMOs and cache-block operations, on host addresses. Misaligned ones trap (cause 4 or 6). */
export function defineAtomics(
  module: ModuleBuilder,
  library: Library,
  fns: { host: FunctionRef; fault: FunctionRef; written: FunctionRef },
): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  /** The host address of an aligned, atomic access, or a return of 0 with the fault recorded. */
  const locate = (f: FunctionBuilder, size: number, access: number): Ptr => {
    const { i32, i64 } = f;
    const vcpu = f.param<Ptr>(0).get;
    const va = f.param<I64>(1).get;
    f.if(
      i64.ne(i64.and(va, i64.const(size - 1)), i64.const(0)),
      () => {
        i64.store(vcpu, at.faultCause, i64.const(access === ACCESS.load ? 4 : 6));
        i64.store(vcpu, at.faultTval, va);
        i32.store(vcpu, at.fault, i32.const(FAULT.trap));
        f.return(i64.const(0));
      },
      undefined,
      'unlikely',
    );
    // Aligned: it lies in one page. Kernels take locks all the time.
    const hit = probe(f, vcpu, va, i32.const(1), access === ACCESS.load ? at.readBank : at.writeBank);
    const address = f.pointerLocal();
    f.if(
      hit.isHit,
      () => f.set(address, f.ptr.add(f.ptr.from64(va), f.ptr.load(hit.entry, 8))),
      () => {
        f.set(address, f.call(fns.host, vcpu, va, i32.const(size), i32.const(access)) as Ptr);
        f.if(f.ptr.eqz(address.get), () => {
          // Atomics reach memory only.
          f.if(i32.eqz(i32.load(vcpu, at.fault)), () => f.call(fns.fault, vcpu, i32.const(access), va, i32.const(1)));
          f.return(i64.const(0));
        });
      },
      'likely',
    );
    return address.get;
  };
  const narrow = (f: FunctionBuilder, size: number, value: I64): I64 =>
    size === 8 ? value : (f.unary('i64', size === 4 ? 0xc4 : size === 2 ? 0xc3 : 0xc2, value) as I64);

  for (const size of [4, 8] as const) {
    module.define(declare(`lr${size}`, [P, 'i64'], ['i64']), (f) => {
      const vcpu = f.param<Ptr>(0).get;
      const address = locate(f, size, ACCESS.load);
      const value = f.let(
        size === 8 ? f.atomicLoad('i64', address, 0) : f.convert('i64_extend_i32_s', f.atomicLoad('i32', address, 0)),
      );
      f.i64.store(vcpu, at.reservationAddress, f.ptr.to64(address));
      f.i64.store(vcpu, at.reservationSize, f.i64.const(size));
      f.i64.store(vcpu, at.reservationValue, value);
      f.return(value);
    });
    module.define(declare(`sc${size}`, [P, 'i64', 'i64'], ['i64']), (f) => {
      const { i32, i64 } = f;
      const vcpu = f.param<Ptr>(0).get;
      const address = locate(f, size, ACCESS.store);
      const reserved = i32.and(
        i64.eq(i64.load(vcpu, at.reservationAddress), f.ptr.to64(address)),
        i64.eq(i64.load(vcpu, at.reservationSize), i64.const(size)),
      );
      f.if(
        f.let(reserved),
        () => {
          i64.store(vcpu, at.reservationSize, i64.const(0));
          const expected = i64.load(vcpu, at.reservationValue);
          const mask = i64.const(size === 8 ? -1 : 0xffffffff);
          const found = f.let(
            f.atomicCompareExchange(address, 0, size, i64.and(expected, mask), i64.and(f.param<I64>(2).get, mask)),
          );
          f.if(i64.eq(narrow(f, size, found), expected), () => {
            f.call(fns.written, vcpu, address, i32.const(size));
            f.return(i64.const(0));
          });
        },
        () => i64.store(vcpu, at.reservationSize, i64.const(0)),
      );
      f.return(i64.const(1));
    });
  }
  for (const size of [1, 2, 4, 8] as const) {
    for (const operation of ['swap', 'add', 'xor', 'and', 'or', 'min', 'max', 'minu', 'maxu'] as const) {
      module.define(declare(`amo_${operation}${size}`, [P, 'i64', 'i64'], ['i64']), (f) => {
        const { i32, i64 } = f;
        const vcpu = f.param<Ptr>(0).get;
        const value = f.param<I64>(2).get;
        const address = locate(f, size, ACCESS.store);
        const old = f.local('i64');
        if (
          operation === 'swap' ||
          operation === 'add' ||
          operation === 'xor' ||
          operation === 'and' ||
          operation === 'or'
        ) {
          f.set(old, f.atomicRmw(operation === 'swap' ? 'xchg' : operation, address, 0, size, value));
        } else {
          const signed = operation === 'min' || operation === 'max';
          const mask = (v: I64): I64 => (size === 8 ? v : i64.and(v, i64.const(2 ** (size * 8) - 1)));
          f.loop((again) => {
            f.set(old, i64.loadSized(address, 0, size, false));
            const a = f.let(signed ? narrow(f, size, old.get) : mask(old.get));
            const b = f.let(signed ? narrow(f, size, value) : mask(value));
            const less = signed ? i64.ltS(a, b) : i64.ltU(a, b);
            const chosen = operation.startsWith('min') ? f.select(less, a, b) : f.select(less, b, a);
            const found = f.atomicCompareExchange(address, 0, size, mask(old.get), mask(chosen));
            f.brIf(again, i64.ne(found, mask(old.get)));
          });
        }
        f.call(fns.written, vcpu, address, i32.const(size));
        f.return(narrow(f, size, old.get));
      });
    }
  }
  // cbo.zero: the block of 64 bytes; cbo.clean, flush, inval: only the access check (of a load or a store).
  module.define(declare('zero_block', [P, 'i64'], []), (f) => {
    const vcpu = f.param<Ptr>(0).get;
    const va = f.let(f.i64.and(f.param<I64>(1).get, f.i64.const(-CACHE_BLOCK_BYTES)));
    const address = f.let(f.call(fns.host, vcpu, va, f.i32.const(CACHE_BLOCK_BYTES), f.i32.const(ACCESS.store)) as Ptr);
    f.if(f.ptr.eqz(address), () => {
      f.if(f.i32.eqz(f.i32.load(vcpu, at.fault)), () =>
        f.call(fns.fault, vcpu, f.i32.const(ACCESS.store), f.param<I64>(1).get, f.i32.const(1)),
      );
      f.if(f.i32.eq(f.i32.load(vcpu, at.fault), f.i32.const(FAULT.trap)), () =>
        f.i64.store(vcpu, at.faultTval, f.param<I64>(1).get),
      );
      f.return();
    });
    f.memoryFill(address, f.i32.const(0), f.ptr.const(CACHE_BLOCK_BYTES));
    f.call(fns.written, vcpu, address, f.i32.const(CACHE_BLOCK_BYTES));
  });
  module.define(declare('touch_block', [P, 'i64'], []), (f) => {
    const { i32 } = f;
    const vcpu = f.param<Ptr>(0).get;
    const va = f.param<I64>(1).get;
    // Permitted if a load or a store is; the fault, if any, is a store's (Zicbom).
    const address = f.let(f.call(fns.host, vcpu, va, i32.const(1), i32.const(ACCESS.load)) as Ptr);
    f.if(i32.and(f.ptr.eqz(address), i32.eq(i32.load(vcpu, at.fault), i32.const(FAULT.trap))), () => {
      i32.store(vcpu, at.fault, i32.const(FAULT.none));
      f.call(fns.host, vcpu, va, i32.const(1), i32.const(ACCESS.store));
    });
  });
}

/**
 * The slow paths of loads and stores: what misses the translation buffers, crosses a page, reaches a device, or
 * writes to a frame that holds decoded code.
 */
import type { FunctionBuilder, FunctionRef, I32, I64, Ptr } from '../wasm/index.ts';
import { ACCESS } from './memory-plan.ts';
import { announceTwo } from './tracked-frames.ts';
import { EXIT, FAULT, MMIO_ANSWER, vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;

/** load_slow(vcpu, va, bytes): the value, zero-extended; 0 with `fault` set. */
export function defineLoad(f: FunctionBuilder, host: FunctionRef, fault: FunctionRef, self: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const va = f.param<I64>(1).get;
  const bytes = f.param<I32>(2).get;
  const offset = f.let(i32.and(f.convert('i32_wrap_i64', va), i32.const(0xfff)));
  f.if(
    i32.gtU(i32.add(offset, bytes), i32.const(4096)),
    () => {
      // Two pages: byte by byte, once both are known to be there.
      bothPages(f, { host, fault }, ACCESS.load);
      const out = f.local('i64');
      const i = f.local('i32');
      f.while(
        () => i32.ltU(i.get, bytes),
        () => {
          const wide = f.convert('i64_extend_i32_u', i.get);
          const byte = f.let(f.call(self, vcpu, i64.add(va, wide), i32.const(1)) as I64);
          f.if(i32.load(vcpu, at.fault), () => f.return(i64.const(0)));
          f.set(out, i64.or(out.get, i64.shl(byte, i64.shl(wide, i64.const(3)))));
          f.set(i, i32.add(i.get, i32.const(1)));
        },
      );
      f.return(out.get);
    },
    undefined,
    'unlikely',
  );
  const address = f.let(f.call(host, vcpu, va, bytes, i32.const(ACCESS.load)) as Ptr);
  f.if(i32.eqz(f.ptr.eqz(address)), () => {
    f.if(i32.eq(bytes, i32.const(8)), () => f.return(i64.load(address)));
    f.if(i32.eq(bytes, i32.const(4)), () => f.return(i64.loadSized(address, 0, 4, false)));
    f.if(i32.eq(bytes, i32.const(2)), () => f.return(i64.loadSized(address, 0, 2, false)));
    f.return(i64.loadSized(address, 0, 1, false));
  });
  f.if(i32.load(vcpu, at.fault), () => f.return(i64.const(0)));
  // A device. The answer to an earlier exit of this instruction is consumed, else the engine is left.
  f.if(i32.and(offset, i32.sub(bytes, i32.const(1))), () => {
    f.call(fault, vcpu, i32.const(ACCESS.load), va, i32.const(1));
    f.return(i64.const(0));
  });
  f.if(i32.eq(i32.load(vcpu, at.mmioAnswer), i32.const(MMIO_ANSWER.refused)), () => {
    i32.store(vcpu, at.mmioAnswer, i32.const(MMIO_ANSWER.none));
    f.call(fault, vcpu, i32.const(ACCESS.load), va, i32.const(1));
    f.return(i64.const(0));
  });
  f.if(i32.eq(i32.load(vcpu, at.mmioAnswer), i32.const(MMIO_ANSWER.read)), () => {
    i32.store(vcpu, at.mmioAnswer, i32.const(MMIO_ANSWER.none));
    f.return(i64.load(vcpu, at.exitValue));
  });
  leaveForDevice(f, vcpu, bytes, false);
  f.return(i64.const(0));
}

/** store_slow(vcpu, va, bytes, value): `fault` is set if it did not take place. */
export function defineStore(f: FunctionBuilder, host: FunctionRef, fault: FunctionRef, written: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const va = f.param<I64>(1).get;
  const bytes = f.param<I32>(2).get;
  const value = f.param<I64>(3).get;
  const offset = f.let(i32.and(f.convert('i32_wrap_i64', va), i32.const(0xfff)));
  f.if(
    i32.gtU(i32.add(offset, bytes), i32.const(4096)),
    () => {
      // Two pages: both are translated before a byte is written.
      const { one, two, firstBytes } = bothPages(f, { host, fault }, ACCESS.store);
      announceTwo(f, vcpu);
      const i = f.local('i32');
      f.while(
        () => i32.ltU(i.get, bytes),
        () => {
          const to = f.select(
            i32.ltU(i.get, firstBytes),
            f.ptr.add(one, f.ptr.from32(i.get)),
            f.ptr.add(two, f.ptr.from32(i32.sub(i.get, firstBytes))),
          );
          i64.storeSized(to, 0, 1, i64.shrU(value, f.convert('i64_extend_i32_u', i32.shl(i.get, i32.const(3)))));
          f.set(i, i32.add(i.get, i32.const(1)));
        },
      );
      f.call(written, vcpu, one, firstBytes);
      f.call(written, vcpu, two, i32.sub(bytes, firstBytes));
      f.return();
    },
    undefined,
    'unlikely',
  );
  const address = f.let(f.call(host, vcpu, va, bytes, i32.const(ACCESS.store)) as Ptr);
  f.if(i32.eqz(f.ptr.eqz(address)), () => {
    for (const size of [8, 4, 2, 1])
      f.if(i32.eq(bytes, i32.const(size)), () => i64.storeSized(address, 0, size, value));
    f.call(written, vcpu, address, bytes);
    f.return();
  });
  f.if(i32.load(vcpu, at.fault), () => f.return());
  f.if(i32.and(offset, i32.sub(bytes, i32.const(1))), () => {
    f.call(fault, vcpu, i32.const(ACCESS.store), va, i32.const(1));
    f.return();
  });
  f.if(i32.eq(i32.load(vcpu, at.mmioAnswer), i32.const(MMIO_ANSWER.refused)), () => {
    i32.store(vcpu, at.mmioAnswer, i32.const(MMIO_ANSWER.none));
    f.call(fault, vcpu, i32.const(ACCESS.store), va, i32.const(1));
    f.return();
  });
  f.if(i32.eq(i32.load(vcpu, at.mmioAnswer), i32.const(MMIO_ANSWER.written)), () => {
    i32.store(vcpu, at.mmioAnswer, i32.const(MMIO_ANSWER.none));
    f.return();
  });
  i64.store(vcpu, at.exitValue, value);
  leaveForDevice(f, vcpu, bytes, true);
}

/**
 * The host addresses of an access that lies in two pages. Leaves the function (load_slow, store_slow) where either faults;
 * only then a device is looked for, which is a fault: none is split in half.
 */
function bothPages(
  f: FunctionBuilder,
  to: { readonly host: FunctionRef; readonly fault: FunctionRef },
  access: number,
): { readonly one: Ptr; readonly two: Ptr; readonly firstBytes: I32 } {
  const { i32, i64 } = f;
  const [vcpu, va, bytes] = [f.param<Ptr>(0).get, f.param<I64>(1).get, f.param<I32>(2).get];
  const giveUp = (): void => (access === ACCESS.load ? f.return(i64.const(0)) : f.return());
  const firstBytes = f.let(i32.sub(i32.const(4096), i32.and(f.convert('i32_wrap_i64', va), i32.const(0xfff))));
  const second = f.let(i64.and(i64.add(va, i64.const(7)), i64.const(-4096)));
  const locate = (part: I64, count: I32): Ptr => {
    const address = f.let(f.call(to.host, vcpu, part, count, i32.const(access)) as Ptr);
    f.if(f.ptr.eqz(address), () => f.if(i32.load(vcpu, at.fault), giveUp));
    return address;
  };
  const one = locate(va, firstBytes);
  const two = locate(second, i32.sub(bytes, firstBytes));
  const check = (address: Ptr, part: I64): void =>
    f.if(f.ptr.eqz(address), () => {
      f.call(to.fault, vcpu, i32.const(access), part, i32.const(1));
      giveUp();
    });
  check(one, va);
  check(two, second);
  return { one, two, firstBytes };
}

function leaveForDevice(f: FunctionBuilder, vcpu: Ptr, bytes: I32, isWrite: boolean): void {
  const { i32 } = f;
  i32.store(vcpu, at.exitBytes, bytes);
  i32.store(vcpu, at.exitIsWrite, i32.const(isWrite ? 1 : 0));
  i32.store(vcpu, at.exitKind, i32.const(EXIT.mmio));
  i32.store(vcpu, at.fault, i32.const(FAULT.leave));
}

/**
 * Where generated code takes frames from for pages: those that the vCPU kept, else those that nobody had yet; and who is
 * told that a page gets a frame.
 */
import type { FunctionBuilder, FunctionRef, I32, Ptr } from '../wasm/index.ts';
import { headerLayout, PLAN } from './memory-plan.ts';
import { EXIT, FAULT, FRESH_PAGES, vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;

/** Rights follow frames (protection-tables.ts): they are there before the page is, and gone before another has it. */
export function tellHanded(f: FunctionBuilder, handed: FunctionRef, vcpu: Ptr, number: I32, page: I32): void {
  f.if(f.i32.eqz(f.i64.eqz(f.i64.load(vcpu, at.protection))), () =>
    f.call(handed, f.i32.load(vcpu, at.partition), number, page),
  );
}

/** The number of the page with that entry of the map. */
export function pageOf(f: FunctionBuilder, vcpu: Ptr, entry: Ptr): I32 {
  return f.ptr.to32(f.ptr.op('shr_u', f.ptr.op('sub', entry, f.ptr.load(vcpu, at.gpaMap)), f.ptr.const(2)));
}

/** A frame of zeros; where there is none, the engine is left (`fault`), and the function with 0. */
export function frameOrLeave(f: FunctionBuilder, vcpu: Ptr): I32 {
  const { i32 } = f;
  const number = f.let(takeFrame(f, vcpu));
  f.if(
    i32.eqz(number),
    () => {
      i32.store(vcpu, at.fault, i32.const(FAULT.leave));
      i32.store(vcpu, at.exitKind, i32.const(EXIT.memoryFull));
      f.return(i32.const(0));
    },
    undefined,
    'unlikely',
  );
  return number;
}

/** A frame's number, which holds zeros: one that the vCPU kept, else one that nobody had; 0: there is none. */
function takeFrame(f: FunctionBuilder, vcpu: Ptr): I32 {
  const { i32 } = f;
  const number = f.local('i32');
  const spares = f.let(i32.load(vcpu, at.spareFrames));
  f.if(
    spares,
    () => {
      const last = f.let(i32.sub(spares, i32.const(1)));
      i32.store(vcpu, at.spareFrames, last);
      f.set(number, i32.load(f.ptr.add(vcpu, f.ptr.from32(i32.shl(last, i32.const(2)))), at.spares));
    },
    () => {
      const header = f.ptr.const(PLAN.header);
      f.set(number, f.atomicRmw('add', header, headerLayout.offset.frameNext, 4, i32.const(1)));
      f.if(
        i32.geU(number.get, i32.load(header, headerLayout.offset.frameLimit)),
        () => {
          f.atomicRmw('sub', header, headerLayout.offset.frameNext, 4, i32.const(1));
          f.set(number, i32.const(0));
        },
        undefined,
        'unlikely',
      );
    },
  );
  return number.get;
}

/** Keeps a frame of zeros for the next page; where the vCPU has too many, it is lost. */
export function keepFrame(f: FunctionBuilder, vcpu: Ptr, number: I32): void {
  const { i32 } = f;
  const spares = f.let(i32.load(vcpu, at.spareFrames));
  f.if(i32.ltU(spares, i32.const(FRESH_PAGES)), () => {
    i32.store(f.ptr.add(vcpu, f.ptr.from32(i32.shl(spares, i32.const(2)))), at.spares, number);
    i32.store(vcpu, at.spareFrames, i32.add(spares, i32.const(1)));
  });
}

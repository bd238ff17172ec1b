/**
 * Frames for the guest's pages, at first touch; and back, where the guest only wrote zeros. A kernel clears much that it
 * never uses (Debian's clears an array of 32 MiB at boot to use a page of it), and what was never written holds zeros
 * anyway, so the frame can serve the next page, and the host need not provide another.
 *
 *              a vCPU stores                        anyone else, or a load, an atomic's load, a fetch, a walk
 *     absent ------------------> present, fresh ------------------------------------------------> present
 *        ^                           |    |                                                          ^
 *        |  holds only zeros         |    |  holds something else                                    |
 *        +------- between slices ----+    +------------------- between slices -----------------------+
 *
 * While a page is fresh only its vCPU's write buffer, and page slots filled from it, lead to the frame: they are dropped
 * when it goes. All changes of an entry are by compare-and-exchange, so that whoever reaches the page first decides.
 */
import type { FunctionBuilder, FunctionRef, I32, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { FRAME_BYTES, GPA, headerLayout, PLAN } from './memory-plan.ts';
import { newWriteEpoch, setStale } from './shadow-fences.ts';
import { defineCopy, settleShared } from './shared-frames.ts';
import { EXIT, FAULT, FRESH_PAGES, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
/** Bytes that are compared with zero at a time. */
const PIECE_BYTES = 64;

/** `handed(partition, frame, page)` is told of frames that pages get; page -1: that they are given back. */
export function defineFreshFrames(module: ModuleBuilder, library: Library, handed: FunctionRef): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  // settle_page(vcpu, entry's address, isStore): the entry of a page that has a frame from now on. 0: no memory there,
  // or (with `fault`) no frame left.
  const copy = module.function('copy_frame', [P, P, 'i32', 'i32'], ['i32'], (f) => defineCopy(f));
  module.define(declare('settle_page', [P, P, 'i32'], ['i32']), (f) => defineSettle(f, handed, copy));
  // return_frames(vcpu): looks at the fresh pages, of which there are none behind. Not while the vCPU runs.
  module.define(declare('return_frames', [P], []), (f) => defineReturn(f, handed));
}

/** Rights follow frames (protection-tables.ts): they are there before the page is, and gone before another has it. */
function tellHanded(f: FunctionBuilder, handed: FunctionRef, vcpu: Ptr, number: I32, page: I32): void {
  f.if(f.i32.eqz(f.i64.eqz(f.i64.load(vcpu, at.protection))), () =>
    f.call(handed, f.i32.load(vcpu, at.partition), number, page),
  );
}

function defineSettle(f: FunctionBuilder, handed: FunctionRef, copy: FunctionRef): void {
  const { i32 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const entry = f.param<Ptr>(1).get;
  const number = f.local('i32');
  const next = f.local('i32');
  const tell = (frame: I32, page: I32): void => tellHanded(f, handed, vcpu, frame, page);
  f.loop((again) => {
    const old = f.let(f.atomicLoad('i32', entry, 0));
    f.if(i32.and(old, i32.const(GPA.present)), () => {
      f.if(i32.and(old, i32.const(GPA.shared)), () =>
        settleShared(f, { entry, old, isStore: f.param<I32>(2).get, again, copy, tell }),
      );
      f.if(i32.eqz(i32.and(old, i32.const(GPA.fresh))), () => f.return(old));
      const plain = f.let(i32.and(old, i32.const(~GPA.fresh)));
      f.brIf(again, i32.ne(f.atomicCompareExchange(entry, 0, 4, old, plain), old));
      f.return(plain);
    });
    f.if(i32.eqz(i32.and(old, i32.const(GPA.ram))), () => f.return(i32.const(0)));
    f.set(number, frameOrLeave(f, vcpu));
    tell(number.get, pageOf(f, vcpu, entry));
    const fresh = f.let(i32.load(vcpu, at.freshPages));
    const isFresh = f.let(i32.and(f.param<I32>(2).get, i32.ltU(fresh, i32.const(FRESH_PAGES))));
    const flags = i32.or(i32.const(GPA.present), i32.mul(isFresh, i32.const(GPA.fresh)));
    f.set(next, i32.or(i32.shl(number.get, i32.const(8)), i32.or(i32.and(old, i32.const(255)), flags)));
    f.if(i32.ne(f.atomicCompareExchange(entry, 0, 4, old, next.get), old), () => {
      // Another vCPU was faster: its frame stands.
      tell(number.get, i32.const(-1));
      keepFrame(f, vcpu, number.get);
      f.br(again);
    });
    f.if(isFresh, () => {
      i32.store(f.ptr.add(vcpu, f.ptr.from32(i32.shl(fresh, i32.const(2)))), at.fresh, f.ptr.to32(entry));
      i32.store(vcpu, at.freshPages, i32.add(fresh, i32.const(1)));
    });
    f.return(next.get);
  });
  f.unreachable();
}

function defineReturn(f: FunctionBuilder, handed: FunctionRef): void {
  const { i32 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const left = f.local('i32');
  const returned = f.local('i32');
  f.set(left, i32.load(vcpu, at.freshPages));
  f.set(returned, i32.const(0));
  f.while(
    () => left.get,
    () => {
      f.set(left, i32.sub(left.get, i32.const(1)));
      const slot = f.ptr.add(vcpu, f.ptr.from32(i32.shl(left.get, i32.const(2))));
      const entry = f.let(f.ptr.from32(i32.load(slot, at.fresh)));
      const value = f.let(f.atomicLoad('i32', entry, 0));
      f.if(i32.and(value, i32.const(GPA.fresh)), () => {
        const number = f.let(i32.shrU(value, i32.const(8)));
        const isUnused = f.let(
          i32.and(isZero(f, number), i32.ltU(i32.load(vcpu, at.spareFrames), i32.const(FRESH_PAGES))),
        );
        const next = f.let(
          f.select(isUnused, i32.and(value, i32.const(GPA.ram | GPA.readOnly)), i32.and(value, i32.const(~GPA.fresh))),
        );
        const isMine = f.let(i32.eq(f.atomicCompareExchange(entry, 0, 4, value, next), value));
        f.if(i32.and(isMine, isUnused), () => {
          tellHanded(f, handed, vcpu, number, i32.const(-1));
          keepFrame(f, vcpu, number);
          f.set(returned, i32.const(1));
        });
      });
    },
  );
  i32.store(vcpu, at.freshPages, i32.const(0));
  f.if(returned.get, () => {
    // The page may have been reached in any address space: all write buffers are emptied before they are used again.
    newWriteEpoch(f, vcpu);
    setStale(f, vcpu);
  });
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

function isZero(f: FunctionBuilder, number: I32): I32 {
  const { i32, i64 } = f;
  const from = f.pointerLocal();
  const out = f.local('i32');
  f.set(from, f.ptr.op('shl', f.ptr.from32(number), f.ptr.const(12)));
  const end = f.let(f.ptr.add(from.get, f.ptr.const(FRAME_BYTES)));
  f.set(out, i32.const(1));
  f.while(
    () => i32.and(out.get, i32.eqz(f.ptr.eq(from.get, end))),
    () => {
      let any = i64.load(from.get);
      for (let word = 8; word < PIECE_BYTES; word += 8) any = i64.or(any, i64.load(from.get, word));
      f.set(out, i64.eqz(any));
      f.set(from, f.ptr.add(from.get, f.ptr.const(PIECE_BYTES)));
    },
  );
  return out.get;
}

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
import { frameOrLeave, keepFrame, pageOf, tellHanded } from './frame-spares.ts';
import { FRAME_BYTES, GPA } from './memory-plan.ts';
import { newWriteEpoch, setStale } from './shadow-fences.ts';
import { defineCopy, settleShared } from './shared-frames.ts';
import { FRESH_PAGES, vcpuState } from './vcpu-state.ts';
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

function defineSettle(f: FunctionBuilder, handed: FunctionRef, copy: FunctionRef): void {
  const { i32 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const entry = f.param<Ptr>(1).get;
  const number = f.local('i32');
  const next = f.local('i32');
  const tell = (frame: I32, page: I32): void => tellHanded(f, handed, vcpu, frame, page);
  f.loop((again) => {
    const old = f.let(f.atomicLoad('i32', entry, 0));
    // Whatever else becomes of the page, it is written from now on (dirty-pages.ts).
    const isStore = i32.ne(f.param<I32>(2).get, i32.const(0));
    f.if(i32.and(isStore, i32.eq(i32.and(old, i32.const(GPA.clean | GPA.readOnly)), i32.const(GPA.clean))), () => {
      f.atomicCompareExchange(entry, 0, 4, old, i32.and(old, i32.const(~GPA.clean)));
      f.br(again);
    });
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

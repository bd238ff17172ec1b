/**
 * Frames that pages of several partitions have: of a partition and its twins (docs/fork.md). Whoever writes to such a page
 * gets a frame of its own first, with the same in it. Of each frame is counted how many pages have it besides one; where
 * that is none, the page that is left simply has it alone again.
 *
 *   alone --fork--> shared --a read--> shared, seen
 *     ^               |                   |
 *     |  a write: copied in the engine    |  a write leaves the engine (copyPage): what was cached of the old frame is
 *     +-----------------------------------+  dropped by all of the partition's vCPUs, and copied meanwhile
 *
 * No buffer or slot leads to a shared frame for writes. For reads and fetches they do, from when the page is seen on. So a
 * page that is not can be copied at any time: nobody is on the way to its old frame. Translated code may have checked a
 * page once for several reads, so the other kind is not copied within the engine. All changes of an entry are by
 * compare-and-exchange. Who copies holds the lock, so that of two owners not both leave the frame.
 */
import { must } from '../base/assert.ts';
import type { FunctionBuilder, FunctionRef, I32, Label, Ptr } from '../wasm/index.ts';
import { frameOrLeave, keepFrame, pageOf } from './frame-spares.ts';
import { FRAME_BYTES, GPA, headerLayout, PLAN } from './memory-plan.ts';
import { withLock } from './region-links.ts';
import { EXIT, FAULT, vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;
const header = headerLayout.offset;

/**
 * In settle_page, of a page whose frame is shared: returns its entry, of another frame where it is to be written, or goes
 * to `again` if somebody else changed it. 0, with `fault`: the engine is to be left.
 */
export function settleShared(
  f: FunctionBuilder,
  what: {
    readonly entry: Ptr;
    readonly old: I32;
    readonly isStore: I32;
    readonly again: Label;
    readonly copy: FunctionRef;
    /** That a page gets a frame, or (-1) that a frame is nobody's in this partition. */
    readonly tell: (frame: I32, page: I32) => void;
  },
): void {
  const { i32 } = f;
  const { entry, old, again, tell } = what;
  const vcpu = f.param<Ptr>(0).get;
  const change = (to: I32): void => {
    const next = f.let(to);
    f.brIf(again, i32.ne(f.atomicCompareExchange(entry, 0, 4, old, next), old));
    f.return(next);
  };
  // ROM stays as it is.
  f.if(i32.and(old, i32.const(GPA.readOnly)), () => f.return(old));
  const isSeen = f.let(i32.and(old, i32.const(GPA.seen)));
  f.if(i32.eqz(what.isStore), () => {
    f.if(isSeen, () => f.return(old));
    change(i32.or(old, i32.const(GPA.seen)));
  });
  const frame = f.let(i32.shrU(old, i32.const(8)));
  // Nobody else has it any more; only a fork could change that, which finds no vCPU running.
  f.if(i32.eqz(f.atomicLoad('i32', sharersOf(f, frame), 0)), () =>
    change(i32.and(old, i32.const(~(GPA.shared | GPA.seen)))),
  );
  f.if(isSeen, () => {
    const gpa = f.i64.shl(f.convert('i64_extend_i32_u', pageOf(f, vcpu, entry)), f.i64.const(12));
    f.i64.store(vcpu, at.exitGpa, gpa);
    i32.store(vcpu, at.fault, i32.const(FAULT.leave));
    i32.store(vcpu, at.exitKind, i32.const(EXIT.copyPage));
    f.return(i32.const(0));
  });
  const number = f.let(frameOrLeave(f, vcpu));
  tell(number, pageOf(f, vcpu, entry));
  const next = f.let(f.call(what.copy, vcpu, entry, old, number) as I32);
  f.if(i32.eqz(next), () => {
    tell(number, i32.const(-1));
    keepFrame(f, vcpu, number);
    f.br(again);
  });
  tell(frame, i32.const(-1));
  f.return(next);
}

/**
 * copy_frame(vcpu, entry's address, entry, number): the page gets the frame of that number, of zeros, with what its old one
 * holds: its entry. 0: somebody else changed the page, or its frame is shared no more; the new one holds zeros again.
 */
export function defineCopy(f: FunctionBuilder): void {
  const { i32 } = f;
  const entry = f.param<Ptr>(1).get;
  const old = f.param<I32>(2).get;
  const number = f.param<I32>(3).get;
  const lock = f.ptr.const(PLAN.header + header.sharersLock);
  const done = f.local('i32');
  f.loop((again) => f.brIf(again, f.atomicCompareExchange(lock, 0, 4, i32.const(0), i32.const(1)), 'unlikely'));
  const sharers = f.let(sharersOf(f, i32.shrU(old, i32.const(8))));
  f.if(f.atomicLoad('i32', sharers, 0), () => {
    const to = f.let(f.ptr.op('shl', f.ptr.from32(number), f.ptr.const(12)));
    const from = f.ptr.op('shl', f.ptr.from32(i32.shrU(old, i32.const(8))), f.ptr.const(12));
    f.memoryCopy(to, from, f.ptr.const(FRAME_BYTES));
    const flags = i32.and(old, i32.const(255 & ~(GPA.shared | GPA.seen)));
    const next = f.let(i32.or(i32.shl(number, i32.const(8)), flags));
    f.if(
      i32.eq(f.atomicCompareExchange(entry, 0, 4, old, next), old),
      () => {
        f.atomicRmw('sub', sharers, 0, 4, i32.const(1));
        f.atomicRmw('add', f.ptr.const(PLAN.header), header.framesCopied, 4, i32.const(1));
        f.set(done, next);
      },
      () => f.memoryFill(to, i32.const(0), f.ptr.const(FRAME_BYTES)),
    );
  });
  f.atomicStore(lock, 0, i32.const(0));
  f.return(done.get);
}

/** Where it is counted who has the frame besides. */
function sharersOf(f: FunctionBuilder, frame: I32): Ptr {
  const table = f.i32.load(f.ptr.const(PLAN.header), header.sharersFirst);
  const index = f.i32.sub(frame, f.i32.load(f.ptr.const(PLAN.header), header.frameFirst));
  return f.ptr.from32(f.i32.add(table, f.i32.shl(index, f.i32.const(2))));
}

/** The counts, from TypeScript. */
export class Sharers {
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  readonly #first: number;

  constructor({ u8, u32 }: { readonly u8: Uint8Array; readonly u32: Uint32Array }) {
    this.#u8 = u8;
    this.#u32 = u32;
    this.#first =
      must(u32[(PLAN.header + header.sharersFirst) / 4]) / 4 - must(u32[(PLAN.header + header.frameFirst) / 4]);
  }

  /** How many pages have the frame besides one. */
  of(frame: number): number {
    return Atomics.load(this.#u32, this.#first + frame);
  }

  add(frame: number): void {
    Atomics.add(this.#u32, this.#first + frame, 1);
  }

  /** A page that had the frame has it no more. True: nobody has. */
  leave(frame: number): boolean {
    return withLock(this.#u32, 'sharersLock', () => {
      if (this.of(frame) === 0) return true;
      Atomics.sub(this.#u32, this.#first + frame, 1);
      return false;
    });
  }

  /** As copy_frame of generated code: `entries[page]`, which is `entry`, gets the frame of that number. False: not. */
  copy(entries: Uint32Array, page: number, entry: number, number: number): boolean {
    return withLock(this.#u32, 'sharersLock', () => {
      const frame = entry >>> 8;
      if (this.of(frame) === 0) return false;
      this.#u8.copyWithin(number * FRAME_BYTES, frame * FRAME_BYTES, (frame + 1) * FRAME_BYTES);
      const next = ((number << 8) | (entry & 255 & ~(GPA.shared | GPA.seen))) >>> 0;
      if (Atomics.compareExchange(entries, page, entry, next) !== entry) return false;
      Atomics.sub(this.#u32, this.#first + frame, 1);
      Atomics.add(this.#u32, (PLAN.header + header.framesCopied) / 4, 1);
      return true;
    });
  }
}

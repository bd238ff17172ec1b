/**
 * The write-tracked model (`--shadow-model tracked`): frames that walks read as page tables are known, and stores to
 * them take the slow path, as those to frames with code do. So entries are dropped when their PTE is written, and a fence
 * finds nothing left to drop: a guest without ASIDs, which fences at each change of root, keeps its translations.
 *
 *            a walk reads it                  many writes without a walk, another place
 *   unknown ----------------> tracked, a bit ------------------------------------------------> unknown, or (often) demoted
 *                             for each PTE                                                     fences drop as ever
 *                             that was used
 *
 * A write to a PTE that no walk used drops nothing: what is not valid is never kept. A hart's own writes drop at once; those of
 * other harts are in a log (tracked-frames.ts) that fences take in; other writers (devices, debuggers) move a number in
 * the header, which fences look at. Here is what each hart knows of the frames that its own walks went through.
 */
import { array, struct } from '../base/struct.ts';
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { HOST_SCOPE } from './fence-scope.ts';
import { newEpoch } from './shadow-fences.ts';
import { shadowLayout } from './shadow-layout.ts';
import {
  countWrites,
  defineTakeIn,
  endWrite,
  frameOf,
  isConfirmed,
  logWrite,
  loseFrame,
  markOf,
  TRACKED_FRAMES,
  whenTracked,
} from './tracked-frames.ts';
import { vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const own = shadowLayout.offset;

export const TRACKED_BYTES = 128;
/** Writes to a frame without a walk between them that make it unknown again; how often before it is demoted. */
const FLOOD = 256;
const MOST_STRIKES = 8;

/** A frame as the hart's walks know it; of TRACKED_BYTES, at the frame's number modulo TRACKED_FRAMES. */
export const trackedFrame = struct('tracked-frame', {
  /** Number of the frame in linear memory; 0: none. 1: this hart's entries go when their PTEs are written. */
  frame: 'u32',
  isTracked: 'u32',
  /** The addresses that it translates, as a number of its span (0 for a root); its level, 0: leaves of 4 KiB. */
  base: 'u64',
  /** The shadow whose walks read it; 0: several. */
  owner: 'u64',
  level: 'u32',
  isRoot: 'u32',
  /** Since which mark; 1: all harts have seen it, and were seen to have when its PTEs were read. */
  mark: 'u32',
  isSure: 'u32',
  used: array('u64', 8),
});
const slotAt = trackedFrame.offset;

/**
 * track_entry(vcpu, PTE's host address, va, level) -> 1 if the PTE is to be read anew: a walk goes through it, and it is
 * valid. track_written(vcpu, host address, bytes): memory was written. take_in(vcpu) -> 1 if everything is to be dropped:
 * others' writes, for a fence.
 */
export function defineTracking(module: ModuleBuilder, library: Library, entry: FunctionRef): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  const release = module.function('track_release', [P, P], [], (f) => defineRelease(f, library));
  // track_apply(vcpu, PTE's host address, further PTEs): what was made of them goes.
  const apply = module.function('track_apply', [P, P, 'i32'], [], (f) => defineApply(f, library));
  // track_lose(vcpu, frame): nobody notices its writes any more.
  const lose = module.function('track_lose', [P, 'i32'], [], (f) => {
    const [vcpu, frame] = [f.param<Ptr>(0).get, f.param<I32>(1).get];
    f.if(loseFrame(f, vcpu, frame, MOST_STRIKES), () => count(f, vcpu, 'demotions'));
    forget(f, vcpu, frame, release);
  });
  const forgetWriters = library.get('forget_writers');
  module.define(entry, (f) => defineEntry(f, { release, lose, forgetWriters }));
  module.define(library.get('track_written'), (f) => defineWritten(f, apply, lose));
  module.define(library.get('take_in'), (f) =>
    defineTakeIn(f, {
      lost: (frame) => forget(f, f.param<Ptr>(0).get, frame, release),
      written: (host, further) => f.call(apply, f.param<Ptr>(0).get, host, further),
    }),
  );
}

/** The place of a frame, whether it is there or not. */
function slotOf(f: FunctionBuilder, vcpu: Ptr, frame: I32): Ptr {
  const offset = f.i32.mul(f.i32.and(frame, f.i32.const(TRACKED_FRAMES - 1)), f.i32.const(TRACKED_BYTES));
  return f.let(f.ptr.add(f.ptr.load(vcpu, at.trackTable), f.ptr.from32(offset)));
}

/** `then(slot)` if this hart's walks went through the frame. */
function whenKnown(f: FunctionBuilder, vcpu: Ptr, frame: I32, then: (slot: Ptr) => void): void {
  const slot = slotOf(f, vcpu, frame);
  const isKnown = f.i32.and(f.i32.eq(f.i32.load(slot, slotAt.frame), frame), f.i32.load(slot, slotAt.isTracked));
  f.if(isKnown, () => then(slot));
}

function forget(f: FunctionBuilder, vcpu: Ptr, frame: I32, release: FunctionRef): void {
  whenKnown(f, vcpu, frame, (slot) => f.call(release, vcpu, slot));
}

function count(
  f: FunctionBuilder,
  vcpu: Ptr,
  field: 'trackedFrames' | 'trackedWrites' | 'trackedDrops' | 'demotions',
): void {
  f.i32.store(vcpu, at[field], f.i32.add(f.i32.load(vcpu, at[field]), f.i32.const(1)));
}

function defineEntry(f: FunctionBuilder, to: Record<'release' | 'lose' | 'forgetWriters', FunctionRef>): void {
  const { i32, i64 } = f;
  const { release, lose, forgetWriters } = to;
  const vcpu = f.param<Ptr>(0).get;
  const host = f.param<Ptr>(1).get;
  const va = f.param<I64>(2).get;
  const level = f.param<I32>(3).get;
  const shadow = f.let(f.ptr.load(vcpu, at.shadow));
  const frame = frameOf(f, host);
  const slot = slotOf(f, vcpu, frame);
  const levels = f.convert('i32_wrap_i64', i64.shrU(i64.load(vcpu, at.satp), i64.const(60)));
  const isRoot = f.let(i32.eq(i32.add(level, i32.const(6)), levels));
  const span = f.convert('i64_extend_i32_u', i32.add(i32.mul(level, i32.const(9)), i32.const(21)));
  const base = f.let(f.select(isRoot, i64.const(0), i64.shrS(va, span)));
  const isTracked = (): I32 => i32.load(slot, slotAt.isTracked);
  // What this walk has read before may have been of that frame: then it, too, is no longer noticed.
  const untracked = (): void => i32.store(shadow, own.untracked, i32.const(1));
  const releaseIt = (): void => {
    f.call(release, vcpu, slot);
    untracked();
  };
  f.if(i32.ne(i32.load(slot, slotAt.frame), frame), () => {
    f.if(isTracked(), releaseIt);
    i32.store(slot, slotAt.frame, frame);
    i32.store(slot, slotAt.isTracked, i32.const(0));
  });
  const mark = markOf(f, vcpu, frame, () => {
    f.if(isTracked(), releaseIt);
    untracked();
    f.return(i32.const(0));
  });
  // Given up by another hart meanwhile, or its place was taken.
  f.if(i32.and(isTracked(), i32.ne(i32.load(slot, slotAt.mark), mark)), releaseIt);
  f.if(isTracked(), () => {
    const isSame = i32.and(
      i32.and(i64.eq(i64.load(slot, slotAt.base), base), i32.eq(i32.load(slot, slotAt.level), level)),
      i32.eq(i32.load(slot, slotAt.isRoot), isRoot),
    );
    // One frame at two places, or used anew: which entries a write concerns would not be known.
    f.if(i32.eqz(isSame), () => {
      f.call(lose, vcpu, frame);
      untracked();
      f.return(i32.const(1));
    });
  });
  const isNew = f.let(i32.eqz(isTracked()));
  f.if(
    isNew,
    () => {
      i32.store(slot, slotAt.isTracked, i32.const(1));
      i64.store(slot, slotAt.base, base);
      i64.store(slot, slotAt.owner, f.ptr.to64(shadow));
      i32.store(slot, slotAt.level, level);
      i32.store(slot, slotAt.isRoot, isRoot);
      i32.store(slot, slotAt.mark, mark);
      i32.store(slot, slotAt.isSure, i32.const(0));
      for (let word = 0; word < 8; word++) i64.store(slot, slotAt.used + word * 8, i64.const(0));
      count(f, vcpu, 'trackedFrames');
      f.call(forgetWriters, vcpu, f.ptr.op('shl', f.ptr.from32(frame), f.ptr.const(12)));
    },
    () =>
      f.if(i32.eqz(f.ptr.eq(f.ptr.load(slot, slotAt.owner), shadow)), () =>
        i64.store(slot, slotAt.owner, i64.const(0)),
      ),
  );
  const word = wordOf(f, slot, numberOf(f, host));
  i64.store(word.at, slotAt.used, i64.or(i64.load(word.at, slotAt.used), word.bit));
  f.if(
    i32.eqz(i32.load(slot, slotAt.isSure)),
    () => {
      f.if(
        isConfirmed(f, vcpu, mark),
        () => {
          i32.store(slot, slotAt.isSure, i32.const(1));
          f.return(i32.const(1));
        },
        untracked,
      );
    },
    undefined,
    'unlikely',
  );
  f.return(isNew);
}

/** The PTE's number in its frame. */
function numberOf(f: FunctionBuilder, host: Ptr): I32 {
  return f.let(f.i32.and(f.i32.shrU(f.ptr.to32(host), f.i32.const(3)), f.i32.const(511)));
}

function wordOf(f: FunctionBuilder, slot: Ptr, number: I32): { at: Ptr; bit: I64 } {
  const { i32, i64 } = f;
  const offset = i32.shl(i32.shrU(number, i32.const(6)), i32.const(3));
  const place = f.let(f.ptr.add(slot, f.ptr.from32(offset)));
  const shift = f.convert('i64_extend_i32_u', i32.and(number, i32.const(63)));
  return { at: place, bit: f.let(i64.shl(i64.const(1), shift)) };
}

/** Drops whatever may have been made from a frame's PTEs, all of it where global pages may be among them. */
function dropSpan(f: FunctionBuilder, library: Library, vcpu: Ptr, slot: Ptr, mayBeGlobal: I32): void {
  const { i32 } = f;
  const owner = f.let(f.ptr.load(slot, slotAt.owner));
  const isWide = i32.or(i32.or(mayBeGlobal, f.ptr.eqz(owner)), i32.load(vcpu, at.lowGlobals));
  f.if(
    isWide,
    () => f.call(library.get('drop_host'), vcpu),
    () => {
      newEpoch(f, vcpu, owner);
      f.call(library.get('set_banks'), vcpu);
    },
  );
}

/** track_release(vcpu, slot): the frame's writes are not noticed any more. */
function defineRelease(f: FunctionBuilder, library: Library): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const slot = f.param<Ptr>(1).get;
  i32.store(slot, slotAt.isTracked, i32.const(0));
  const mayBeGlobal = i32.or(i32.load(slot, slotAt.isRoot), i64.ltS(i64.load(slot, slotAt.base), i64.const(0)));
  dropSpan(f, library, vcpu, slot, mayBeGlobal);
}

function defineWritten(f: FunctionBuilder, apply: FunctionRef, lose: FunctionRef): void {
  const { i32 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const host = f.param<Ptr>(1).get;
  const bytes = f.param<I32>(2).get;
  whenTracked(f, vcpu, host, () => {
    logWrite(f, vcpu, host, bytes);
    count(f, vcpu, 'trackedWrites');
    const frame = frameOf(f, host);
    f.if(
      i32.gtU(countWrites(f, frame), i32.const(FLOOD)),
      () => f.call(lose, vcpu, frame),
      () => {
        const last = f.ptr.add(host, f.ptr.from32(i32.sub(bytes, i32.const(1))));
        const further = f.let(i32.sub(numberOf(f, last), numberOf(f, host)));
        f.call(apply, vcpu, host, further);
      },
    );
  });
  // Last: whoever fences then finds the write in the log.
  endWrite(f, vcpu);
}

function defineApply(f: FunctionBuilder, library: Library): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const host = f.param<Ptr>(1).get;
  whenKnown(f, vcpu, frameOf(f, host), (slot) => {
    const number = f.local('i32');
    f.set(number, numberOf(f, host));
    const last = f.let(i32.add(number.get, f.param<I32>(2).get));
    f.loop((again) => {
      const word = wordOf(f, slot, number.get);
      const used = f.let(i64.load(word.at, slotAt.used));
      f.if(i64.ne(i64.and(used, word.bit), i64.const(0)), () => {
        i64.store(word.at, slotAt.used, i64.xor(used, word.bit));
        count(f, vcpu, 'trackedDrops');
        dropEntry(f, library, vcpu, slot, number.get);
      });
      f.set(number, i32.add(number.get, i32.const(1)));
      f.brIf(again, i32.leU(number.get, last));
    });
  });
}

/** A PTE that walks used was written: of a level above the last, whatever lies below it. */
function dropEntry(f: FunctionBuilder, library: Library, vcpu: Ptr, slot: Ptr, number: I32): void {
  const { i32, i64 } = f;
  const level = f.let(i32.load(slot, slotAt.level));
  const base = f.let(i64.load(slot, slotAt.base));
  const owner = f.let(f.ptr.load(slot, slotAt.owner));
  f.if(level, () => {
    const isHigh = f.select(
      i32.load(slot, slotAt.isRoot),
      i32.geU(number, i32.const(256)),
      i64.ltS(base, i64.const(0)),
    );
    dropSpan(f, library, vcpu, slot, isHigh);
    f.return();
  });
  const page = i64.shl(f.convert('i64_extend_i32_u', number), i64.const(12));
  const va = f.let(i64.or(i64.shl(base, i64.const(21)), page));
  const hart = f.let(f.ptr.load(vcpu, at.shadowPool));
  const found = f.let(f.call(library.get('shadow_drop'), vcpu, hart, va, i32.const(0)) as I32);
  f.if(
    i32.or(found, f.ptr.eqz(owner)),
    () => f.call(library.get('drop_page'), vcpu, va, f.i64.const(HOST_SCOPE)),
    () => {
      f.let(f.call(library.get('shadow_drop'), vcpu, owner, va, i32.const(0)) as I32);
      f.call(library.get('set_banks'), vcpu);
    },
  );
}

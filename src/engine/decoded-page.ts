/**
 * The decoded page of a frame that is executed for the first time: taken from the pool of code memory, and from then on
 * writes to the frame must be noticed. This vCPU forgets its own translations that write to it; others are told by a
 * mark (hypervisor/vcpu.ts).
 */
import type { FunctionBuilder, FunctionRef, I32, I64, Local, Ptr } from '../wasm/index.ts';
import {
  DECODED_HEADER_BYTES,
  DECODED_STRIDE,
  decodedHeader,
  FRAME_BYTES,
  headerLayout,
  MARKS,
  PLAN,
} from './memory-plan.ts';
import { clearSlots } from './memory-slots.ts';
import { SPECIAL } from './operations.ts';
import { newWriteEpoch } from './shadow-fences.ts';
import { EXIT, FAULT, TLB_BANK_BYTES, vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;
const head = decodedHeader.offset;
const SENTINEL = SPECIAL.pageEnd;

/** decoded_page(vcpu, frame's host address): its page of entries, made if need be; 0: the pool is used up. */
export function defineDecodedPage(f: FunctionBuilder, noteCode: FunctionRef): void {
  const { i32 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const frame = f.param<Ptr>(1).get;
  const slot = f.let(f.ptr.op('shl', f.ptr.op('shr_u', frame, f.ptr.const(12)), f.ptr.const(2)));
  const present = f.let(i32.load(slot, PLAN.frameTable));
  f.if(present, () => f.return(f.ptr.from32(present)), undefined, 'likely');
  const header = f.ptr.const(PLAN.header);
  const block = f.local('i32');
  takeFreePage(f, vcpu, block);
  f.if(i32.eqz(block.get), () => takeNewPage(f, vcpu, block), undefined, 'likely');
  const made = f.let(f.ptr.from32(block.get));
  // What was never used is zero: the host need not provide the pages of entries that are never decoded.
  f.if(i32.ltU(block.get, i32.load(header, headerLayout.offset.decodedUsed)), () =>
    f.memoryFill(made, i32.const(0), f.ptr.const(DECODED_STRIDE)),
  );
  f.ptr.store(made, head.frame, frame);
  i32.store(made, head.wanted, wantsBreakpoint(f, frame));
  const entries = f.let(i32.add(block.get, i32.const(DECODED_HEADER_BYTES)));
  f.i64.store(made, DECODED_HEADER_BYTES + 2048 * 8, f.i64.const(SENTINEL));
  f.i64.store(made, DECODED_HEADER_BYTES + 2049 * 8, f.i64.const(SENTINEL));
  const found = f.atomicCompareExchange(slot, PLAN.frameTable, 4, i32.const(0), entries);
  f.if(found, () => f.return(f.ptr.from32(found)), undefined, 'unlikely');
  f.call(noteCode, vcpu, frame, f.ptr.from32(entries));
  f.return(f.ptr.from32(entries));
}

/** The place of a page that was taken back (cold-pages.ts), in `block`; 0: there is none. Returns where code memory is full. */
function takeFreePage(f: FunctionBuilder, vcpu: Ptr, block: Local<I32>): void {
  const { i32 } = f;
  const header = f.ptr.const(PLAN.header);
  const bytes = f.local('i32');
  f.set(block, i32.const(0));
  f.set(bytes, f.atomicLoad('i32', header, headerLayout.offset.decodedFreeBytes));
  f.while(
    () => i32.and(i32.ne(bytes.get, i32.const(0)), i32.eqz(block.get)),
    () => {
      // They hold nothing, and may have been charged for something else since (translator/module-log.ts).
      const rest = f.let(i32.sub(bytes.get, i32.const(DECODED_STRIDE)));
      const end = i32.sub(f.atomicLoad('i32', header, headerLayout.offset.decodedNext), rest);
      leaveIfFull(f, vcpu, end);
      const found = f.let(f.atomicCompareExchange(header, headerLayout.offset.decodedFreeBytes, 4, bytes.get, rest));
      f.if(
        i32.eq(found, bytes.get),
        () => popFreePage(f, block),
        () => f.set(bytes, found),
        'likely',
      );
    },
  );
}

/** One page is there for whoever took its bytes. */
function popFreePage(f: FunctionBuilder, block: Local<I32>): void {
  const { i32 } = f;
  const header = f.ptr.const(PLAN.header);
  f.set(block, f.atomicLoad('i32', header, headerLayout.offset.decodedFree));
  f.loop((again) => {
    const next = i32.load(f.ptr.from32(block.get));
    const found = f.let(f.atomicCompareExchange(header, headerLayout.offset.decodedFree, 4, block.get, next));
    const isOther = f.let(i32.ne(found, block.get));
    f.set(block, found);
    f.brIf(again, isOther, 'unlikely');
  });
}

/** A place from the end of the pool, in `block`. Returns where code memory is full. */
function takeNewPage(f: FunctionBuilder, vcpu: Ptr, block: Local<I32>): void {
  const { i32 } = f;
  const header = f.ptr.const(PLAN.header);
  // What is not there is never taken, not for a moment either: modules come out of the same pool.
  f.set(block, f.atomicLoad('i32', header, headerLayout.offset.decodedNext));
  f.loop((again) => {
    const end = f.let(i32.add(block.get, i32.const(DECODED_STRIDE)));
    leaveIfFull(f, vcpu, end);
    const found = f.let(f.atomicCompareExchange(header, headerLayout.offset.decodedNext, 4, block.get, end));
    const isOther = f.let(i32.ne(found, block.get));
    f.set(block, found);
    f.brIf(again, isOther, 'unlikely');
  });
}

/** Leaves the engine, returning 0, if code memory is full when it is in use up to `end`. */
function leaveIfFull(f: FunctionBuilder, vcpu: Ptr, end: I32): void {
  const { i32 } = f;
  const limit = f.atomicLoad('i32', f.ptr.const(PLAN.header), headerLayout.offset.decodedLimit);
  f.if(i32.gtU(end, limit), () => {
    i32.store(vcpu, at.fault, i32.const(FAULT.leave));
    i32.store(vcpu, at.exitKind, i32.const(EXIT.codeFull));
    f.return(f.ptr.const(0));
  });
}

/**
 * note_code(vcpu, frame's host address, its entries): from here on writes to the frame must be noticed. This vCPU forgets
 * its translations that write to it, others are told by a mark.
 */
export function defineNoteCode(f: FunctionBuilder): void {
  const { i32 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const frame = f.param<Ptr>(1).get;
  const entries = f.ptr.to32(f.param<Ptr>(2).get);
  const header = f.ptr.const(PLAN.header);
  const tlb = f.pointerLocal();
  f.set(tlb, f.ptr.load(vcpu, at.writeBank));
  const end = f.let(f.ptr.add(tlb.get, f.ptr.const(TLB_BANK_BYTES)));
  f.loop((again) => {
    const tag = f.i64.load(tlb.get);
    const target = f.ptr.add(f.ptr.from64(tag), f.ptr.load(tlb.get, 8));
    f.if(f.ptr.eq(target, frame), () => f.i64.store(tlb.get, 0, f.i64.const(-1)));
    f.set(tlb, f.ptr.add(tlb.get, f.ptr.const(16)));
    f.brIf(again, f.i32.eqz(f.ptr.eq(tlb.get, end)));
  });
  clearSlots(f, vcpu);
  // The other banks, and other shadows', are emptied when they come into use.
  newWriteEpoch(f, vcpu);
  // Other vCPUs may still write to it without being noticed: they are told (hypervisor/vcpu.ts).
  const mark = f.let(f.atomicRmw('add', header, headerLayout.offset.marks, 4, i32.const(1)));
  // This one knows: its own translations are gone already.
  f.if(i32.eq(i32.load(vcpu, at.seenMarks), mark), () => i32.store(vcpu, at.seenMarks, i32.add(mark, i32.const(1))));
  const ring = f.let(f.ptr.add(header, f.ptr.from32(i32.shl(i32.and(mark, i32.const(MARKS - 1)), i32.const(3)))));
  const wide = (value: I32): I64 => f.convert('i64_extend_i32_u', value);
  const record = f.i64.or(f.i64.shl(wide(mark), f.i64.const(32)), wide(entries));
  f.atomicStore(ring, headerLayout.offset.recentMarks, record);
}

/** Whether a breakpoint that is to be in an overlay lies in this frame: 1 or 0. */
function wantsBreakpoint(f: FunctionBuilder, frame: Ptr): I32 {
  const { i32 } = f;
  const header = f.ptr.const(PLAN.header);
  const left = f.local('i32');
  const found = f.local('i32');
  f.set(found, i32.const(0));
  f.set(left, i32.const(0));
  f.if(
    i32.load(header, headerLayout.offset.breakpointsInOverlays),
    () => f.set(left, i32.load(header, headerLayout.offset.breakpointCount)),
    undefined,
    'unlikely',
  );
  f.while(
    () => left.get,
    () => {
      f.set(left, i32.sub(left.get, i32.const(1)));
      const slot = f.ptr.add(header, f.ptr.from32(i32.shl(left.get, i32.const(2))));
      const page = i32.and(i32.load(slot, headerLayout.offset.breakpoints), i32.const(-FRAME_BYTES));
      f.if(i32.eq(page, f.ptr.to32(frame)), () => f.set(found, i32.const(1)));
    },
  );
  return found.get;
}

/**
 * Frames that held code once and hold data now. Stores to a frame with decoded code take the slow path, where they are
 * noticed; a kernel hands such frames out again (what it was started from, programs that have ended), and each store
 * there would go on to cost what one to code costs. So a frame that is only written, and not decoded anew, becomes
 * *quiet*: its entries are emptied, its regions dropped, and its stores are as good as any other's.
 *
 *   noticed --more writes than patience, none decoded--> quiet --an instruction is decoded--> noticed
 *
 * Going back is what the first execution of a frame is: this vCPU forgets its translations that write to it, others
 * are told by a mark, and until they have seen it their writes go unnoticed, as fence.i knows (docs/translator.md).
 * A page that holds hot code beside data is left alone soon: patience doubles each time.
 */
import type { FunctionBuilder, FunctionRef, I32, Ptr } from '../wasm/index.ts';
import { decodedHeader } from './memory-plan.ts';
import { headerOf } from './overlay-code.ts';

const head = decodedHeader.offset;
/** Writes that are borne the first time; later twice, four times as many, and so on. */
const PATIENCE = 32;
const MOST_DOUBLINGS = 12;
const ENTRIES_BYTES = 2048 * 8;

/** 1 where nothing of the page is decoded and writes go unnoticed. */
export function isQuiet(f: FunctionBuilder, entries: Ptr): I32 {
  return f.atomicLoad('i32', headerOf(f, entries), head.quiet);
}

/** A write to the frame was noticed: when there were many, and nothing was decoded in between, the page becomes quiet. */
export function countWrite(
  f: FunctionBuilder,
  vcpu: Ptr,
  entries: Ptr,
  { dropRegions, noteCode }: { readonly dropRegions: FunctionRef; readonly noteCode: FunctionRef },
): void {
  const { i32 } = f;
  const header = f.let(headerOf(f, entries));
  const writes = f.let(i32.add(i32.load(header, head.writes), i32.const(1)));
  i32.store(header, head.writes, writes);
  const quieted = f.let(i32.load(header, head.quieted));
  // What overlays stand for is to be noticed as long as they stand.
  const hasOverlays = (): I32 => i32.or(i32.load(header, head.overlays), i32.load(header, head.wanted));
  const isEnough = i32.and(i32.gtU(writes, i32.shl(i32.const(PATIENCE), quieted)), i32.eqz(hasOverlays()));
  f.if(
    isEnough,
    () => {
      i32.store(header, head.writes, i32.const(0));
      const isPatient = i32.ltU(quieted, i32.const(MOST_DOUBLINGS));
      i32.store(header, head.quieted, i32.add(quieted, isPatient));
      // In this order: whoever decodes, or installs a region, looks at the flag when it has written.
      f.atomicStore(header, head.quiet, i32.const(1));
      f.memoryFill(entries, i32.const(0), f.ptr.const(ENTRIES_BYTES));
      f.atomicFence();
      f.if(i32.load(header, head.links), () => f.call(dropRegions, vcpu, entries));
      // Somebody may have made one meanwhile: it looks at the flag behind that (fetch), or it is seen here.
      f.if(hasOverlays(), () => endQuiet(f, vcpu, entries, noteCode), undefined, 'unlikely');
    },
    undefined,
    'unlikely',
  );
}

/** An instruction of the page is about to be decoded, there or in an overlay: writes must be noticed again. */
export function endQuiet(f: FunctionBuilder, vcpu: Ptr, entries: Ptr, noteCode: FunctionRef): void {
  const { i32 } = f;
  const header = f.let(headerOf(f, entries));
  i32.store(header, head.writes, i32.const(0));
  f.if(
    isQuiet(f, entries),
    () => {
      const wasQuiet = f.atomicCompareExchange(header, head.quiet, 4, i32.const(1), i32.const(0));
      f.if(wasQuiet, () => f.call(noteCode, vcpu, f.ptr.load(header, head.frame), entries));
    },
    undefined,
    'unlikely',
  );
}

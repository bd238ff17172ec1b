/**
 * What the harts of a machine share of write-tracked shadows (shadow-tracking.ts): which frames are tracked, and the log by
 * which a hart learns of the others' writes to them.
 *
 *   frame --modulo 4096--> word: frame << 32 | mark        mark 0: not tracked, 1: demoted, else: since that mark
 *
 *   writer:  says that it is busy | writes | adds PTE and who to the log | is busy no more
 *   fence:   nobody is busy? takes in the log up to its end; somebody is, or it missed too much: everything is dropped
 *
 * A hart that does not know yet that a frame is tracked may have it in a write buffer and writes without notice. So each
 * frame that begins to be tracked is a mark; a hart empties its write buffers when it sees that there are new ones, before a slice
 * (hypervisor/vcpu.ts), and a mark that all have seen is *confirmed*. What was read through a frame before that is untracked:
 * the next fence drops it.
 */
import { array, struct } from '../base/struct.ts';
import type { FunctionBuilder, I32, I64, Ptr } from '../wasm/index.ts';
import type { MachineMemory } from './machine-memory.ts';
import { headerLayout, PLAN } from './memory-plan.ts';
import { type VcpuState, vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;

/** Frames of page tables that are known at a time, by frame number modulo this. */
export const TRACKED_FRAMES = 4096;
/** Writes that harts may not have taken in; a power of two. */
const TRACK_LOG = 4096;
/** So many may be overwritten while a hart reads. */
const LOG_MARGIN = 256;
/** Marks below FIRST_MARK say why a frame is not tracked. */
const FORGOTTEN = 0;
const DEMOTED = 1;
const FIRST_MARK = 2;
/** Bit of a log's entry: the frame is not tracked any more. Beside it 47 bits of address, and who wrote in the upper 16. */
const LOST = 1n << 47n;
const WRITER_SHIFT = 48;

export const trackedFrames = struct('tracked-frames', {
  /** The newest mark, and the newest that all harts have seen, modulo 2^32. */
  marks: 'u32',
  confirmed: 'u32',
  /** Harts that are about to write to a tracked frame, or change one's word. */
  busy: 'i32',
  /** Entries of the log so far, modulo 2^32. */
  logEnd: 'u32',
  words: array('u64', TRACKED_FRAMES),
  /** Writes since the last walk; how often the frame was given up. */
  writes: array('u32', TRACKED_FRAMES),
  strikes: array('u32', TRACKED_FRAMES),
  log: array('u64', TRACK_LOG),
});
const shared = trackedFrames.offset;

export function sharedOf(f: FunctionBuilder): Ptr {
  return f.let(f.ptr.from32(f.i32.load(f.ptr.const(PLAN.header), headerLayout.offset.trackTable)));
}

export function frameOf(f: FunctionBuilder, host: Ptr): I32 {
  return f.let(f.ptr.to32(f.ptr.op('shr_u', host, f.ptr.const(12))));
}

function indexOf(f: FunctionBuilder, frame: I32): I32 {
  return f.let(f.i32.and(frame, f.i32.const(TRACKED_FRAMES - 1)));
}

function wordAt(f: FunctionBuilder, all: Ptr, frame: I32): Ptr {
  return f.let(f.ptr.add(all, f.ptr.from32(f.i32.shl(indexOf(f, frame), f.i32.const(3)))));
}

function countAt(f: FunctionBuilder, all: Ptr, frame: I32): Ptr {
  return f.let(f.ptr.add(all, f.ptr.from32(f.i32.shl(indexOf(f, frame), f.i32.const(2)))));
}

const halves = (f: FunctionBuilder, word: I64): { frame: I32; mark: I32 } => ({
  frame: f.convert('i32_wrap_i64', f.i64.shrU(word, f.i64.const(32))),
  mark: f.convert('i32_wrap_i64', word),
});

function wordOf(f: FunctionBuilder, frame: I32, mark: I32): I64 {
  const wide = (value: I32): I64 => f.convert('i64_extend_i32_u', value);
  return f.i64.or(f.i64.shl(wide(frame), f.i64.const(32)), wide(mark));
}

/** `then()` if the frame of that host address is tracked by any hart. */
export function whenTracked(f: FunctionBuilder, vcpu: Ptr, host: Ptr, then: () => void): void {
  f.if(
    f.i32.load(vcpu, at.shadowModel),
    () => {
      const frame = frameOf(f, host);
      const word = f.let(f.atomicLoad('i64', wordAt(f, sharedOf(f), frame), shared.words));
      const { frame: known, mark } = halves(f, word);
      f.if(f.i32.and(f.i32.eq(known, frame), f.i32.geU(mark, f.i32.const(FIRST_MARK))), then);
    },
    undefined,
    'unlikely',
  );
}

/** The hart is about to write to a tracked frame: until it has said what, others' fences cannot know. */
export function beginWrite(f: FunctionBuilder, vcpu: Ptr): void {
  f.if(f.i32.and(f.i32.load(vcpu, at.hasPeers), f.i32.eqz(f.i32.load(vcpu, at.trackBusy))), () => {
    f.i32.store(vcpu, at.trackBusy, f.i32.const(1));
    f.atomicRmw('add', sharedOf(f), shared.busy, 4, f.i32.const(1));
    f.atomicFence();
  });
}

/** One of the writes that were announced is done. */
export function endWrite(f: FunctionBuilder, vcpu: Ptr): void {
  const busy = f.let(f.i32.load(vcpu, at.trackBusy));
  f.if(busy, () => {
    f.i32.store(vcpu, at.trackBusy, f.i32.sub(busy, f.i32.const(1)));
    f.if(f.i32.eq(busy, f.i32.const(1)), () => {
      f.atomicRmw('sub', sharedOf(f), shared.busy, 4, f.i32.const(1));
    });
  });
}

/** A store to two pages ends twice. */
export function announceTwo(f: FunctionBuilder, vcpu: Ptr): void {
  f.if(f.i32.load(vcpu, at.trackBusy), () => f.i32.store(vcpu, at.trackBusy, f.i32.const(2)), undefined, 'unlikely');
}

/** The hart as the log names it: its shadows lie 64 KiB from others' at least. */
function writerOf(f: FunctionBuilder, vcpu: Ptr): I64 {
  return f.i64.and(f.i64.shrU(f.i64.load(vcpu, at.shadowPool), f.i64.const(16)), f.i64.const(0xffff));
}

/** Tells the others, who are there, of a write of `bytes` (at most eight PTEs), or that the frame is lost. */
function append(f: FunctionBuilder, vcpu: Ptr, what: I64): void {
  f.if(f.i32.load(vcpu, at.hasPeers), () => {
    const all = sharedOf(f);
    const number = f.let(f.atomicRmw('add', all, shared.logEnd, 4, f.i32.const(1)));
    const offset = f.i32.shl(f.i32.and(number, f.i32.const(TRACK_LOG - 1)), f.i32.const(3));
    const writer = f.i64.shl(writerOf(f, vcpu), f.i64.const(WRITER_SHIFT));
    f.atomicStore(f.let(f.ptr.add(all, f.ptr.from32(offset))), shared.log, f.i64.or(writer, what));
  });
}

export function logWrite(f: FunctionBuilder, vcpu: Ptr, host: Ptr, bytes: I32): void {
  const { i32, i64 } = f;
  const first = f.let(f.ptr.to64(host));
  const last = i64.add(first, f.convert('i64_extend_i32_u', i32.sub(bytes, i32.const(1))));
  const further = i64.sub(i64.shrU(last, i64.const(3)), i64.shrU(first, i64.const(3)));
  append(f, vcpu, f.let(i64.or(i64.and(first, i64.const(-8)), further)));
}

/** Changes a word while others' fences cannot take it for finished; 1 if it was still `before`. */
function change(f: FunctionBuilder, vcpu: Ptr, frame: I32, words: { before: I64; after: I64 }, then: () => void): void {
  const all = sharedOf(f);
  f.if(f.i32.load(vcpu, at.hasPeers), () => {
    f.atomicRmw('add', all, shared.busy, 4, f.i32.const(1));
  });
  const found = f.atomicCompareExchange(wordAt(f, all, frame), shared.words, 8, words.before, words.after);
  f.if(f.i64.eq(found, words.before), then);
  f.if(f.i32.load(vcpu, at.hasPeers), () => {
    f.atomicRmw('sub', all, shared.busy, 4, f.i32.const(1));
  });
}

/** The mark since which the frame is tracked, which begins now if need be; `demoted()`: not any more. */
export function markOf(f: FunctionBuilder, vcpu: Ptr, frame: I32, demoted: () => void): I32 {
  const { i32 } = f;
  const all = sharedOf(f);
  const mark = f.local('i32');
  f.i32.store(countAt(f, all, frame), shared.writes, i32.const(0));
  f.loop((again) => {
    const word = f.let(f.atomicLoad('i64', wordAt(f, all, frame), shared.words));
    const { frame: known, mark: since } = halves(f, word);
    const isKnown = f.let(i32.eq(known, frame));
    f.if(i32.and(isKnown, i32.eq(since, i32.const(DEMOTED))), demoted);
    f.set(mark, since);
    f.if(i32.eqz(i32.and(isKnown, i32.geU(since, i32.const(FIRST_MARK)))), () => {
      f.set(mark, i32.add(f.atomicRmw('add', all, shared.marks, 4, i32.const(1)), i32.const(1)));
      const isOurs = f.local('i32');
      f.set(isOurs, i32.const(0));
      change(f, vcpu, frame, { before: word, after: f.let(wordOf(f, frame, mark.get)) }, () => {
        f.set(isOurs, i32.const(1));
        f.if(i32.eqz(isKnown), () => i32.store(countAt(f, all, frame), shared.strikes, i32.const(0)));
        // Who has the place of another makes it unknown.
        f.if(i32.and(i32.eqz(isKnown), i32.geU(since, i32.const(FIRST_MARK))), () => {
          const lost = f.i64.shl(f.convert('i64_extend_i32_u', known), f.i64.const(12));
          append(f, vcpu, f.let(f.i64.or(lost, f.i64.const(LOST))));
        });
      });
      f.brIf(again, i32.eqz(isOurs.get));
    });
  });
  return mark.get;
}

/** The frame is tracked no more, until a walk reads it, or (given up more often than `most`) never. 1: for good. */
export function loseFrame(f: FunctionBuilder, vcpu: Ptr, frame: I32, most: number): I32 {
  const { i32 } = f;
  const all = sharedOf(f);
  const count = countAt(f, all, frame);
  const isForGood = f.local('i32');
  f.set(isForGood, i32.const(0));
  const word = f.let(f.atomicLoad('i64', wordAt(f, all, frame), shared.words));
  f.if(i32.eq(halves(f, word).frame, frame), () => {
    const strikes = f.let(i32.add(i32.load(count, shared.strikes), i32.const(1)));
    i32.store(count, shared.strikes, strikes);
    i32.store(count, shared.writes, i32.const(0));
    f.set(isForGood, i32.gtU(strikes, i32.const(most)));
    const mark = f.select(isForGood.get, i32.const(DEMOTED), i32.const(FORGOTTEN));
    change(f, vcpu, frame, { before: word, after: f.let(wordOf(f, frame, mark)) }, () => {
      const lost = f.i64.shl(f.convert('i64_extend_i32_u', frame), f.i64.const(12));
      append(f, vcpu, f.let(f.i64.or(lost, f.i64.const(LOST))));
    });
  });
  return isForGood.get;
}

/** One more write to the frame without a walk: how many. */
export function countWrites(f: FunctionBuilder, frame: I32): I32 {
  const count = countAt(f, sharedOf(f), frame);
  const writes = f.let(f.i32.add(f.i32.load(count, shared.writes), f.i32.const(1)));
  f.i32.store(count, shared.writes, writes);
  return writes;
}

/** Whether every hart that may write has seen the mark. */
export function isConfirmed(f: FunctionBuilder, vcpu: Ptr, mark: I32): I32 {
  const confirmed = f.atomicLoad('i32', sharedOf(f), shared.confirmed);
  const isOld = f.i32.compare('ge_s', f.i32.sub(confirmed, mark), f.i32.const(0));
  return f.let(f.i32.or(f.i32.eqz(f.i32.load(vcpu, at.hasPeers)), isOld));
}

/**
 * take_in: a fence of a hart that has peers takes in what they wrote. `lost(frame)`, `written(PTE's host address, how many
 * more)`; returns 1, and nothing is known, if somebody writes right now or too much was missed.
 */
export function defineTakeIn(
  f: FunctionBuilder,
  to: { readonly lost: (frame: I32) => void; readonly written: (host: Ptr, further: I32) => void },
): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const all = sharedOf(f);
  const ownBusy = f.let(i32.ne(i32.load(vcpu, at.trackBusy), i32.const(0)));
  const isBusy = (): I32 => i32.ne(f.atomicLoad('i32', all, shared.busy), ownBusy);
  const wasBusy = f.let(isBusy());
  const end = f.let(f.atomicLoad('i32', all, shared.logEnd));
  // Whoever was not busy before, and is not now, has written all that it added.
  const cannotKnow = i32.or(wasBusy, isBusy());
  const next = f.local('i32');
  const first = f.let(i32.load(vcpu, at.trackLogSeen));
  f.set(next, first);
  i32.store(vcpu, at.trackLogSeen, end);
  const isTooMuch = (from: I32): I32 => i32.gtU(i32.sub(from, first), i32.const(TRACK_LOG - LOG_MARGIN));
  f.if(i32.or(cannotKnow, isTooMuch(end)), () => f.return(i32.const(1)));
  const own = f.let(writerOf(f, vcpu));
  f.while(
    () => i32.ne(next.get, end),
    () => {
      const offset = i32.shl(i32.and(next.get, i32.const(TRACK_LOG - 1)), i32.const(3));
      const what = f.let(f.atomicLoad('i64', f.let(f.ptr.add(all, f.ptr.from32(offset))), shared.log));
      f.if(i64.ne(i64.shrU(what, i64.const(WRITER_SHIFT)), own), () => {
        const host = f.let(f.ptr.from64(i64.and(what, i64.const(LOST - 8n))));
        f.if(
          i64.ne(i64.and(what, i64.const(LOST)), i64.const(0)),
          () => to.lost(frameOf(f, host)),
          () => to.written(host, f.convert('i32_wrap_i64', i64.and(what, i64.const(7)))),
        );
      });
      f.set(next, i32.add(next.get, i32.const(1)));
    },
  );
  f.return(isTooMuch(f.atomicLoad('i32', all, shared.logEnd)));
}

/** Bytes of the frame at that linear address are written by another than a hart: fences take notice if it is tracked. */
export function wroteTracked(memory: MachineMemory, host: number): void {
  const { trackTable } = memory.header;
  if (trackTable === 0) return;
  const frame = Math.floor(host / 4096);
  const word = Atomics.load(memory.u64, (trackTable + shared.words) / 8 + (frame % TRACKED_FRAMES));
  if (Number(word >> 32n) !== frame || (word & 0xffff_ffffn) < BigInt(FIRST_MARK)) return;
  Atomics.add(memory.u32, (PLAN.header + headerLayout.offset.trackWrites) / 4, 1);
}

/** Begins without any frame, for the machine's harts; the block's first user does it for all. */
export function placeTracked(memory: MachineMemory, block: number): void {
  const { header } = memory;
  if (header.trackTable !== 0 && header.trackTable !== block) return;
  header.trackTable = block;
  memory.u8.fill(0, block, block + trackedFrames.sizeBytes);
  memory.u32[(block + shared.marks) / 4] = FIRST_MARK - 1;
}

/** What the vCPU does before it enters the engine: `seen()` with new marks, as its write buffers are to be emptied. */
export function seeMarks(memory: MachineMemory, state: VcpuState, seen: () => void): void {
  const { trackTable } = memory.header;
  if (trackTable === 0) return;
  if (state.trackBusy !== 0) {
    // A store that came to nothing.
    state.trackBusy = 0;
    Atomics.sub(memory.u32, (trackTable + shared.busy) / 4, 1);
  }
  const marks = Atomics.load(memory.u32, (trackTable + shared.marks) / 4);
  if (state.seenTracks === marks) return;
  seen();
  state.seenTracks = marks;
}

/** Marks that all have seen are confirmed; whoever is not in the engine sees all when it enters. */
export function confirmMarks(memory: MachineMemory, vcpus: readonly { running: boolean; state: VcpuState }[]): void {
  const { trackTable } = memory.header;
  if (trackTable === 0) return;
  const at = (trackTable + shared.confirmed) / 4;
  const before = Atomics.load(memory.u32, at);
  let least = Atomics.load(memory.u32, (trackTable + shared.marks) / 4);
  if (before === least) return;
  for (const { running, state } of vcpus) if (running && ((state.seenTracks - least) | 0) < 0) least = state.seenTracks;
  // Another hart may have confirmed more, or less.
  if (((least - before) | 0) > 0) Atomics.compareExchange(memory.u32, at, before, least);
}

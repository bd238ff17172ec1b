/**
 * The code overlay in generated Wasm (mechanism 5): reading bytes that an overlay stands in for, finding a
 * partition's overlay of a frame, and dropping overlays when the frame is written. overlays.ts makes them.
 *
 *   guest's frame        decoded page ---overlays---> overlay's decoded page (partition 1) ---next---> (partition 2)
 *                                                        |frame         |records
 *                                                     copy with      original bits, use
 *                                                     substitutes
 *
 * A substitute is two bytes at an instruction's start, whatever its length: a jump into the middle of a longer one
 * finds the original there, and one that straddles two pages is no case of its own. It counts only where the record
 * that it names says this offset, so the same bits in a guest's own code mean what they always meant.
 */
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import {
  DECODED_HEADER_BYTES,
  decodedHeader,
  headerLayout,
  OVERLAY,
  OVERLAY_STATE,
  PLAN,
  RECORD,
  SUBSTITUTE,
  USE,
} from './memory-plan.ts';
import { dropLater, newFetchEpoch } from './shadow-fences.ts';
import { firstPlace } from './translation-buffers.ts';
import { EXIT, FAULT, TRAP_LOG_ENTRIES, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const head = decodedHeader.offset;

/** The header of a decoded page, from its entries. */
export function headerOf(f: FunctionBuilder, entries: Ptr): Ptr {
  return f.ptr.op('sub', entries, f.ptr.const(DECODED_HEADER_BYTES));
}

/** Defines record_at, code_half, drop_overlays and overlay_page; before whatever reads code or writes to it. */
export function defineOverlays(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;

  // record_at(header, offset): the record of the substitute that starts at this offset of an overlay, or 0.
  const recordAt = module.function('record_at', [P, 'i32'], [P], (f) => {
    const { i32 } = f;
    const header = f.param<Ptr>(0).get;
    const offset = f.param<I32>(1).get;
    const half = f.let(i32.load16U(f.ptr.add(f.ptr.load(header, head.frame), f.ptr.from32(offset))));
    f.if(i32.ne(i32.and(half, i32.const(SUBSTITUTE.mask)), i32.const(SUBSTITUTE.match)), () =>
      f.return(f.ptr.const(0)),
    );
    const number = i32.and(i32.shrU(half, i32.const(SUBSTITUTE.shift)), i32.const(OVERLAY.mostRecords - 1));
    const record = f.let(
      f.ptr.add(f.ptr.load(header, head.records), f.ptr.from32(i32.mul(number, i32.const(OVERLAY.recordBytes)))),
    );
    const isHere = i32.and(
      i32.eq(i32.load16U(record, RECORD.offset), offset),
      i32.ne(i32.load8U(record, RECORD.uses), i32.const(0)),
    );
    f.return(f.select(isHere, record, f.ptr.const(0)));
  });
  library.set('record_at', recordAt);

  // code_half(header, offset): the sixteen bits that the guest has there.
  library.set(
    'code_half',
    module.function('code_half', [P, 'i32'], ['i32'], (f) => {
      const { i32 } = f;
      const header = f.param<Ptr>(0).get;
      const offset = f.param<I32>(1).get;
      f.if(
        i32.eqz(f.ptr.eqz(f.ptr.load(header, head.records))),
        () => {
          const record = f.let(f.call(recordAt, header, offset) as Ptr);
          f.if(i32.eqz(f.ptr.eqz(record)), () => f.return(i32.load16U(record, RECORD.bits)));
        },
        undefined,
        'unlikely',
      );
      f.return(i32.load16U(f.ptr.add(f.ptr.load(header, head.frame), f.ptr.from32(offset))));
    }),
  );

  // drop_overlays(vcpu, entries of the frame's decoded page): nobody executes from its overlays any more. Whoever stands in
  // one finds its entries empty and leaves it (SPECIAL.overlay). All writers empty them, so that each is sure of it.
  library.set(
    'drop_overlays',
    module.function('drop_overlays', [P, P], [], (f) => defineDrop(f, library.get('drop_regions'))),
  );

  // overlay_page(vcpu, entries of the frame's decoded page): the entries to execute; 0: leave (a breakpoint is wanted).
  library.set('overlay_page', module.function('overlay_page', [P, P], [P], defineOverlayPage));

  // forget_fetch(vcpu, pc): drops the fetch translation of the page, so that it is looked up anew.
  library.set(
    'forget_fetch',
    module.function('forget_fetch', [P, 'i64'], [], (f) => {
      const { i64 } = f;
      const vcpu = f.param<Ptr>(0).get;
      // It was just executed from, so it stands in the first of its places alone.
      const place = firstPlace(f, f.param<I64>(1).get);
      i64.store(f.ptr.add(f.ptr.load(vcpu, at.fetchBank), place), 0, i64.const(-1));
      newFetchEpoch(f, vcpu);
      dropLater(f, vcpu);
    }),
  );

  // count_substitute(vcpu, record, pc): the instruction that this record stands for is about to be executed.
  library.set('count_substitute', module.function('count_substitute', [P, P, 'i64'], [], defineCount));
}

function defineCount(f: FunctionBuilder): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const record = f.param<Ptr>(1).get;
  const uses = f.let(i32.load8U(record, RECORD.uses));
  const add = (address: Ptr, offset: number): void =>
    i64.store(address, offset, i64.add(i64.load(address, offset), i64.const(1)));
  f.if(i32.and(uses, i32.const(USE.emulate)), () => {
    const operation = i32.and(f.convert('i32_wrap_i64', i64.load(record, RECORD.original)), i32.const(1023));
    f.if(i32.eqz(i32.load8U(f.ptr.from32(operation), PLAN.emulationFlags)), () => add(vcpu, at.emulated));
  });
  f.if(i32.and(uses, i32.const(USE.policy)), () => {
    const policy = f.let(i32.load8U(record, RECORD.policy));
    add(f.ptr.add(vcpu, f.ptr.from32(i32.shl(policy, i32.const(3)))), at.policyCounts - 8);
    const next = f.let(i32.load(vcpu, at.trapLogNext));
    const place = f.let(
      f.ptr.add(vcpu, f.ptr.from32(i32.shl(i32.and(next, i32.const(TRAP_LOG_ENTRIES - 1)), i32.const(4)))),
    );
    i64.store(place, at.trapLog, f.param<I64>(2).get);
    const bits = f.convert('i64_extend_i32_u', i32.load(record, RECORD.bits));
    const wide = i64.shl(f.convert('i64_extend_i32_u', policy), i64.const(32));
    const mode = i64.shl(i64.load(vcpu, at.mode), i64.const(48));
    i64.store(place, at.trapLog + 8, i64.or(i64.or(mode, wide), bits));
    // The reader sees the entry before it sees that there is one.
    f.atomicStore(f.ptr.add(vcpu, f.ptr.const(at.trapLogNext)), 0, i32.add(next, i32.const(1)));
  });
}

function defineDrop(f: FunctionBuilder, dropRegions: FunctionRef): void {
  const { i32 } = f;
  const own = headerOf(f, f.param<Ptr>(1).get);
  const header = f.ptr.const(PLAN.header);
  const count = (offset: number): I32 => f.atomicRmw('add', header, offset, 4, i32.const(1));
  const entries = f.local('i32');
  f.set(entries, f.atomicLoad('i32', own, head.overlays));
  f.while(
    () => entries.get,
    () => {
      const page = f.let(f.ptr.from32(entries.get));
      const overlay = f.let(headerOf(f, page));
      const state = f.local('i32');
      f.set(state, f.atomicLoad('i32', overlay, head.state));
      f.block((done) => {
        f.brIf(done, i32.geU(state.get, i32.const(OVERLAY_STATE.dropped)));
        f.if(i32.ne(state.get, i32.const(OVERLAY_STATE.dropping)), () => {
          const dropping = i32.const(OVERLAY_STATE.dropping);
          const found = f.let(f.atomicCompareExchange(overlay, head.state, 4, state.get, dropping));
          f.if(i32.eq(found, state.get), () => {
            count(headerLayout.offset.overlaysDropped);
            f.atomicRmw('add', own, head.drops, 4, i32.const(1));
          });
        });
        f.memoryFill(page, i32.const(0), f.ptr.const(2048 * 8));
        // Whoever makes a region of it links it first, then looks whether it is live.
        f.atomicFence();
        f.if(i32.load(overlay, head.links), () => f.call(dropRegions, f.param<Ptr>(0).get, page));
        f.atomicStore(overlay, head.state, i32.const(OVERLAY_STATE.dropped));
      });
      f.set(entries, f.atomicLoad('i32', overlay, head.next));
    },
  );
}

function defineOverlayPage(f: FunctionBuilder): void {
  const { i32 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const plain = f.param<Ptr>(1).get;
  const own = f.let(headerOf(f, plain));
  const partition = f.let(i32.load(vcpu, at.partition));
  const entries = f.local('i32');
  f.set(entries, f.atomicLoad('i32', own, head.overlays));
  f.while(
    () => entries.get,
    () => {
      const overlay = f.let(headerOf(f, f.ptr.from32(entries.get)));
      const isLive = i32.eq(f.atomicLoad('i32', overlay, head.state), i32.const(OVERLAY_STATE.live));
      f.if(i32.and(isLive, i32.eq(i32.load(overlay, head.partition), partition)), () =>
        f.return(f.ptr.from32(entries.get)),
      );
      f.set(entries, f.atomicLoad('i32', overlay, head.next));
    },
  );
  f.if(i32.load(own, head.wanted), () => {
    f.i64.store(vcpu, at.exitGpa, f.ptr.to64(f.ptr.load(own, head.frame)));
    i32.store(vcpu, at.exitKind, i32.const(EXIT.overlay));
    i32.store(vcpu, at.fault, i32.const(FAULT.leave));
    f.return(f.ptr.const(0));
  });
  f.return(plain);
}

/** An instruction that a substitute stands for was begun. */
export function countEmulated(f: FunctionBuilder, vcpu: Ptr): void {
  f.i64.store(vcpu, at.emulated, f.i64.add(f.i64.load(vcpu, at.emulated), f.i64.const(1)));
}

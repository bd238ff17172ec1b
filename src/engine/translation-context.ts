/**
 * Which translation buffers are in use, and dropping what they hold: after changes of mode, mstatus, satp; fences.
 *
 * A vCPU keeps the translations of several address spaces, each with buffers, slots and a walk cache of its own, by the
 * whole of satp. A change of satp to one that is kept changes pointers, and drops nothing ("satp write: nothing", as
 * the manual allows: translations are dropped by fences). Whatever must be dropped everywhere is dropped in the space in
 * use, and the others are forgotten: they are emptied when their satp comes again. A fence for an ASID leaves the
 * spaces of other ASIDs, one for a page of user memory leaves the other pages.
 *
 *   satp --> contextSatps[i] == satp? --yes--> banks of i, fetchEpoch as it was
 *                                    \--no---> the next i is emptied, a new fetchEpoch
 */
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { clearSlots } from './memory-slots.ts';
import {
  BANKS,
  CONTEXTS,
  SLOT_BANK_BYTES,
  TLB_BANK_BYTES,
  TLB_ENTRIES,
  vcpuState,
  WALK_CACHE_BYTES,
} from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
/** mstatus bits. */
const MPRV = 1n << 17n;
const SUM = 1n << 18n;
const MXR = 1n << 19n;
const ASID_SHIFT = 44;
const TLBS = ['readTlb', 'writeTlb', 'fetchTlb'] as const;

/** The address of an array's part for the context in use, of `bytes`. */
function ofContext(f: FunctionBuilder, vcpu: Ptr, field: (typeof TLBS)[number] | 'walkCache', bytes: number): Ptr {
  const own = f.ptr.from32(f.i32.mul(f.i32.load(vcpu, at.context), f.i32.const(bytes)));
  return f.ptr.add(f.ptr.add(vcpu, f.ptr.const(at[field])), own);
}

/** What was validated before must be again. */
export function newFetchEpoch(f: FunctionBuilder, vcpu: Ptr): void {
  const epoch = f.let(f.i64.add(f.i64.load(vcpu, at.lastEpoch), f.i64.const(1)));
  f.i64.store(vcpu, at.lastEpoch, epoch);
  f.i64.store(vcpu, at.fetchEpoch, epoch);
}

/** Translations of the other address spaces are not to be used any more. */
export function forgetOtherContexts(f: FunctionBuilder, vcpu: Ptr): void {
  for (let i = 0; i < CONTEXTS; i++) f.i64.store(vcpu, at.contextSatps + i * 8, f.i64.const(-1));
  const own = f.ptr.from32(f.i32.shl(f.i32.load(vcpu, at.context), f.i32.const(3)));
  f.i64.store(f.ptr.add(vcpu, own), at.contextSatps, f.i64.load(vcpu, at.seenSatp));
}

/** The address space in use has a translation that is part of a larger page of user memory. */
export function noteLarge(f: FunctionBuilder, vcpu: Ptr): void {
  const own = f.ptr.from32(f.i32.shl(f.i32.load(vcpu, at.context), f.i32.const(2)));
  f.i32.store(f.ptr.add(vcpu, own), at.contextLarge, f.i32.const(1));
}

/** Empties the buffers of the address space in use. */
function clearContext(f: FunctionBuilder, vcpu: Ptr): void {
  clearSlots(f, vcpu);
  newFetchEpoch(f, vcpu);
  const fill = (address: Ptr, bytes: number): void => f.memoryFill(address, f.i32.const(0xff), f.ptr.const(bytes));
  fill(ofContext(f, vcpu, 'walkCache', WALK_CACHE_BYTES), WALK_CACHE_BYTES);
  for (const tlb of TLBS) fill(ofContext(f, vcpu, tlb, BANKS * TLB_BANK_BYTES), BANKS * TLB_BANK_BYTES);
  const own = f.ptr.from32(f.i32.shl(f.i32.load(vcpu, at.context), f.i32.const(2)));
  f.i32.store(f.ptr.add(vcpu, own), at.contextLarge, f.i32.const(0));
}

/**
 * context(vcpu): chooses the banks for the mode and satp, and drops what MXR's change made stale. flush_translation:
 * drops everything; flush_space(vcpu, asid): what has that ASID; flush_page(vcpu, va, asid): of a page, asid -1: of all.
 */
export function defineContext(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  const clear = module.function('clear_context', [P], [], (f) => clearContext(f, f.param<Ptr>(0).get));
  const flush = declare('flush_translation', [P], []);
  module.define(flush, (f) => {
    const vcpu = f.param<Ptr>(0).get;
    f.call(clear, vcpu);
    forgetOtherContexts(f, vcpu);
  });
  module.define(declare('flush_space', [P, 'i64'], []), (f) => defineFlushSpace(f, clear));
  module.define(declare('flush_page', [P, 'i64', 'i64'], []), (f) =>
    defineFlushPage(f, library.get('flush_space'), flush),
  );
  const select = module.function('select_context', [P], [], (f) => defineSelect(f, clear));
  module.define(declare('context', [P], []), (f) => defineBanks(f, flush, select));
}

/** Whether a satp has the ASID. */
function hasAsid(f: FunctionBuilder, satp: I64, asid: I64): I32 {
  return f.i64.eq(f.i64.and(f.i64.shrU(satp, f.i64.const(ASID_SHIFT)), f.i64.const(0xffff)), asid);
}

function defineFlushSpace(f: FunctionBuilder, clear: FunctionRef): void {
  const { i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const asid = f.param<I64>(1).get;
  forgetOthersOf(f, vcpu, asid);
  f.if(hasAsid(f, i64.load(vcpu, at.seenSatp), asid), () => f.call(clear, vcpu));
}

/** Address spaces of an ASID are forgotten, but for the one in use. */
function forgetOthersOf(f: FunctionBuilder, vcpu: Ptr, asid: I64): void {
  const { i32, i64 } = f;
  const current = f.let(i32.load(vcpu, at.context));
  for (let i = 0; i < CONTEXTS; i++) {
    const isOther = i32.ne(current, i32.const(i));
    f.if(i32.and(isOther, hasAsid(f, i64.load(vcpu, at.contextSatps + i * 8), asid)), () =>
      i64.store(vcpu, at.contextSatps + i * 8, i64.const(-1)),
    );
  }
}

function defineFlushPage(f: FunctionBuilder, flushSpace: FunctionRef, flush: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const va = f.param<I64>(1).get;
  const asid = f.param<I64>(2).get;
  const isEvery = f.let(i64.eq(asid, i64.const(-1)));
  // The kernel's pages are large, and a page that is part of a larger one is not dropped alone.
  const own = f.ptr.from32(i32.shl(i32.load(vcpu, at.context), i32.const(2)));
  const isLarge = i32.or(i64.ltS(va, i64.const(0)), i32.load(f.ptr.add(vcpu, own), at.contextLarge));
  f.if(isLarge, () => {
    f.if(
      isEvery,
      () => f.call(flush, vcpu),
      () => f.call(flushSpace, vcpu, asid),
    );
    f.return();
  });
  f.if(
    isEvery,
    () => forgetOtherContexts(f, vcpu),
    () => {
      forgetOthersOf(f, vcpu, asid);
      f.if(i32.eqz(hasAsid(f, i64.load(vcpu, at.seenSatp), asid)), () => f.return());
    },
  );
  const page = f.let(i64.and(va, i64.const(-4096)));
  const index = f.let(f.ptr.from64(i64.and(i64.shrU(va, i64.const(8)), i64.const((TLB_ENTRIES - 1) * 16))));
  for (const tlb of TLBS) {
    const entry = f.let(f.ptr.add(ofContext(f, vcpu, tlb, BANKS * TLB_BANK_BYTES), index));
    for (let bank = 0; bank < BANKS; bank++)
      f.if(i64.eq(i64.load(entry, bank * TLB_BANK_BYTES), page), () => {
        i64.store(entry, bank * TLB_BANK_BYTES, i64.const(-1));
        if (tlb === 'fetchTlb') newFetchEpoch(f, vcpu);
      });
  }
  clearSlots(f, vcpu);
}

function defineSelect(f: FunctionBuilder, clear: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const satp = f.let(i64.load(vcpu, at.satp));
  const count = (field: 'contextHits' | 'contextMisses'): void =>
    i32.store(vcpu, at[field], i32.add(i32.load(vcpu, at[field]), i32.const(1)));
  const own = (context: I32): Ptr => f.ptr.add(vcpu, f.ptr.from32(i32.shl(context, i32.const(3))));
  i64.store(own(i32.load(vcpu, at.context)), at.contextEpochs, i64.load(vcpu, at.fetchEpoch));
  i64.store(vcpu, at.seenSatp, satp);
  for (let i = 0; i < CONTEXTS; i++)
    f.if(i64.eq(i64.load(vcpu, at.contextSatps + i * 8), satp), () => {
      i32.store(vcpu, at.context, i32.const(i));
      i64.store(vcpu, at.fetchEpoch, i64.load(vcpu, at.contextEpochs + i * 8));
      count('contextHits');
      f.return();
    });
  const next = f.let(i32.and(i32.add(i32.load(vcpu, at.contextNext), i32.const(1)), i32.const(CONTEXTS - 1)));
  i32.store(vcpu, at.contextNext, next);
  i32.store(vcpu, at.context, next);
  i64.store(own(next), at.contextSatps, satp);
  f.call(clear, vcpu);
  count('contextMisses');
}

function defineBanks(f: FunctionBuilder, flush: FunctionRef, select: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const mstatus = f.let(i64.load(vcpu, at.mstatus));
  const mode = f.let(f.convert('i32_wrap_i64', i64.load(vcpu, at.mode)));
  const mxr = f.let(i64.and(mstatus, i64.const(MXR)));
  f.if(i64.ne(mxr, i64.load(vcpu, at.seenMxr)), () => {
    i64.store(vcpu, at.seenMxr, mxr);
    f.call(flush, vcpu);
  });
  f.if(i64.ne(i64.load(vcpu, at.satp), i64.load(vcpu, at.seenSatp)), () => f.call(select, vcpu));
  const isMprv = i32.and(i32.eq(mode, i32.const(3)), i64.ne(i64.and(mstatus, i64.const(MPRV)), i64.const(0)));
  const mpp = i32.and(f.convert('i32_wrap_i64', i64.shrU(mstatus, i64.const(11))), i32.const(3));
  const data = f.let(f.select(isMprv, mpp, mode));
  const sum = i64.ne(i64.and(mstatus, i64.const(SUM)), i64.const(0));
  const number = f.select(i32.eq(data, i32.const(1)), i32.add(i32.const(1), sum), data);
  const first = f.let(i32.mul(i32.load(vcpu, at.context), i32.const(BANKS)));
  const bank = f.let(i32.add(first, number));
  const part = (field: (typeof TLBS)[number] | 'slots', index: I32, bytes: number): Ptr =>
    f.ptr.add(f.ptr.add(vcpu, f.ptr.const(at[field])), f.ptr.from32(i32.mul(index, i32.const(bytes))));
  f.ptr.store(vcpu, at.slotBank, part('slots', bank, SLOT_BANK_BYTES));
  f.ptr.store(vcpu, at.readBank, part('readTlb', bank, TLB_BANK_BYTES));
  f.ptr.store(vcpu, at.writeBank, part('writeTlb', bank, TLB_BANK_BYTES));
  f.ptr.store(vcpu, at.fetchBank, part('fetchTlb', i32.add(first, mode), TLB_BANK_BYTES));
  f.ptr.store(vcpu, at.walkBank, ofContext(f, vcpu, 'walkCache', WALK_CACHE_BYTES));
}

/**
 * What fences drop ("Supervisor Memory-Management Fence Instruction"), and what else drops translations.
 *
 * | fence | drops |
 * |---|---|
 * | everything (and PMP) | all of the hart's shadows: the ones in use now, the others when they are registered (dropEpoch) |
 * | an ASID | the shadows of that ASID; global pages stay |
 * | all of the host's | its shadows, likewise (hostDropEpoch) |
 * | all of a guest's, by VMID | its shadows |
 * | a page | its leaf in the tables of all shadows, or of those of the ASID (then global pages stay) |
 *
 * A fence of a page is done at once for the shadow in use and the hart's own, and written into a log for the others,
 * which catch up when they are registered; one that missed more than the log holds is dropped as a whole. A page that
 * is part of a larger one drops the larger one: the table knows how large it was, and then the buffers are emptied, which
 * hold its parts. So they are when a larger page has to make room in the table.
 */
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { HOST_SCOPE, isInScope } from './fence-scope.ts';
import { headerLayout, PLAN } from './memory-plan.ts';
import { DATA_BANKS, dropBuffers, FETCH_BANKS, nextEpoch } from './shadow-epochs.ts';
import {
  RESERVED_SHADOWS,
  SHADOW_BYTES,
  shadowLayout,
  TABLE_ENTRY,
  TABLE_ENTRY_BYTES,
  TABLE_WAYS,
} from './shadow-layout.ts';
import { count, eachSize, isEntry, placeOf } from './shadow-table.ts';
import { firstPlace, secondPlace } from './translation-buffers.ts';
import { FENCE_LOG, FENCE_LOG_WORDS, SLOT_BANK_BYTES, STALE, TLB_BANK_BYTES, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const own = shadowLayout.offset;
const ASID_SHIFT = 44;

/** Drops all of a shadow: its entries and buffers are of another epoch from now on. */
export function newEpoch(f: FunctionBuilder, vcpu: Ptr, shadow: Ptr): void {
  const epoch = nextEpoch(f, vcpu);
  f.i64.store(shadow, own.epoch, epoch);
  f.i64.store(shadow, own.fetchEpoch, epoch);
  f.i32.store(shadow, own.sizes, f.i32.const(0));
  f.i32.store(shadow, own.hasRanges, f.i32.const(0));
  f.i32.store(shadow, own.untracked, f.i32.const(0));
  f.i32.store(shadow, own.fencesSeen, f.i32.load(vcpu, at.fenceCount));
  count(f, vcpu, 'shadowBuilds');
}

/** Regions that validated the fetch translations in use must do so again. */
export function newFetchEpoch(f: FunctionBuilder, vcpu: Ptr): void {
  const epoch = nextEpoch(f, vcpu);
  f.i64.store(f.ptr.load(vcpu, at.fetchShadow), own.fetchEpoch, epoch);
  f.i64.store(vcpu, at.fetchEpoch, epoch);
}

/** What epochs say is done when the context is next looked at, at the latest before the next slice. */
export function setStale(f: FunctionBuilder, vcpu: Ptr): void {
  f.i32.store(vcpu, at.contextStale, f.i32.or(f.i32.load(vcpu, at.contextStale), f.i32.const(STALE.epochs)));
}

/** All shadows are dropped when the context is next looked at. */
export function dropLater(f: FunctionBuilder, vcpu: Ptr): void {
  f.i64.store(vcpu, at.dropEpoch, nextEpoch(f, vcpu));
  setStale(f, vcpu);
}

/** What stores go through is emptied, of all shadows, but for the bank in use, which the caller has seen to. */
export function newWriteEpoch(f: FunctionBuilder, vcpu: Ptr): void {
  f.i64.store(vcpu, at.writeEpoch, nextEpoch(f, vcpu));
}

/**
 * flush_translation(vcpu): drops everything. Of whom `scope` names (fence-scope.ts): flush_space(vcpu, asid, scope): what has
 * that ASID, -1: all; flush_page(vcpu, va, asid, scope): of a page, asid -1: of all. drop_host(vcpu): all of the host's.
 * catch_up(vcpu, shadow): what was dropped while it was not in use. drop_stale(vcpu): what others wanted dropped between runs.
 */
export function defineFences(module: ModuleBuilder, library: Library, banks: FunctionRef): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  // shadow_drop(vcpu, shadow, va, isLarge) -> bit 0 if what was dropped was part of a larger page, bit 1 if it was there.
  const drop = declare('shadow_drop', [P, P, 'i64', 'i32'], ['i32']);
  module.define(drop, (f) => defineDrop(f));
  const catchUp = declare('catch_up', [P, P], []);
  module.define(catchUp, (f) => defineCatchUp(f, drop));
  const stale = declare('drop_stale', [P], []);
  module.define(stale, (f) => {
    const vcpu = f.param<Ptr>(0).get;
    const wantsBanks = f.i32.and(f.i32.load(vcpu, at.contextStale), f.i32.const(STALE.banks));
    f.if(wantsBanks, () => {
      f.i32.store(f.ptr.load(vcpu, at.shadow), own.isPrivate, f.i32.const(1));
      f.i32.store(vcpu, at.privateHint, f.i32.const(1));
    });
    f.i32.store(vcpu, at.contextStale, f.i32.const(0));
    for (const field of ['shadowPool', 'shadow'] as const) {
      const shadow = f.let(f.ptr.load(vcpu, at[field]));
      f.if(f.i64.leU(f.i64.load(shadow, own.epoch), f.i64.load(vcpu, at.dropEpoch)), () => newEpoch(f, vcpu, shadow));
    }
  });
  const all = module.function('drop_all', [P], [], (f) => {
    const vcpu = f.param<Ptr>(0).get;
    f.i64.store(vcpu, at.dropEpoch, nextEpoch(f, vcpu));
    for (const field of ['shadowPool', 'shadow'] as const) newEpoch(f, vcpu, f.let(f.ptr.load(vcpu, at[field])));
    f.call(banks, vcpu);
  });
  module.define(declare('flush_translation', [P], []), (f) => {
    const vcpu = f.param<Ptr>(0).get;
    count(f, vcpu, 'fencesAll');
    f.call(all, vcpu);
  });
  const host = declare('drop_host', [P], []);
  module.define(host, (f) => {
    const vcpu = f.param<Ptr>(0).get;
    f.i64.store(vcpu, at.hostDropEpoch, nextEpoch(f, vcpu));
    newEpoch(f, vcpu, f.let(f.ptr.load(vcpu, at.shadowPool)));
    const isHosts = f.i64.eqz(f.i64.load(vcpu, at.seenGuest));
    f.if(isHosts, () => newEpoch(f, vcpu, f.let(f.ptr.load(vcpu, at.shadow))));
    f.call(banks, vcpu);
  });
  const takeIn = declare('take_in', [P], ['i32']);
  // flush_untracked(vcpu, asid): a host's fence of everything (-1) or an ASID where writes to page tables are tracked.
  const untracked = declare('flush_untracked', [P, 'i64'], []);
  module.define(untracked, (f) => defineFlushUntracked(f, { takeIn, host, banks }));
  // drop_page(vcpu, va, scope): of all shadows, as a fence does.
  const page = declare('drop_page', [P, 'i64', 'i64'], []);
  module.define(page, (f) => defineDropPage(f, drop, banks));
  module.define(declare('flush_space', [P, 'i64', 'i64'], []), (f) => defineFlushSpace(f, { untracked, host, banks }));
  module.define(declare('flush_page', [P, 'i64', 'i64', 'i64'], []), (f) =>
    defineFlushPage(f, { drop, page, host, banks }),
  );
}

/** Whether a satp has the ASID. */
function hasAsid(f: FunctionBuilder, satp: I64, asid: I64): I32 {
  return f.i64.eq(f.i64.and(f.i64.shrU(satp, f.i64.const(ASID_SHIFT)), f.i64.const(0xffff)), asid);
}

/** The bits of an ASID that the hart has. */
function legalAsid(f: FunctionBuilder, vcpu: Ptr, asid: I64): I64 {
  const absent = f.i64.shrU(f.i64.load(vcpu, at.asidAbsent), f.i64.const(ASID_SHIFT));
  return f.let(f.i64.and(f.i64.and(asid, f.i64.const(0xffff)), f.i64.xor(absent, f.i64.const(-1))));
}

function defineFlushSpace(f: FunctionBuilder, to: Record<'untracked' | 'host' | 'banks', FunctionRef>): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const wanted = f.param<I64>(1).get;
  const scope = f.param<I64>(2).get;
  const isEvery = f.let(i64.eq(wanted, i64.const(-1)));
  const asid = f.let(f.select(isEvery, wanted, legalAsid(f, vcpu, wanted)));
  f.if(
    isEvery,
    () => count(f, vcpu, 'fencesAll'),
    () => count(f, vcpu, 'fencesSpace'),
  );
  f.if(i64.eqz(scope), () => {
    f.if(i32.load(vcpu, at.shadowModel), () => {
      f.call(to.untracked, vcpu, asid);
      f.return();
    });
    f.if(isEvery, () => {
      f.call(to.host, vcpu);
      f.return();
    });
  });
  eachShadow(f, vcpu, scope, (root, shadow) =>
    f.if(i32.or(isEvery, hasAsid(f, root, asid)), () => newEpoch(f, vcpu, shadow)),
  );
  f.call(to.banks, vcpu);
}

/** Writes by others to tracked page tables are seen by fences: everything is dropped then. */
function whenOthersWrote(f: FunctionBuilder, vcpu: Ptr, host: FunctionRef): void {
  const writes = f.let(f.atomicLoad('i32', f.ptr.const(PLAN.header), headerLayout.offset.trackWrites));
  f.if(f.i32.ne(writes, f.i32.load(vcpu, at.trackSeen)), () => {
    f.i32.store(vcpu, at.trackSeen, writes);
    f.call(host, vcpu);
  });
}

/** Only shadows that were read from untracked page tables too. */
function defineFlushUntracked(f: FunctionBuilder, to: Record<'takeIn' | 'host' | 'banks', FunctionRef>): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const asid = f.param<I64>(1).get;
  const isEvery = f.let(i64.eq(asid, i64.const(-1)));
  whenOthersWrote(f, vcpu, to.host);
  f.if(i32.load(vcpu, at.hasPeers), () =>
    f.if(f.call(to.takeIn, vcpu) as I32, () => {
      f.call(to.host, vcpu);
      f.return();
    }),
  );
  // Global pages are in all shadows' buffers.
  f.if(i32.and(isEvery, i32.load(f.ptr.load(vcpu, at.shadowPool), own.untracked)), () => {
    f.call(to.host, vcpu);
    f.return();
  });
  eachShadow(f, vcpu, f.i64.const(HOST_SCOPE), (root, shadow) => {
    const isMeant = i32.or(isEvery, hasAsid(f, root, asid));
    f.if(i32.and(isMeant, i32.load(shadow, own.untracked)), () => newEpoch(f, vcpu, shadow));
  });
  f.call(to.banks, vcpu);
}

/** `body` for each shadow that has a root and is in the scope. */
function eachShadow(f: FunctionBuilder, vcpu: Ptr, scope: I64, body: (root: I64, shadow: Ptr) => void): void {
  const { i32, i64 } = f;
  const shadows = f.let(i32.load(vcpu, at.shadowCount));
  const index = f.local('i32');
  f.set(index, i32.const(0));
  f.while(
    () => i32.ltU(index.get, shadows),
    () => {
      const slot = f.let(f.ptr.add(vcpu, f.ptr.from32(i32.shl(index.get, i32.const(3)))));
      const root = f.let(i64.load(slot, at.shadowRoots));
      const isMeant = isInScope(f, f.let(i64.load(slot, at.shadowGuests)), scope);
      f.if(i32.and(i64.ne(root, i64.const(-1)), isMeant), () => {
        const bytes = i32.mul(i32.add(index.get, i32.const(RESERVED_SHADOWS)), i32.const(SHADOW_BYTES));
        body(root, f.let(f.ptr.add(f.ptr.load(vcpu, at.shadowPool), f.ptr.from32(bytes))));
      });
      f.set(index, i32.add(index.get, i32.const(1)));
    },
  );
}

interface PageFence {
  readonly drop: FunctionRef;
  readonly page: FunctionRef;
  readonly host: FunctionRef;
  readonly banks: FunctionRef;
}

function defineFlushPage(f: FunctionBuilder, to: PageFence): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const va = f.let(i64.and(f.param<I64>(1).get, i64.const(-4096)));
  const wanted = f.param<I64>(2).get;
  const scope = f.param<I64>(3).get;
  count(f, vcpu, 'fencesPage');
  const isTracked = i32.and(i64.eqz(scope), i32.ne(i32.load(vcpu, at.shadowModel), i32.const(0)));
  f.if(isTracked, () => whenOthersWrote(f, vcpu, to.host));
  f.if(i64.eq(wanted, i64.const(-1)), () => {
    f.call(to.page, vcpu, va, scope);
    f.return();
  });
  const asid = legalAsid(f, vcpu, wanted);
  log(f, vcpu, { line: va, asid, scope });
  const space = f.let(f.ptr.load(vcpu, at.shadow));
  const isMeant = isInScope(f, f.let(i64.load(vcpu, at.seenGuest)), scope);
  f.if(i32.and(isMeant, hasAsid(f, i64.load(vcpu, at.seenSatp), asid)), () => {
    f.let(f.call(to.drop, vcpu, space, va, i32.const(0)) as I32);
  });
  f.call(to.banks, vcpu);
}

/** Where a fence stands in the log. */
function logged(f: FunctionBuilder, vcpu: Ptr, number: I32): Ptr {
  const { i32 } = f;
  const offset = i32.mul(i32.and(number, i32.const(FENCE_LOG - 1)), i32.const(FENCE_LOG_WORDS * 8));
  return f.let(f.ptr.add(vcpu, f.ptr.from32(offset)));
}

/** Tells the shadows that are not in use of a fence of a page; the one in use is the caller's. */
function log(
  f: FunctionBuilder,
  vcpu: Ptr,
  fence: { readonly line: I64; readonly asid: I64; readonly scope: I64 },
): void {
  const { i32, i64 } = f;
  const number = f.let(i32.load(vcpu, at.fenceCount));
  const place = logged(f, vcpu, number);
  i64.store(place, at.fenceLog, fence.line);
  i64.store(place, at.fenceLog + 8, fence.asid);
  i64.store(place, at.fenceLog + 16, fence.scope);
  const next = f.let(i32.add(number, i32.const(1)));
  i32.store(vcpu, at.fenceCount, next);
  i32.store(f.ptr.load(vcpu, at.shadow), own.fencesSeen, next);
}

function defineDropPage(f: FunctionBuilder, drop: FunctionRef, banks: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const va = f.param<I64>(1).get;
  const scope = f.param<I64>(2).get;
  const isLarge = f.local('i32');
  f.set(isLarge, i32.const(0));
  f.if(i64.eqz(scope), () => {
    const dropped = f.call(drop, vcpu, f.ptr.load(vcpu, at.shadowPool), va, i32.const(0)) as I32;
    f.set(isLarge, i32.and(dropped, i32.const(1)));
  });
  f.if(isInScope(f, f.let(i64.load(vcpu, at.seenGuest)), scope), () => {
    f.let(f.call(drop, vcpu, f.ptr.load(vcpu, at.shadow), va, isLarge.get) as I32);
  });
  const line = f.let(i64.or(va, f.convert('i64_extend_i32_u', isLarge.get)));
  log(f, vcpu, { line, asid: i64.const(-1), scope });
  f.call(banks, vcpu);
}

function defineCatchUp(f: FunctionBuilder, drop: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const shadow = f.param<Ptr>(1).get;
  const epoch = f.let(i64.load(shadow, own.epoch));
  const isHosts = i32.eqz(i32.load(shadow, own.isGuest));
  const isOlder = i32.and(isHosts, i64.leU(epoch, i64.load(vcpu, at.hostDropEpoch)));
  f.if(i32.or(i64.leU(epoch, i64.load(vcpu, at.dropEpoch)), isOlder), () => {
    newEpoch(f, vcpu, shadow);
    f.return();
  });
  const end = f.let(i32.load(vcpu, at.fenceCount));
  const next = f.local('i32');
  f.set(next, i32.load(shadow, own.fencesSeen));
  f.if(i32.eq(next.get, end), () => f.return(), undefined, 'likely');
  f.if(i32.gtU(i32.sub(end, next.get), i32.const(FENCE_LOG)), () => {
    newEpoch(f, vcpu, shadow);
    f.return();
  });
  const satp = f.let(i64.load(vcpu, at.seenSatp));
  const key = f.let(i64.load(vcpu, at.seenGuest));
  f.while(
    () => i32.ne(next.get, end),
    () => {
      const line = logged(f, vcpu, next.get);
      const asid = f.let(i64.load(line, at.fenceLog + 8));
      const isMeant = isInScope(f, key, f.let(i64.load(line, at.fenceLog + 16)));
      f.if(i32.and(isMeant, i32.or(i64.eq(asid, i64.const(-1)), hasAsid(f, satp, asid))), () => {
        const va = f.let(i64.load(line, at.fenceLog));
        const isLarge = f.convert('i32_wrap_i64', i64.and(va, i64.const(1)));
        f.let(f.call(drop, vcpu, shadow, i64.and(va, i64.const(-4096)), isLarge) as I32);
        count(f, vcpu, 'fencesLate');
      });
      f.set(next, i32.add(next.get, i32.const(1)));
    },
  );
  i32.store(shadow, own.fencesSeen, end);
}

function defineDrop(f: FunctionBuilder): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const shadow = f.param<Ptr>(1).get;
  const va = f.param<I64>(2).get;
  const isLarge = f.local('i32');
  const found = f.local('i32');
  f.set(found, i32.const(0));
  f.if(
    i32.load(shadow, own.hasRanges),
    () => {
      const isBelow = i64.ltU(va, i64.load(shadow, own.rangeFrom));
      f.if(i32.eqz(i32.or(isBelow, i64.gtU(va, i64.load(shadow, own.rangeTo)))), () => {
        newEpoch(f, vcpu, shadow);
        f.return(i32.const(3));
      });
    },
    undefined,
    'unlikely',
  );
  f.set(isLarge, f.param<I32>(3).get);
  const epoch = f.let(i64.load(shadow, own.epoch));
  eachSize(f, f.let(i32.load(shadow, own.sizes)), (size) => {
    const { set, tag } = placeOf(f, shadow, va, size);
    for (let way = 0; way < TABLE_WAYS; way++)
      f.if(isEntry(f, set, way, tag, epoch), () => {
        i64.store(set, way * TABLE_ENTRY_BYTES + TABLE_ENTRY.epoch, i64.const(0));
        f.set(found, i32.const(2));
        if (size > 0) f.set(isLarge, i32.const(1));
      });
  });
  f.if(
    isLarge.get,
    () => dropBuffers(f, vcpu, shadow),
    () => dropFromBuffers(f, vcpu, shadow, va, epoch),
    'unlikely',
  );
  f.return(i32.or(isLarge.get, found.get));
}

/** Empties a page's entries of the buffers that are not to be emptied anyway. */
function dropFromBuffers(f: FunctionBuilder, vcpu: Ptr, shadow: Ptr, va: I64, epoch: I64): void {
  const { i32, i64 } = f;
  const places = [f.let(f.ptr.add(shadow, firstPlace(f, va))), f.let(f.ptr.add(shadow, secondPlace(f, va)))];
  const clear = (offset: number, then?: () => void): void => {
    for (const place of places)
      f.if(i64.eq(i64.load(place, offset), va), () => {
        i64.store(place, offset, i64.const(-1));
        then?.();
      });
  };
  for (const bank of DATA_BANKS)
    f.if(i64.eq(i64.load(shadow, own.dataEpochs + bank * 8), epoch), () => {
      clear(own.readTlb + bank * TLB_BANK_BYTES);
      clear(own.writeTlb + bank * TLB_BANK_BYTES);
      const slots = f.ptr.add(shadow, f.ptr.const(own.slots + bank * SLOT_BANK_BYTES));
      f.memoryFill(slots, i32.const(0xff), f.ptr.const(SLOT_BANK_BYTES));
    });
  for (const bank of FETCH_BANKS)
    f.if(i64.eq(i64.load(shadow, own.fetchEpochs + bank * 8), epoch), () =>
      clear(own.fetchTlb + bank * TLB_BANK_BYTES, () => i64.store(shadow, own.fetchEpoch, nextEpoch(f, vcpu))),
    );
}

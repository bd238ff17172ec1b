/**
 * Which shadow and which of its buffers are in use: after changes of mode, mstatus, satp.
 *
 * A change of satp looks its value up among the hart's shadows. A hit registers the shadow, which changes pointers and
 * writes no entry; a miss allocates one (the least recently used makes room), records its root and begins it anew:
 * it is built as pages are touched. What fences dropped while a shadow was not in use is dropped now (shadow-fences.ts).
 *
 *   satp --> shadowRoots[i] == satp? --yes--> registered: base addresses of its buffers, its fetchEpoch
 *                                    \--no---> the least recently used i: recorded, a new epoch, registered
 *
 * Supervisor's pages are the same in all address spaces where they are global, so that mode's buffers are the hart's;
 * a shadow that has other pages for that mode has buffers of its own (isPrivate). Buffers are emptied when they come
 * into use and are of another epoch than their shadow.
 */
import type { FunctionBuilder, FunctionRef, I32, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { guestKey } from './fence-scope.ts';
import { defineFences, newEpoch } from './shadow-fences.ts';
import { EMPTY_SHADOW, RESERVED_SHADOWS, SHADOW_BYTES, shadowLayout } from './shadow-layout.ts';
import { count } from './shadow-table.ts';
import { activeArea, isVirtual } from './status-areas.ts';
import { BANK, SLOT_BANK_BYTES, TLB_BANK_BYTES, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const own = shadowLayout.offset;
/** mstatus bits. */
const MPRV = 1n << 17n;
const MPV = 1n << 39n;
const SUM = 1n << 18n;
const MXR = 1n << 19n;
const NO_ROOT = -1n;

/**
 * context(vcpu): chooses shadow and buffers for satp and the mode. set_banks(vcpu): the buffers alone; to be called after
 * anything was dropped. Fences: see defineFences.
 */
export function defineContext(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  const banks = library.get('set_banks');
  defineFences(module, library, banks);
  const emptyData = module.function('empty_data', [P, P, 'i32'], [], (f) => defineEmptyData(f));
  const emptyFetch = module.function('empty_fetch', [P, P, 'i32'], [], (f) => defineEmptyFetch(f));
  module.define(banks, (f) => defineBanks(f, emptyData, emptyFetch));
  const select = module.function('select_shadow', [P], [], (f) => defineSelect(f, library));
  module.define(declare('context', [P], []), (f) => {
    const vcpu = f.param<Ptr>(0).get;
    f.if(f.i32.load(vcpu, at.contextStale), () => f.call(library.get('drop_stale'), vcpu), undefined, 'unlikely');
    const isOther = f.i64.ne(f.i64.load(activeArea(f, vcpu), at.satp), f.i64.load(vcpu, at.seenSatp));
    const isAnothers = f.i64.ne(guestKey(f, vcpu), f.i64.load(vcpu, at.seenGuest));
    f.if(f.i32.or(isOther, isAnothers), () => f.call(select, vcpu));
    f.call(banks, vcpu);
  });
}

function shadowAt(f: FunctionBuilder, vcpu: Ptr, index: I32): Ptr {
  const bytes = f.i32.mul(f.i32.add(index, f.i32.const(RESERVED_SHADOWS)), f.i32.const(SHADOW_BYTES));
  return f.ptr.add(f.ptr.load(vcpu, at.shadowPool), f.ptr.from32(bytes));
}

/** An element of the directory's arrays. */
function element(f: FunctionBuilder, vcpu: Ptr, index: I32): Ptr {
  return f.ptr.add(vcpu, f.ptr.from32(f.i32.shl(index, f.i32.const(3))));
}

function defineSelect(f: FunctionBuilder, library: Library): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const satp = f.let(i64.load(activeArea(f, vcpu), at.satp));
  const guest = f.let(guestKey(f, vcpu));
  const shadows = f.let(i32.load(vcpu, at.shadowCount));
  const clock = f.let(i64.add(i64.load(vcpu, at.shadowClock), i64.const(1)));
  i64.store(vcpu, at.shadowClock, clock);
  i64.store(vcpu, at.seenSatp, satp);
  i64.store(vcpu, at.seenGuest, guest);
  const isForgetful = f.let(i32.and(i64.ne(guest, i64.const(0)), i32.eqz(i32.load(vcpu, at.combinedShadows))));
  const register = (shadow: Ptr): void => {
    f.ptr.store(vcpu, at.shadow, shadow);
    f.call(library.get('catch_up'), vcpu, shadow);
    // A guest that is entered, or changes its root, finds nothing of what was kept (--combined-shadows off).
    f.if(isForgetful, () => newEpoch(f, vcpu, shadow), undefined, 'unlikely');
    i32.store(shadow, own.registrations, i32.add(i32.load(shadow, own.registrations), i32.const(1)));
  };
  // Without translation there is nothing to be tied to: the shadow for it is always there.
  const guestRoot = i64.and(guest, i64.const(0xfn << 60n));
  f.if(i64.eqz(i64.or(i64.shrU(satp, i64.const(60)), guestRoot)), () => {
    register(f.let(f.ptr.add(f.ptr.load(vcpu, at.shadowPool), f.ptr.const(SHADOW_BYTES))));
    f.return();
  });
  // Global is what all address spaces of a mode have.
  const mode = f.let(i64.shrU(satp, i64.const(60)));
  const isOtherMode = i32.and(i64.eqz(guest), i64.ne(mode, i64.load(vcpu, at.globalMode)));
  f.if(isOtherMode, () => {
    i64.store(vcpu, at.globalMode, mode);
    newEpoch(f, vcpu, f.let(f.ptr.load(vcpu, at.shadowPool)));
  });
  const last = f.let(f.ptr.add(vcpu, f.ptr.from32(i32.shl(i64.ne(guest, i64.const(0)), i32.const(2)))));
  const whenFound = (slot: Ptr, number: I32): void => {
    const isRoot = i64.eq(i64.load(slot, at.shadowRoots), satp);
    f.if(i32.and(isRoot, i64.eq(i64.load(slot, at.shadowGuests), guest)), () => {
      const written = f.let(i32.load(vcpu, at.entriesWritten));
      i64.store(slot, at.shadowUses, clock);
      i32.store(last, at.lastShadows, number);
      register(f.let(shadowAt(f, vcpu, number)));
      count(f, vcpu, 'shadowHits');
      const wrote = i32.sub(i32.load(vcpu, at.entriesWritten), written);
      i32.store(vcpu, at.hitWrites, i32.add(i32.load(vcpu, at.hitWrites), wrote));
      f.return();
    });
  };
  const hint = f.let(i32.load(last, at.lastShadows));
  whenFound(f.let(element(f, vcpu, hint)), hint);
  const index = f.local('i32');
  const oldest = f.local('i32');
  const age = f.local('i64');
  f.set(index, i32.const(0));
  f.set(oldest, i32.const(0));
  f.set(age, i64.const(-1));
  f.while(
    () => i32.ltU(index.get, shadows),
    () => {
      const slot = f.let(element(f, vcpu, index.get));
      whenFound(slot, index.get);
      const used = f.let(i64.load(slot, at.shadowUses));
      f.if(i64.ltU(used, age.get), () => {
        f.set(age, used);
        f.set(oldest, index.get);
      });
      f.set(index, i32.add(index.get, i32.const(1)));
    },
  );
  const slot = f.let(element(f, vcpu, oldest.get));
  f.if(i64.ne(i64.load(slot, at.shadowRoots), i64.const(NO_ROOT)), () => count(f, vcpu, 'shadowEvictions'));
  i64.store(slot, at.shadowRoots, satp);
  i64.store(slot, at.shadowGuests, guest);
  i32.store(last, at.lastShadows, oldest.get);
  i64.store(slot, at.shadowUses, clock);
  const shadow = f.let(shadowAt(f, vcpu, oldest.get));
  i32.store(shadow, own.registrations, i32.const(0));
  i32.store(shadow, own.entriesWritten, i32.const(0));
  const isGuests = f.let(i64.ne(guest, i64.const(0)));
  i32.store(shadow, own.isGuest, isGuests);
  // Global pages of a guest are its own.
  i32.store(shadow, own.isPrivate, i32.or(isGuests, i32.load(vcpu, at.privateHint)));
  newEpoch(f, vcpu, shadow);
  register(shadow);
  count(f, vcpu, 'shadowMisses');
}

/** The number of a bank of data's buffers, and the shadow that it is of. */
function defineBanks(f: FunctionBuilder, emptyData: FunctionRef, emptyFetch: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const mstatus = f.let(i64.load(vcpu, at.mstatus));
  const mode = f.let(f.convert('i32_wrap_i64', i64.load(vcpu, at.mode)));
  const space = f.let(f.ptr.load(vcpu, at.shadow));
  const hart = f.let(f.ptr.load(vcpu, at.shadowPool));
  const supervisors = f.let(f.select(i32.load(space, own.isPrivate), space, hart));
  const bit = (mask: bigint): I32 => i64.ne(i64.and(mstatus, i64.const(mask)), i64.const(0));
  const data = f.local('i32');
  f.set(data, mode);
  const bank = f.local('i32');
  const owner = f.pointerLocal();
  const virtual = f.let(isVirtual(f, vcpu));
  /** Which MXR allows what BANK.mxr holds: bit 0 the mode's own, bit 1 the host's in a guest. */
  const mxr = f.local('i32');
  f.set(mxr, bit(MXR));
  const isUncached = f.local('i32');
  f.set(isUncached, i32.const(0));
  f.if(
    i32.eq(mode, i32.const(3)),
    () => {
      f.if(bit(MPRV), () => {
        f.set(data, i32.and(f.convert('i32_wrap_i64', i64.shrU(mstatus, i64.const(11))), i32.const(3)));
        f.set(isUncached, i32.and(bit(MPV), i32.ne(data.get, i32.const(3))));
      });
    },
    undefined,
    'unlikely',
  );
  f.if(
    virtual,
    () => {
      const host = i64.ne(i64.and(i64.load(vcpu, at.sstatus), i64.const(MXR)), i64.const(0));
      f.set(mxr, i32.or(mxr.get, i32.shl(host, i32.const(1))));
    },
    undefined,
    'unlikely',
  );
  i32.store(vcpu, at.uncached, isUncached.get);
  f.set(bank, data.get);
  f.set(owner, space);
  f.if(i32.eq(data.get, i32.const(1)), () =>
    f.if(
      bit(SUM),
      () => f.set(bank, i32.const(BANK.sum)),
      () => f.set(owner, supervisors),
    ),
  );
  f.if(
    i32.eq(data.get, i32.const(3)),
    () => f.set(owner, hart),
    () =>
      f.if(
        mxr.get,
        () => {
          // One bank for all modes: it is emptied when another mode's pages are in it.
          const key = f.let(i32.or(i32.add(bank.get, i32.const(1)), i32.shl(mxr.get, i32.const(4))));
          f.set(bank, i32.const(BANK.mxr));
          f.set(owner, space);
          f.if(i32.ne(i32.load(space, own.mxrKey), key), () => {
            i32.store(space, own.mxrKey, key);
            i64.store(space, own.dataEpochs + BANK.mxr * 8, i64.const(0));
          });
        },
        undefined,
        'unlikely',
      ),
    'unlikely',
  );
  const empty = f.ptr.add(hart, f.ptr.const(EMPTY_SHADOW * SHADOW_BYTES));
  f.if(isUncached.get, () => f.set(owner, empty), undefined, 'unlikely');
  const epochs = f.let(f.ptr.add(owner.get, f.ptr.from32(i32.shl(bank.get, i32.const(3)))));
  f.ptr.store(vcpu, at.dataEpochsAt, epochs);
  const isOther = i64.ne(i64.load(epochs, own.dataEpochs), i64.load(owner.get, own.epoch));
  const isOlder = i64.ne(i64.load(epochs, own.writeEpochs), i64.load(vcpu, at.writeEpoch));
  f.if(i32.or(isOther, isOlder), () => f.call(emptyData, vcpu, owner.get, bank.get), undefined, 'unlikely');
  const lower = f.select(i32.eq(mode, i32.const(3)), hart, space);
  const fetches = f.let(f.select(i32.eq(mode, i32.const(1)), supervisors, lower));
  const epoch = i64.load(f.ptr.add(fetches, f.ptr.from32(i32.shl(mode, i32.const(3)))), own.fetchEpochs);
  f.if(
    i64.ne(epoch, i64.load(fetches, own.epoch)),
    () => f.call(emptyFetch, vcpu, fetches, mode),
    undefined,
    'unlikely',
  );
  const tlb = f.let(f.ptr.add(owner.get, f.ptr.from32(i32.mul(bank.get, i32.const(TLB_BANK_BYTES)))));
  f.ptr.store(vcpu, at.readBank, f.ptr.add(tlb, f.ptr.const(own.readTlb)));
  f.ptr.store(vcpu, at.writeBank, f.ptr.add(tlb, f.ptr.const(own.writeTlb)));
  const slots = f.ptr.add(owner.get, f.ptr.from32(i32.mul(bank.get, i32.const(SLOT_BANK_BYTES))));
  f.ptr.store(vcpu, at.slotBank, f.ptr.add(slots, f.ptr.const(own.slots)));
  const fetch = f.ptr.add(fetches, f.ptr.from32(i32.mul(mode, i32.const(TLB_BANK_BYTES))));
  f.ptr.store(vcpu, at.fetchBank, f.ptr.add(fetch, f.ptr.const(own.fetchTlb)));
  f.ptr.store(vcpu, at.fetchShadow, fetches);
  f.ptr.store(vcpu, at.walkBank, f.ptr.add(space, f.ptr.const(own.walkCache)));
  i64.store(vcpu, at.fetchEpoch, i64.load(fetches, own.fetchEpoch));
}

/** empty_data(vcpu, shadow, bank): of another epoch all of it, else (the writeEpoch moved) what writes go through. */
function defineEmptyData(f: FunctionBuilder): void {
  const { i32, i64 } = f;
  const [vcpu, shadow, bank] = [f.param<Ptr>(0).get, f.param<Ptr>(1).get, f.param<I32>(2).get];
  const epochs = f.let(f.ptr.add(shadow, f.ptr.from32(i32.shl(bank, i32.const(3)))));
  const epoch = f.let(i64.load(shadow, own.epoch));
  const fill = (field: 'readTlb' | 'writeTlb' | 'slots', bytes: number): void => {
    const from = f.ptr.add(shadow, f.ptr.from32(i32.mul(bank, i32.const(bytes))));
    f.memoryFill(f.ptr.add(from, f.ptr.const(own[field])), i32.const(0xff), f.ptr.const(bytes));
  };
  f.if(i64.ne(i64.load(epochs, own.dataEpochs), epoch), () => {
    i64.store(epochs, own.dataEpochs, epoch);
    fill('readTlb', TLB_BANK_BYTES);
  });
  i64.store(epochs, own.writeEpochs, i64.load(vcpu, at.writeEpoch));
  fill('writeTlb', TLB_BANK_BYTES);
  fill('slots', SLOT_BANK_BYTES);
}

function defineEmptyFetch(f: FunctionBuilder): void {
  const { i32, i64 } = f;
  const [shadow, mode] = [f.param<Ptr>(1).get, f.param<I32>(2).get];
  const epochs = f.ptr.add(shadow, f.ptr.from32(i32.shl(mode, i32.const(3))));
  i64.store(epochs, own.fetchEpochs, i64.load(shadow, own.epoch));
  const from = f.ptr.add(shadow, f.ptr.from32(i32.mul(mode, i32.const(TLB_BANK_BYTES))));
  f.memoryFill(f.ptr.add(from, f.ptr.const(own.fetchTlb)), i32.const(0xff), f.ptr.const(TLB_BANK_BYTES));
}

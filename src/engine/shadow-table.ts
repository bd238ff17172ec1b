/**
 * A shadow's table in generated Wasm: find, fill, drop; and translation by it. What the table does not know is walked
 * and written down, into the hart's own shadow where the page is global and supervisor's, so that a new address space finds the kernel's
 * pages there. Entries hold the PTE's rights: privilege, SUM and MXR are looked at when an entry is used.
 *
 *   buffers miss --> find(own), find(global) --rights suffice--> guest-physical address
 *                                  \--none, or they do not--> walk --> fill --> guest-physical address (or a fault)
 */
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { ACCESS } from './memory-plan.ts';
import { PTE } from './page-table.ts';
import { dropBuffers } from './shadow-epochs.ts';
import {
  PAGE_SHIFTS,
  shadowLayout,
  TABLE_ENTRY,
  TABLE_ENTRY_BYTES,
  TABLE_SET_BYTES,
  TABLE_SETS,
  TABLE_WAYS,
} from './shadow-layout.ts';
import { STALE, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const own = shadowLayout.offset;
const SUM = 1n << 18n;
const MXR = 1n << 19n;
const PPN = ((1n << 44n) - 1n) << 12n;
/** PAGE_SHIFTS as bytes of a word. */
const SHIFTS = PAGE_SHIFTS.reduce((word, shift, i) => word | (BigInt(shift) << BigInt(8 * i)), 0n);

export function defineShadowTable(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  // shadow_find(shadow, va): the entry, 0: none.
  const find = declare('shadow_find', [P, 'i64'], [P]);
  module.define(find, (f) => defineFind(f));
  // shadow_fill(vcpu, shadow, va): writes what the last walk found for va down.
  const fill = declare('shadow_fill', [P, P, 'i64'], []);
  module.define(fill, (f) => defineFill(f, library.get('set_banks')));
  // shadow_translate(vcpu, va, access, mode): as walk, with the tables in front of it.
  module.define(declare('shadow_translate', [P, 'i64', 'i32', 'i32'], ['i64']), (f) =>
    defineTranslate(f, { find, fill, walk: library.get('walk') }),
  );
  // combined_translate(vcpu, va, access, mode): the same for the guest that runs, through both stages.
  module.define(declare('combined_translate', [P, 'i64', 'i32', 'i32'], ['i64']), (f) =>
    defineCombined(f, { find, fill, walk: library.get('walk_virtual') }),
  );
}

/** The set of a table that a page of that size belongs to, and its tag. */
export function placeOf(f: FunctionBuilder, shadow: Ptr, va: I64, size: number): { set: Ptr; tag: I64 } {
  const { i64 } = f;
  const shift = PAGE_SHIFTS[size] ?? 0;
  const number = i64.and(i64.shrU(va, i64.const(shift)), i64.const(TABLE_SETS - 1));
  const set = f.let(f.ptr.add(shadow, f.ptr.from64(i64.mul(number, i64.const(TABLE_SET_BYTES)))));
  const tag = f.let(i64.or(i64.and(va, i64.const(-(1n << BigInt(shift)))), i64.const(size)));
  return { set, tag };
}

/** For each size that the shadow may have pages of: `body(size)`. Pages of 4 KiB come first, and always. */
export function eachSize(f: FunctionBuilder, sizes: I32, body: (size: number) => void): void {
  PAGE_SHIFTS.forEach((_, size) => {
    if (size === 0) f.scope(() => body(size));
    else
      f.if(f.i32.and(sizes, f.i32.const(1 << size)), () => body(size), undefined, size === 2 ? 'likely' : 'unlikely');
  });
}

/** Whether the entry at way `way` of a set is that of the tag, of this epoch. */
export function isEntry(f: FunctionBuilder, set: Ptr, way: number, tag: I64, epoch: I64): I32 {
  const { i32, i64 } = f;
  const offset = way * TABLE_ENTRY_BYTES;
  return i32.and(
    i64.eq(i64.load(set, offset + TABLE_ENTRY.tag), tag),
    i64.eq(i64.load(set, offset + TABLE_ENTRY.epoch), epoch),
  );
}

function defineFind(f: FunctionBuilder): void {
  const { i32, i64 } = f;
  const shadow = f.param<Ptr>(0).get;
  const va = f.param<I64>(1).get;
  const epoch = f.let(i64.load(shadow, own.epoch));
  eachSize(f, f.let(i32.load(shadow, own.sizes)), (size) => {
    const { set, tag } = placeOf(f, shadow, va, size);
    for (let way = 0; way < TABLE_WAYS; way++)
      f.if(isEntry(f, set, way, tag, epoch), () => f.return(f.ptr.add(set, f.ptr.const(way * TABLE_ENTRY_BYTES))));
  });
  f.return(f.ptr.const(0));
}

function defineFill(f: FunctionBuilder, banks: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const shadow = f.param<Ptr>(1).get;
  const va = f.param<I64>(2).get;
  const epoch = f.let(i64.load(shadow, own.epoch));
  // A page of a NAPOT range stands for itself; a fence of one then drops more than its own entry.
  const range = f.let(i32.load(vcpu, at.leafRange));
  f.if(range, () => noteRange(f, shadow, va, range), undefined, 'unlikely');
  const size = f.let(i32.load(vcpu, at.leafSize));
  const wideSize = f.let(f.convert('i64_extend_i32_u', size));
  const shift = f.let(shiftOf(f, wideSize));
  const number = i64.and(i64.shrU(va, shift), i64.const(TABLE_SETS - 1));
  const set = f.let(f.ptr.add(shadow, f.ptr.from64(i64.mul(number, i64.const(TABLE_SET_BYTES)))));
  const tag = f.let(i64.or(i64.shl(i64.shrU(va, shift), shift), wideSize));
  const entry = f.pointerLocal();
  f.block((chosen) => {
    const choose = (way: number): void => {
      f.set(entry, f.ptr.add(set, f.ptr.const(way * TABLE_ENTRY_BYTES)));
      f.br(chosen);
    };
    // What stands there for the page makes room first, then what is dropped.
    for (let way = 0; way < TABLE_WAYS; way++)
      f.if(i64.eq(i64.load(set, way * TABLE_ENTRY_BYTES), tag), () => choose(way));
    for (let way = 0; way < TABLE_WAYS; way++)
      f.if(i64.ne(i64.load(set, way * TABLE_ENTRY_BYTES + TABLE_ENTRY.epoch), epoch), () => choose(way));
    const victim = f.let(i32.load(shadow, own.victim));
    i32.store(shadow, own.victim, i32.add(victim, i32.const(1)));
    const offset = i32.mul(i32.and(victim, i32.const(TABLE_WAYS - 1)), i32.const(TABLE_ENTRY_BYTES));
    f.set(entry, f.ptr.add(set, f.ptr.from32(offset)));
    // The buffers may still hold parts of a larger page: a fence of one of these would no longer know how far it went.
    f.if(i32.and(f.convert('i32_wrap_i64', i64.load(entry.get)), i32.const(7)), () => {
      dropBuffers(f, vcpu, shadow);
      f.call(banks, vcpu);
    });
    count(f, vcpu, 'tableEvictions');
  });
  i64.store(entry.get, TABLE_ENTRY.tag, tag);
  i64.store(entry.get, TABLE_ENTRY.pte, i64.load(vcpu, at.leafPte));
  i64.store(entry.get, TABLE_ENTRY.epoch, epoch);
  i64.store(entry.get, TABLE_ENTRY.pteAt, i64.load(vcpu, at.leafAt));
  i32.store(shadow, own.sizes, i32.or(i32.load(shadow, own.sizes), i32.shl(i32.const(1), size)));
  i32.store(shadow, own.entriesWritten, i32.add(i32.load(shadow, own.entriesWritten), i32.const(1)));
  count(f, vcpu, 'entriesWritten');
}

/** The page at `va` is part of a larger one, of that size: fences know where such are. */
function noteRange(f: FunctionBuilder, shadow: Ptr, va: I64, size: I32): void {
  const { i32, i64 } = f;
  const bytes = i64.shl(i64.const(1), shiftOf(f, f.convert('i64_extend_i32_u', size)));
  const mask = f.let(i64.sub(bytes, i64.const(1)));
  const from = f.let(i64.and(va, i64.xor(mask, i64.const(-1))));
  const to = f.let(i64.or(va, mask));
  const isFirst = f.let(i32.eqz(i32.load(shadow, own.hasRanges)));
  const isLower = i64.ltU(from, i64.load(shadow, own.rangeFrom));
  f.if(i32.or(isFirst, isLower), () => i64.store(shadow, own.rangeFrom, from));
  const isHigher = i64.gtU(to, i64.load(shadow, own.rangeTo));
  f.if(i32.or(isFirst, isHigher), () => i64.store(shadow, own.rangeTo, to));
  i32.store(shadow, own.hasRanges, i32.const(1));
}

/** A fence of any page drops the whole shadow. */
function noteAll(f: FunctionBuilder, shadow: Ptr): void {
  f.i64.store(shadow, own.rangeFrom, f.i64.const(0));
  f.i64.store(shadow, own.rangeTo, f.i64.const(-1));
  f.i32.store(shadow, own.hasRanges, f.i32.const(1));
}

function defineTranslate(f: FunctionBuilder, to: { find: FunctionRef; fill: FunctionRef; walk: FunctionRef }): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const va = f.param<I64>(1).get;
  const access = f.param<I32>(2).get;
  const mode = f.param<I32>(3).get;
  const isBare = i64.eqz(i64.shrU(i64.load(vcpu, at.satp), i64.const(60)));
  f.if(i32.or(i32.eq(mode, i32.const(3)), isBare), () => f.return(f.call(to.walk, vcpu, va, access, mode) as I64));
  const space = f.let(f.ptr.load(vcpu, at.shadow));
  const hart = f.let(f.ptr.load(vcpu, at.shadowPool));
  const entry = f.pointerLocal();
  // User mode's pages are in the address space's table, global or not; supervisor's, if high, are global most likely.
  const isHigh = f.let(i64.ltS(va, i64.const(0)));
  f.set(entry, f.call(to.find, f.select(i32.and(mode, isHigh), hart, space), va) as Ptr);
  f.if(i32.and(mode, f.ptr.eqz(entry.get)), () =>
    f.set(entry, f.call(to.find, f.select(isHigh, space, hart), va) as Ptr),
  );
  returnKnown(f, entry.get, MXR);
  const gpa = f.let(f.call(to.walk, vcpu, va, access, mode) as I64);
  f.if(i64.eq(gpa, i64.const(-1)), () => f.return(gpa), undefined, 'unlikely');
  count64(f, vcpu, 'refillsWalk');
  const isUsers = f.let(i64.ne(i64.and(i64.load(vcpu, at.leafPte), i64.const(PTE.u)), i64.const(0)));
  const isGlobal = f.let(i32.and(i32.load(vcpu, at.leafGlobal), i32.eqz(isUsers)));
  f.call(to.fill, vcpu, f.select(isGlobal, hart, space), va);
  // A supervisor's page of this address space alone must not get into buffers that all share: from the next look at
  // the context on it has buffers of its own.
  const isShared = i32.and(i32.eqz(isGlobal), i32.eqz(i32.load(space, own.isPrivate)));
  f.if(
    i32.and(isShared, i32.eqz(isUsers)),
    () => {
      i32.store(vcpu, at.contextStale, i32.or(i32.load(vcpu, at.contextStale), i32.const(STALE.banks)));
    },
    undefined,
    'unlikely',
  );
  f.if(isGlobal, () => i32.store(vcpu, at.privateHint, i32.const(0)));
  f.if(i32.load(space, own.untracked), () => i32.store(f.select(isGlobal, hart, space), own.untracked, i32.const(1)));
  const isLow = i32.eqz(i64.ltS(va, i64.const(0)));
  f.if(i32.and(isGlobal, isLow), () => i32.store(vcpu, at.lowGlobals, i32.const(1)), undefined, 'unlikely');
  f.return(gpa);
}

/**
 * A guest's shadow holds what both stages come to, of global pages too. What a page that can only be executed is read by is
 * walked for each time, as either stage's MXR may be what allows it.
 */
function defineCombined(f: FunctionBuilder, to: { find: FunctionRef; fill: FunctionRef; walk: FunctionRef }): void {
  const { i32, i64 } = f;
  const [vcpu, va] = [f.param<Ptr>(0).get, f.param<I64>(1).get];
  const [access, mode] = [f.param<I32>(2).get, f.param<I32>(3).get];
  const space = f.let(f.ptr.load(vcpu, at.shadow));
  const isKept = f.let(i32.and(i32.load(vcpu, at.combinedShadows), i32.load(space, own.isGuest)));
  f.if(isKept, () => returnKnown(f, f.let(f.call(to.find, space, va) as Ptr), 0n));
  const physical = f.let(f.call(to.walk, vcpu, va, access, mode, i32.const(0)) as I64);
  f.if(i64.eq(physical, i64.const(-1)), () => f.return(physical), undefined, 'unlikely');
  count64(f, vcpu, 'refillsWalk');
  f.if(
    isKept,
    () => {
      f.call(to.fill, vcpu, space, va);
      i32.store(space, own.untracked, i32.const(1));
    },
    // What is in no table is in the buffers at most: how large the page was, no fence will know.
    () => noteAll(f, space),
    'likely',
  );
  f.return(physical);
}

/** Returns what an entry (0: none) translates the address of a function's parameters to, if it allows the access. */
function returnKnown(f: FunctionBuilder, entry: Ptr, mxr: bigint): void {
  const { i32, i64 } = f;
  const [vcpu, va] = [f.param<Ptr>(0).get, f.param<I64>(1).get];
  f.if(i32.eqz(f.ptr.eqz(entry)), () => {
    const pte = f.let(i64.load(entry, TABLE_ENTRY.pte));
    f.if(mayAccess(f, { vcpu, pte, access: f.param<I32>(2).get, mode: f.param<I32>(3).get, mxr }), () => {
      const size = i64.and(i64.load(entry, TABLE_ENTRY.tag), i64.const(7));
      const mask = f.let(i64.sub(i64.shl(i64.const(1), shiftOf(f, size)), i64.const(1)));
      const frame = i64.and(i64.and(i64.shl(pte, i64.const(2)), i64.const(PPN)), i64.xor(mask, i64.const(-1)));
      count64(f, vcpu, 'refillsShadow');
      f.return(i64.or(frame, i64.and(va, mask)));
    });
  });
}

/**
 * Whether the leaf (valid, with A) allows the access in `mode` (0 or 1) as mstatus stands; `mxr`: its bit that makes
 * what can be executed readable.
 */
function mayAccess(
  f: FunctionBuilder,
  what: { readonly vcpu: Ptr; readonly pte: I64; readonly access: I32; readonly mode: I32; readonly mxr: bigint },
): I32 {
  const { i32, i64 } = f;
  const { vcpu, pte, access, mode, mxr } = what;
  const mstatus = f.let(i64.load(vcpu, at.mstatus));
  const has = (value: I64, bits: bigint): I32 => i64.ne(i64.and(value, i64.const(bits)), i64.const(0));
  const isUsers = f.let(has(pte, PTE.u));
  const supervisorMay = i32.or(i32.eqz(isUsers), i32.and(i32.ne(access, i32.const(ACCESS.fetch)), has(mstatus, SUM)));
  const isMode = f.select(mode, supervisorMay, isUsers);
  const readable = i32.or(has(pte, PTE.r), i32.and(has(pte, PTE.x), has(mstatus, mxr)));
  const isWritable = i64.eq(i64.and(pte, i64.const(PTE.w | PTE.d)), i64.const(PTE.w | PTE.d));
  const permitted = f.select(
    i32.eq(access, i32.const(ACCESS.store)),
    isWritable,
    f.select(access, readable, has(pte, PTE.x)),
  );
  return i32.and(isMode, permitted);
}

/** The shift of a size by its number. */
function shiftOf(f: FunctionBuilder, size: I64): I64 {
  const { i64 } = f;
  return i64.and(i64.shrU(i64.const(SHIFTS), i64.shl(size, i64.const(3))), i64.const(63));
}

type Counter =
  | 'entriesWritten'
  | 'tableEvictions'
  | 'shadowHits'
  | 'shadowMisses'
  | 'shadowEvictions'
  | 'shadowBuilds'
  | 'hitWrites'
  | 'fencesAll'
  | 'fencesSpace'
  | 'fencesPage'
  | 'fencesLate';

export function count(f: FunctionBuilder, vcpu: Ptr, field: Counter): void {
  f.i32.store(vcpu, at[field], f.i32.add(f.i32.load(vcpu, at[field]), f.i32.const(1)));
}

function count64(f: FunctionBuilder, vcpu: Ptr, field: 'refillsShadow' | 'refillsWalk'): void {
  f.i64.store(vcpu, at[field], f.i64.add(f.i64.load(vcpu, at[field]), f.i64.const(1)));
}

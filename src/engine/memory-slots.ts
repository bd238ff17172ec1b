/**
 * Page slots: the first level of translation of translated code. For each base register, reads and writes apart, a
 * slot remembers the page that was last reached through it:
 *
 *   tag      u64   the page's virtual address
 *   delta    ptr   host address minus virtual address
 *   invalid  u64   0, or all ones: none. An access hits if (va ^ tag | invalid) <= 4096 - its bytes, unsigned: one
 *                  comparison for page, end of page and validity, whatever the alignment
 *   score    i32   how many misses followed each other closely
 *   last     i32   the budget at the last miss, as a clock
 *
 * A slot lies at a constant offset in its bank, so that no index is computed to find it. Where it misses, code looks
 * into the buffers; where those miss, or the slot is to have what they know, it calls the functions defined here.
 * Registers that change pages all the time (lists, hash tables) are not worth that: a slot that missed MOST_MISSES
 * times in a row, each within CLOSE instructions, stays as it is, and code goes on with the buffers: a branch that the
 * host's processor foresees, and no store. Slots are part of the buffers: whatever drops those drops them.
 */
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { ACCESS } from './memory-plan.ts';
import { firstPlace } from './translation-buffers.ts';
import { FAULT, SLOT_BANK_BYTES, SLOT_BYTES, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;

export const SLOT = { tag: 0, delta: 8, invalid: 16, score: 24, last: 28 } as const;
export const MOST_MISSES = 16;
/** No distance: those are multiples of a page. */
export const NOT_REACHED = -1;
/** A miss costs as much as twenty hits save, and an access comes every ten instructions or so. */
const CLOSE = 200;

/** Offset in a bank of the slot of a base register (0 to 31). */
export function slotOffset(register: number, isWrite: boolean): number {
  return (register + (isWrite ? 32 : 0)) * SLOT_BYTES;
}

/**
 * slot_load(vcpu, va, bytes, slot's offset) -> value, zero-extended; slot_store(vcpu, va, bytes, offset, value).
 * `fault` is set where they did not take place. slot_walk(vcpu, va, bytes, offset, isWrite) -> 1: see below. slot_miss(vcpu, va, bytes, offset, budget) -> distance to
 * the host address, or NOT_REACHED: then nothing was done, and slot_walk's words hold.
 */
export function defineSlots(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  module.define(declare('slot_load', [P, 'i64', 'i32', 'i32'], ['i64']), (f) => {
    const { vcpu, va, bytes, slot } = operands(f);
    const hit = probe(f, vcpu, va, bytes, at.readBank);
    f.if(hit.isHit, () => {
      const delta = f.let(f.ptr.load(hit.entry, 8));
      fill(f, vcpu, slot, hit.page, delta);
      const address = f.let(f.ptr.add(f.ptr.from64(va), delta));
      for (const size of [8, 4, 2, 1])
        f.if(f.i32.eq(bytes, f.i32.const(size)), () => f.return(f.i64.loadSized(address, 0, size, false)));
    });
    const value = f.let(f.call(library.get('load_slow'), vcpu, va, bytes) as I64);
    refill(f, vcpu, va, bytes, at.readBank, slot);
    f.return(value);
  });
  module.define(declare('slot_store', [P, 'i64', 'i32', 'i32', 'i64'], []), (f) => {
    const { vcpu, va, bytes, slot } = operands(f);
    const value = f.param<I64>(4).get;
    const hit = probe(f, vcpu, va, bytes, at.writeBank);
    f.if(hit.isHit, () => {
      const delta = f.let(f.ptr.load(hit.entry, 8));
      fill(f, vcpu, slot, hit.page, delta);
      const address = f.let(f.ptr.add(f.ptr.from64(va), delta));
      for (const size of [8, 4, 2, 1])
        f.if(f.i32.eq(bytes, f.i32.const(size)), () => {
          f.i64.storeSized(address, 0, size, value);
          f.return();
        });
    });
    f.call(library.get('store_slow'), vcpu, va, bytes, value);
    refill(f, vcpu, va, bytes, at.writeBank, slot);
  });
  module.define(declare('slot_walk', [P, 'i64', 'i32', 'i32', 'i32'], ['i32']), (f) =>
    defineWalk(f, library.get('host_address')),
  );
  module.define(declare('slot_miss', [P, 'i64', 'i32', 'i32', 'i32'], [P]), (f) =>
    defineMiss(f, library.get('slot_walk')),
  );
}

/** slot_miss: looks where the slot did not serve, and fills it unless it is restless. */
function defineMiss(f: FunctionBuilder, walk: FunctionRef): void {
  const { i32 } = f;
  const { vcpu, va, bytes, slot } = operands(f);
  const budget = f.param<I32>(4).get;
  const isWrite = f.let(i32.geU(slot, i32.const(SLOT_BANK_BYTES / 2)));
  const bank = f.let(f.select(isWrite, f.ptr.load(vcpu, at.writeBank), f.ptr.load(vcpu, at.readBank)));
  const entry = f.let(f.ptr.add(bank, firstPlace(f, va)));
  const last = f.i64.add(va, f.convert('i64_extend_i32_u', i32.sub(bytes, i32.const(1))));
  const page = f.let(f.i64.and(last, f.i64.const(-4096)));
  f.if(
    f.i64.ne(f.i64.load(entry), page),
    () => f.if(i32.eqz(f.call(walk, vcpu, va, bytes, slot, isWrite) as I32), () => f.return(f.ptr.const(NOT_REACHED))),
    () => {
      const to = f.let(f.ptr.add(f.ptr.load(vcpu, at.slotBank), f.ptr.from32(slot)));
      const score = f.let(i32.load(to, SLOT.score));
      f.if(i32.compare('lt_s', score, i32.const(MOST_MISSES)), () => {
        const isClose = i32.ltU(i32.sub(i32.load(to, SLOT.last), budget), i32.const(CLOSE));
        i32.store(to, SLOT.score, f.select(isClose, i32.add(score, i32.const(1)), i32.const(0)));
        i32.store(to, SLOT.last, budget);
        fill(f, vcpu, slot, page, f.ptr.load(entry, 8));
      });
    },
    'unlikely',
  );
  f.return(f.ptr.load(entry, 8));
}

/**
 * slot_walk for an access whose page the buffer does not know: 1 if buffer and slot know it now. 0, and nothing done, for
 * what lies in two pages, faults, is a device, or may not be written without notice.
 */
function defineWalk(f: FunctionBuilder, host: FunctionRef): void {
  const { i32 } = f;
  const { vcpu, va, bytes, slot } = operands(f);
  const isWrite = f.param<I32>(4).get;
  const offset = i32.and(f.convert('i32_wrap_i64', va), i32.const(4095));
  f.if(i32.gtU(i32.add(offset, bytes), i32.const(4096)), () => f.return(i32.const(0)));
  const access = f.select(isWrite, i32.const(ACCESS.store), i32.const(ACCESS.load));
  const address = f.let(f.call(host, vcpu, va, bytes, access) as Ptr);
  f.if(f.ptr.eqz(address), () => {
    // Whoever does the access finds the fault again.
    i32.store(vcpu, at.fault, i32.const(FAULT.none));
    f.return(i32.const(0));
  });
  for (const [condition, bank] of [[isWrite, at.writeBank] as const, [i32.eqz(isWrite), at.readBank] as const])
    f.if(condition, () => {
      const hit = probe(f, vcpu, va, bytes, bank);
      f.if(i32.eqz(hit.isHit), () => f.return(i32.const(0)));
      fillWorthy(f, vcpu, slot, hit);
    });
  f.return(i32.const(1));
}

/**
 * What the slow way has put into the buffer goes into the slot at once: two registers whose pages share an entry of the
 * buffer would else never find it there. Such a slot is worth having.
 */
function refill(f: FunctionBuilder, vcpu: Ptr, va: I64, bytes: I32, bank: number, slot: I32): void {
  const hit = probe(f, vcpu, va, bytes, bank);
  f.if(hit.isHit, () => fillWorthy(f, vcpu, slot, hit));
}

function fillWorthy(f: FunctionBuilder, vcpu: Ptr, slot: I32, hit: { entry: Ptr; page: I64 }): void {
  fill(f, vcpu, slot, hit.page, f.let(f.ptr.load(hit.entry, 8)));
  const to = f.ptr.add(f.ptr.load(vcpu, at.slotBank), f.ptr.from32(slot));
  f.i32.store(to, SLOT.score, f.i32.const(0));
}

function operands(f: FunctionBuilder): { vcpu: Ptr; va: I64; bytes: I32; slot: I32 } {
  return {
    vcpu: f.param<Ptr>(0).get,
    va: f.param<I64>(1).get,
    bytes: f.param<I32>(2).get,
    slot: f.param<I32>(3).get,
  };
}

/** The translation buffer's entry for the first byte, which is a hit if the last byte lies in the same page. */
export function probe(
  f: FunctionBuilder,
  vcpu: Ptr,
  va: I64,
  bytes: I32,
  bank: number,
): { entry: Ptr; page: I64; isHit: I32 } {
  const entry = f.let(f.ptr.add(f.ptr.load(vcpu, bank), firstPlace(f, va)));
  const last = f.i64.add(va, f.convert('i64_extend_i32_u', f.i32.sub(bytes, f.i32.const(1))));
  const page = f.let(f.i64.and(last, f.i64.const(-4096)));
  return { entry, page, isHit: f.i64.eq(f.i64.load(entry), page) };
}

function fill(f: FunctionBuilder, vcpu: Ptr, slot: I32, page: I64, delta: Ptr): void {
  const to = f.let(f.ptr.add(f.ptr.load(vcpu, at.slotBank), f.ptr.from32(slot)));
  f.i64.store(to, SLOT.tag, page);
  f.ptr.store(to, SLOT.delta, delta);
  f.i64.store(to, SLOT.invalid, f.i64.const(0));
}

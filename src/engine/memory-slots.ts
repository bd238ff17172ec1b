/**
 * Page slots: the first level of translation of translated code. For each base register, reads and writes apart, a
 * slot remembers the page that was last reached through it, like an entry of the translation buffers:
 *
 *   tag     u64   the page's virtual address; all ones: none
 *   delta   ptr   host address minus virtual address
 *
 * A slot lies at a constant offset in its bank, so that no index is computed to find it. Where it misses, code looks
 * into the buffers, and copies what it finds; where those miss, it calls the functions defined here. Slots are part of
 * the buffers: whatever drops those drops them.
 */
import type { FunctionBuilder, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { BANKS, SLOT_BANK_BYTES, SLOT_BYTES, TLB_ENTRIES, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;

export const SLOT = { tag: 0, delta: 8 } as const;

/** Offset in a bank of the slot of a base register (0 to 31). */
export function slotOffset(register: number, isWrite: boolean): number {
  return (register + (isWrite ? 32 : 0)) * SLOT_BYTES;
}

/**
 * slot_load(vcpu, va, bytes, slot's offset) -> value, zero-extended; slot_store(vcpu, va, bytes, offset, value).
 * `fault` is set where they did not take place.
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
  });
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
function probe(
  f: FunctionBuilder,
  vcpu: Ptr,
  va: I64,
  bytes: I32,
  bank: number,
): { entry: Ptr; page: I64; isHit: I32 } {
  const index = f.i64.and(f.i64.shrU(va, f.i64.const(8)), f.i64.const((TLB_ENTRIES - 1) * 16));
  const entry = f.let(f.ptr.add(f.ptr.load(vcpu, bank), f.ptr.from64(index)));
  const last = f.i64.add(va, f.convert('i64_extend_i32_u', f.i32.sub(bytes, f.i32.const(1))));
  const page = f.let(f.i64.and(last, f.i64.const(-4096)));
  return { entry, page, isHit: f.i64.eq(f.i64.load(entry), page) };
}

function fill(f: FunctionBuilder, vcpu: Ptr, slot: I32, page: I64, delta: Ptr): void {
  const to = f.let(f.ptr.add(f.ptr.load(vcpu, at.slotBank), f.ptr.from32(slot)));
  f.i64.store(to, SLOT.tag, page);
  f.ptr.store(to, SLOT.delta, delta);
}

/**
 * Empties the slots of the address space in use. Not to be called between a region's check of a slot and its last use: that is, from nothing that
 * a region calls and goes on after.
 */
export function clearSlots(f: FunctionBuilder, vcpu: Ptr): void {
  const bytes = BANKS * SLOT_BANK_BYTES;
  const own = f.ptr.from32(f.i32.mul(f.i32.load(vcpu, at.context), f.i32.const(bytes)));
  f.memoryFill(f.ptr.add(f.ptr.add(vcpu, f.ptr.const(at.slots)), own), f.i32.const(0xff), f.ptr.const(bytes));
}

/** A region's checks of page slots (engine/memory-slots.ts): from a base register to the host address of an access. */
import { firstPlace, MOST_MISSES, NOT_REACHED, SLOT, slotOffset, vcpuState } from '../engine/index.ts';
import type { FunctionBuilder, FunctionRef, I32, I64, Label, Local, Ptr } from '../wasm/index.ts';
import type { AccessGroup } from './accesses.ts';

const at = vcpuState.offset;

interface SlotContext {
  readonly f: FunctionBuilder;
  readonly vcpu: Ptr;
  /** The bank of slots in use. */
  readonly slots: Local<Ptr>;
  readonly budget: Local<I32>;
  /** The engine's slot_miss. */
  ask(): FunctionRef;
}

/** Leaves the host address of the group's first byte in `host`, or goes to `miss`; `base` is the base register's value. */
export function checkSlot(context: SlotContext, group: AccessGroup, base: I64, miss: Label, host: Local<Ptr>): void {
  const { f } = context;
  const slot = slotOffset(group.base, group.isWrite);
  const bank = context.slots.get;
  const first = f.let(group.from === 0 ? base : f.i64.add(base, f.i64.const(group.from)));
  const span = group.to - group.from;
  // Half of `invalid`, as V8 loads twice what an operation takes from memory as an operand (measured).
  const invalid = f.i64.loadSized(bank, slot + SLOT.invalid, 4, false);
  const distance = f.i64.or(f.i64.xor(first, f.i64.load(bank, slot + SLOT.tag)), invalid);
  f.set(host, f.ptr.load(bank, slot + SLOT.delta));
  const isMiss = f.i64.gtU(distance, f.i64.const(4096 - span));
  f.if(isMiss, () => probe(context, group, first, miss, host), undefined, 'unlikely');
  f.set(host, f.ptr.add(f.ptr.from64(first), host.get));
}

/** The slot missed: the distance to the host address is in the translation buffer, if it is not to be put into the slot. */
function probe(context: SlotContext, group: AccessGroup, first: I64, miss: Label, delta: Local<Ptr>): void {
  const { f, vcpu, slots, budget } = context;
  const slot = slotOffset(group.base, group.isWrite);
  const span = group.to - group.from;
  const buffer = f.ptr.load(vcpu, group.isWrite ? at.writeBank : at.readBank);
  const entry = f.let(f.ptr.add(buffer, firstPlace(f, first)));
  // The entry of the first byte's page never has the tag of the next page.
  const page = f.i64.and(f.i64.add(first, f.i64.const(span - 1)), f.i64.const(-4096));
  const isElsewhere = f.i64.ne(page, f.i64.load(entry));
  const isWorthIt = f.i32.compare('lt_s', f.i32.load(slots.get, slot + SLOT.score), f.i32.const(MOST_MISSES));
  f.set(delta, f.ptr.load(entry, 8));
  f.if(
    f.i32.or(isElsewhere, isWorthIt),
    () => {
      f.set(delta, f.call(context.ask(), vcpu, first, f.i32.const(span), f.i32.const(slot), budget.get) as Ptr);
      f.brIf(miss, f.ptr.eq(delta.get, f.ptr.const(NOT_REACHED)), 'unlikely');
    },
    undefined,
    'unlikely',
  );
}

/** Which translation buffers are in use, and dropping what they hold: after changes of mode, mstatus, satp; fences. */
import type { ModuleBuilder, Ptr } from '../wasm/index.ts';
import { clearSlots } from './memory-slots.ts';
import { BANKS, SLOT_BANK_BYTES, TLB_BANK_BYTES, vcpuState, WALK_CACHE_BYTES } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
/** mstatus bits. */
const MPRV = 1n << 17n;
const SUM = 1n << 18n;
const MXR = 1n << 19n;

/** context: chooses the banks for the mode and drops what satp, MXR or PMP changes made stale. flush_*: drop it. */
export function defineContext(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  const flush = declare('flush_translation', [P], []);
  module.define(flush, (f) => {
    const vcpu = f.param<Ptr>(0).get;
    clearSlots(f, vcpu);
    f.i64.store(vcpu, at.fetchEpoch, f.i64.add(f.i64.load(vcpu, at.fetchEpoch), f.i64.const(1)));
    f.memoryFill(f.ptr.add(vcpu, f.ptr.const(at.walkCache)), f.i32.const(0xff), f.ptr.const(WALK_CACHE_BYTES));
    for (const tlb of ['readTlb', 'writeTlb', 'fetchTlb'] as const)
      f.memoryFill(f.ptr.add(vcpu, f.ptr.const(at[tlb])), f.i32.const(0xff), f.ptr.const(BANKS * TLB_BANK_BYTES));
  });
  module.define(declare('context', [P], []), (f) => {
    const { i32, i64 } = f;
    const vcpu = f.param<Ptr>(0).get;
    const mstatus = f.let(i64.load(vcpu, at.mstatus));
    const mode = f.let(f.convert('i32_wrap_i64', i64.load(vcpu, at.mode)));
    const satp = f.let(i64.load(vcpu, at.satp));
    const mxr = f.let(i64.and(mstatus, i64.const(MXR)));
    f.if(i32.or(i64.ne(satp, i64.load(vcpu, at.seenSatp)), i64.ne(mxr, i64.load(vcpu, at.seenMxr))), () => {
      i64.store(vcpu, at.seenSatp, satp);
      i64.store(vcpu, at.seenMxr, mxr);
      f.call(flush, vcpu);
    });
    const isMprv = i32.and(i32.eq(mode, i32.const(3)), i64.ne(i64.and(mstatus, i64.const(MPRV)), i64.const(0)));
    const mpp = i32.and(f.convert('i32_wrap_i64', i64.shrU(mstatus, i64.const(11))), i32.const(3));
    const data = f.let(f.select(isMprv, mpp, mode));
    const sum = i64.ne(i64.and(mstatus, i64.const(SUM)), i64.const(0));
    const number = f.let(f.select(i32.eq(data, i32.const(1)), i32.add(i32.const(1), sum), data));
    const bank = f.let(f.ptr.from32(i32.mul(number, i32.const(TLB_BANK_BYTES))));
    const slots = f.ptr.from32(i32.mul(number, i32.const(SLOT_BANK_BYTES)));
    f.ptr.store(vcpu, at.slotBank, f.ptr.add(f.ptr.add(vcpu, f.ptr.const(at.slots)), slots));
    f.ptr.store(vcpu, at.readBank, f.ptr.add(f.ptr.add(vcpu, f.ptr.const(at.readTlb)), bank));
    f.ptr.store(vcpu, at.writeBank, f.ptr.add(f.ptr.add(vcpu, f.ptr.const(at.writeTlb)), bank));
    f.ptr.store(
      vcpu,
      at.fetchBank,
      f.ptr.add(f.ptr.add(vcpu, f.ptr.const(at.fetchTlb)), f.ptr.from32(i32.mul(mode, i32.const(TLB_BANK_BYTES)))),
    );
  });
}

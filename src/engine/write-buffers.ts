/**
 * What stores go through, where a frame begins to hold code or page tables: from then on stores to it are to be noticed, so
 * no buffer leads there. The buffers in use and supervisor's, where a kernel's stores go, are searched; all others are of
 * an older write epoch, and emptied when they come into use.
 */
import type { FunctionBuilder, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { newWriteEpoch } from './shadow-fences.ts';
import { shadowLayout } from './shadow-layout.ts';
import { BANK, SLOT_BANK_BYTES, TLB_BANK_BYTES, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const own = shadowLayout.offset;

/** forget_writers(vcpu, frame's host address). */
export function defineForgetWriters(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  // search_writers(buffer, its slots, frame).
  const search = module.function('search_writers', [P, P, P], [], defineSearch);
  module.define(library.declarer(module)('forget_writers', [P, P], []), (f) => {
    const [vcpu, frame] = [f.param<Ptr>(0).get, f.param<Ptr>(1).get];
    const hart = f.let(f.ptr.load(vcpu, at.shadowPool));
    const kernels = f.let(f.ptr.add(hart, f.ptr.const(BANK.supervisor * 8)));
    const current = f.let(f.ptr.load(vcpu, at.dataEpochsAt));
    const before = f.let(f.i64.load(vcpu, at.writeEpoch));
    newWriteEpoch(f, vcpu);
    const after = f.let(f.i64.load(vcpu, at.writeEpoch));
    const keep = (epochs: Ptr, buffer: Ptr, slots: Ptr, isCounted: 'always' | 'if of this epoch'): void => {
      const body = (): void => {
        f.call(search, buffer, slots, frame);
        f.if(isEpoch(f, epochs, before), () => f.i64.store(epochs, own.writeEpochs, after));
      };
      if (isCounted === 'always') body();
      else f.if(isEpoch(f, epochs, before), body);
    };
    // Those in use are looked at by the code that runs, whatever their epoch.
    keep(current, f.ptr.load(vcpu, at.writeBank), f.ptr.load(vcpu, at.slotBank), 'always');
    const buffer = f.ptr.add(hart, f.ptr.const(own.writeTlb + BANK.supervisor * TLB_BANK_BYTES));
    const slots = f.ptr.add(hart, f.ptr.const(own.slots + BANK.supervisor * SLOT_BANK_BYTES));
    f.if(f.i32.eqz(f.ptr.eq(kernels, current)), () => keep(kernels, buffer, slots, 'if of this epoch'));
  });
}

function isEpoch(f: FunctionBuilder, epochs: Ptr, epoch: I64) {
  return f.i64.eq(f.i64.load(epochs, own.writeEpochs), epoch);
}

function defineSearch(f: FunctionBuilder): void {
  const [buffer, slots, frame] = [f.param<Ptr>(0).get, f.param<Ptr>(1).get, f.param<Ptr>(2).get];
  const entry = f.pointerLocal();
  f.set(entry, buffer);
  const end = f.let(f.ptr.add(buffer, f.ptr.const(TLB_BANK_BYTES)));
  f.loop((again) => {
    const host = f.ptr.add(f.ptr.from64(f.i64.load(entry.get)), f.ptr.load(entry.get, 8));
    f.if(f.ptr.eq(host, frame), () => f.i64.store(entry.get, 0, f.i64.const(-1)));
    f.set(entry, f.ptr.add(entry.get, f.ptr.const(16)));
    f.brIf(again, f.i32.eqz(f.ptr.eq(entry.get, end)));
  });
  f.memoryFill(slots, f.i32.const(0xff), f.ptr.const(SLOT_BANK_BYTES));
}

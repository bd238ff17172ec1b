/**
 * What promoted code calls (mechanism 3; translator/promotion.ts decides which instructions are promoted). A sensitive
 * instruction that is emulated leaves translated code, and if it reaches a device or the SBI, the engine; promoted, it
 * is done where it stands, by the same emulation: of a CSR in line, of devices and calls by the host's functions.
 *
 *   region --promoted_load--> slot_load --a device?--> host: device(vcpu) --answer--> slot_load takes it
 *   region --promoted_call--> host: call(vcpu) -> done, or to be left to the exit
 */
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { mayInterrupt } from './traps.ts';
import { EXIT, FAULT, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;

/**
 * promoted_load and promoted_store, as slot_load and slot_store; promoted_call(vcpu) -> 1 if it was answered;
 * must_look(vcpu, epoch) -> 1 if, after a change of context, an interrupt may be due or fetch translations were dropped.
 */
export function definePromotion(
  module: ModuleBuilder,
  library: Library,
  host: { device: FunctionRef; call: FunctionRef },
): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  // As slot_load and slot_store, with the same operands.
  const access = (f: FunctionBuilder, name: 'slot_load' | 'slot_store'): I64 =>
    f.call(library.get(name), ...f.params.map((_, i) => f.param<I64>(i).get)) as I64;
  module.define(declare('promoted_load', [P, 'i64', 'i32', 'i32'], ['i64']), (f) => {
    const value = f.let(access(f, 'slot_load'));
    whenDevice(f, host.device, () => f.return(f.let(access(f, 'slot_load'))));
    f.return(value);
  });
  module.define(declare('promoted_store', [P, 'i64', 'i32', 'i32', 'i64'], []), (f) => {
    access(f, 'slot_store');
    whenDevice(f, host.device, () => access(f, 'slot_store'));
  });
  module.define(declare('promoted_call', [P], ['i32']), (f) => {
    f.return(f.call(host.call, f.param<Ptr>(0).get) as I32);
  });
  module.define(declare('must_look', [P, 'i64'], ['i32']), (f) => {
    const vcpu = f.param<Ptr>(0).get;
    f.return(f.i32.or(mayInterrupt(f, vcpu), f.i64.ne(f.i64.load(vcpu, at.fetchEpoch), f.param<I64>(1).get)));
  });
}

/** The access before wants to leave for a device: the host answers it here, and it is done again. */
function whenDevice(f: FunctionBuilder, device: FunctionRef, again: () => void): void {
  const { i32 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const leaves = i32.and(
    i32.eq(i32.load(vcpu, at.fault), i32.const(FAULT.leave)),
    i32.eq(i32.load(vcpu, at.exitKind), i32.const(EXIT.mmio)),
  );
  f.if(leaves, () => {
    f.if(f.call(device, vcpu) as I32, () => {
      i32.store(vcpu, at.fault, i32.const(FAULT.none));
      again();
    });
  });
}

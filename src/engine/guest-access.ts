/**
 * Accesses that a hypervisor makes as its guest would: hlv, hlvx, hsv (in the mode that hstatus.SPVP names), and, in machine
 * mode, loads and stores with MPRV and MPV (in the mode of MPP). Privileged specification, "Hypervisor Virtual-Machine
 * Load and Store Instructions". They are walked for each time: what is kept is of who runs.
 */
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { defineLoad, defineStore } from './memory-access.ts';
import { ACCESS } from './memory-plan.ts';
import { type ReachFunctions, reachMemory } from './physical-reach.ts';
import { beginWrite, whenTracked } from './tracked-frames.ts';
import { GUEST_ACCESS, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const MPP_SHIFT = 11;
const SPVP_SHIFT = 8;

/** guest_load(vcpu, va, bytes) and guest_store(vcpu, va, bytes, value): as load_slow and store_slow, with guestAccess set. */
export function defineGuestAccess(module: ModuleBuilder, library: Library, to: ReachFunctions): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  const address = library.get('guest_address');
  module.define(address, (f) => defineAddress(f, library.get('walk_virtual'), to));
  if (!library.hasHypervisor) return;
  const load = declare('guest_load', [P, 'i64', 'i32'], ['i64']);
  module.define(load, (f) => defineLoad(f, address, to.fault, load));
  const store = declare('guest_store', [P, 'i64', 'i32', 'i64'], []);
  module.define(store, (f) => defineStore(f, address, to.fault, library.get('written')));
}

/** guest_address(vcpu, va, bytes, access): as host_address. */
function defineAddress(f: FunctionBuilder, walk: FunctionRef, to: ReachFunctions): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const va = f.param<I64>(1).get;
  const access = f.param<I32>(3).get;
  const kind = f.let(i32.load(vcpu, at.guestAccess));
  const field = (name: 'hstatus' | 'mstatus', shift: number, mask: number): I32 =>
    i32.and(f.convert('i32_wrap_i64', i64.shrU(i64.load(vcpu, at[name]), i64.const(shift))), i32.const(mask));
  const mode = f.let(f.select(kind, field('hstatus', SPVP_SHIFT, 1), field('mstatus', MPP_SHIFT, 3)));
  const isHlvx = f.let(i32.eq(kind, i32.const(GUEST_ACCESS.code)));
  const physical = f.let(f.call(walk, vcpu, va, access, mode, isHlvx) as I64);
  f.if(i64.eq(physical, i64.const(-1)), () => f.return(f.ptr.const(0)));
  f.if(isHlvx, () => {
    // PMP must let it be read and executed.
    const mayExecute = f.call(to.pmp, vcpu, physical, f.param<I32>(2).get, i32.const(ACCESS.fetch), mode) as I32;
    f.if(i32.eqz(mayExecute), () => {
      f.call(to.fault, vcpu, access, va, i32.const(1));
      f.return(f.ptr.const(0));
    });
  });
  const { address } = reachMemory(f, to, physical, mode, access);
  f.if(i32.eq(access, i32.const(ACCESS.store)), () => whenTracked(f, vcpu, address, () => beginWrite(f, vcpu)));
  f.return(address);
}

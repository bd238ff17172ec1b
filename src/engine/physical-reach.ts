/** From a physical address to the host's: what loads, stores and fetches have in common behind translation. */
import type { FunctionBuilder, FunctionRef, I32, I64, Ptr } from '../wasm/index.ts';
import { ACCESS } from './memory-plan.ts';
import { checkFrame, neededRight } from './protection-code.ts';
import { vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;

export type ReachFunctions = Readonly<Record<'fault' | 'forbid' | 'pmp' | 'ram', FunctionRef>>;

/**
 * The rest of the way of an access, from the physical address: PMP, guest-physical map, protection table. Leaves the
 * function (host_address, or one with its parameters) where it may not be, or reaches a device.
 */
export function reachMemory(
  f: FunctionBuilder,
  to: ReachFunctions,
  physical: I64,
  mode: I32,
  access: I32,
): { readonly address: Ptr; readonly right: I32 } {
  const { i32, i64 } = f;
  const [vcpu, va, bytes] = [f.param<Ptr>(0).get, f.param<I64>(1).get, f.param<I32>(2).get];
  const right = f.let(f.call(to.pmp, vcpu, physical, bytes, access, mode) as I32);
  f.if(
    i32.eqz(right),
    () => {
      f.call(to.fault, vcpu, access, va, i32.const(1));
      f.return(f.ptr.const(0));
    },
    undefined,
    'unlikely',
  );
  const address = f.let(f.call(to.ram, vcpu, physical, i32.eq(access, i32.const(ACCESS.store))) as Ptr);
  f.if(
    f.ptr.eqz(address),
    () => {
      i64.store(vcpu, at.exitGpa, physical);
      f.if(i32.and(i32.eqz(i32.load(vcpu, at.fault)), i32.eqz(access)), () => {
        f.call(to.fault, vcpu, access, va, i32.const(1));
      });
      f.return(f.ptr.const(0));
    },
    undefined,
    'unlikely',
  );
  checkFrame(f, { vcpu, address, mode, needed: neededRight(f, access) }, () => {
    f.call(to.forbid, vcpu, physical, va, access, mode, access, address);
    f.return(f.ptr.const(0));
  });
  return { address, right };
}

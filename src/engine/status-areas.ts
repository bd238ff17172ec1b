/**
 * The two status areas of a hart (mechanism 2; isa/state.ts): the host's and the guest's supervisor CSRs, one behind the
 * other in the vCPU's block. Which one is active is a matter of addresses:
 *
 *   vcpu --+-- host area:  stvec sepc satp ...      V = 0: vcpu + offset
 *          +-- guest area: vstvec vsepc vsatp ...   V = 1: vcpu + AREA_BYTES + offset
 *
 * So generated code is the same on both levels, and nothing is copied when a guest is entered or left, but for what code
 * reads at a fixed place: the status bits in mstatus (isa/privileged/areas.ts).
 */
import { assert } from '../base/assert.ts';
import { AREA_BYTES } from '../isa/index.ts';
import type { FunctionBuilder, I32, Ptr } from '../wasm/index.ts';
import { vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;
const AREA_SHIFT = Math.log2(AREA_BYTES);
assert(Number.isInteger(AREA_SHIFT), 'a status area is addressed by a shift');

/** The base of the active area: its fields lie at the offsets of the host's. */
export function activeArea(f: FunctionBuilder, vcpu: Ptr): Ptr {
  const area = f.i64.shl(f.i64.load(vcpu, at.virtual), f.i64.const(AREA_SHIFT));
  return f.ptr.add(vcpu, f.ptr.from64(area));
}

/** V. */
export function isVirtual(f: FunctionBuilder, vcpu: Ptr): I32 {
  return f.i64.ne(f.i64.load(vcpu, at.virtual), f.i64.const(0));
}

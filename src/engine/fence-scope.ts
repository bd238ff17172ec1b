/**
 * Whose translations a fence is about: the host's (those made where V is 0), or a guest's, by its VMID. A shadow says whose
 * it is by its guest key, a fence by its scope:
 *
 *   63       58 57      44 43     0
 *   |  MODE 0 1 |  VMID   |  PPN  |     key: hgatp, bit 58 (which it has no use for) set;  0: the host's
 *   |  0    0 1 |  VMID   |   0   |     scope: that guest;  0: the host;  -1: all guests
 */
import type { FunctionBuilder, I32, I64, Ptr } from '../wasm/index.ts';
import { isVirtual } from './status-areas.ts';
import { vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;
export const HOST_SCOPE = 0n;
export const EVERY_GUEST = -1n;
const IS_GUEST = 1n << 58n;
const VMID = 0x3fffn << 44n;

/** hgatp of a guest key. */
export function hgatpOf(key: bigint): bigint {
  return key & ~IS_GUEST;
}

/** The scope of a guest by its VMID; only the bits that hgatp has count. */
export function guestScope(vmid: bigint): bigint {
  return IS_GUEST | ((vmid << 44n) & VMID);
}

/** The same in generated code. */
export function scopeOfVmid(f: FunctionBuilder, vmid: I64): I64 {
  const { i64 } = f;
  return i64.or(i64.and(i64.shl(vmid, i64.const(44)), i64.const(VMID)), i64.const(IS_GUEST));
}

/** The scope of the guest that hgatp names. */
export function scopeOfHgatp(f: FunctionBuilder, vcpu: Ptr): I64 {
  const { i64 } = f;
  return i64.or(i64.and(i64.load(vcpu, at.hgatp), i64.const(VMID)), i64.const(IS_GUEST));
}

/** The guest key of what is translated now. */
export function guestKey(f: FunctionBuilder, vcpu: Ptr): I64 {
  const { i64 } = f;
  const key = i64.or(i64.load(vcpu, at.hgatp), i64.const(IS_GUEST));
  return f.select(isVirtual(f, vcpu), key, i64.const(0));
}

/** Whether a fence of that scope is about a shadow with that guest key. Both are used more than once. */
export function isInScope(f: FunctionBuilder, key: I64, scope: I64): I32 {
  const { i32, i64 } = f;
  const isSame = i64.eqz(i64.and(i64.xor(key, scope), i64.const(VMID | IS_GUEST)));
  return i32.or(isSame, i32.and(i64.eq(scope, i64.const(EVERY_GUEST)), i64.ne(key, i64.const(0))));
}

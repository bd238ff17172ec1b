/** What the interpreter notes of where control goes, so that the translator knows what is hot and what jumps lead to. */
import type { FunctionBuilder, I64, Ptr } from '../wasm/index.ts';
import {
  HOT_COUNTERS,
  JUMP_SET_WORDS,
  JUMP_SETS,
  JUMP_SLOTS,
  SITE_COUNTERS,
  type VcpuState,
  vcpuState,
} from './vcpu-state.ts';

const at = vcpuState.offset;

/**
 * Counts a jump to a decoded entry, and calls `tell` if that made it hot, or hotter. Then counting begins anew, so that
 * what was dropped or could not be translated yet is told of again. Counters are shared by chance: a hash.
 */
export function countTarget(f: FunctionBuilder, vcpu: Ptr, entry: Ptr, tell: () => void): void {
  const { i32 } = f;
  const index = i32.and(f.ptr.to32(f.ptr.op('shr_u', entry, f.ptr.const(2))), i32.const((HOT_COUNTERS - 1) * 2));
  const slot = f.let(f.ptr.add(vcpu, f.ptr.from32(index)));
  const before = f.let(i32.load16U(slot, at.hotCounters));
  i32.storeSized(slot, at.hotCounters, 2, i32.add(before, i32.const(1)));
  // A threshold of 0 is more than any count in this comparison.
  f.if(
    i32.geU(before, i32.sub(i32.load(vcpu, at.hotThreshold), i32.const(1))),
    () => {
      const count = f.let(i32.add(before, i32.const(1)));
      const isHotter = f.let(i32.eq(count, i32.load(vcpu, at.hotterThreshold)));
      f.if(isHotter, () => i32.storeSized(slot, at.hotCounters, 2, i32.const(0)));
      f.if(i32.or(isHotter, i32.eq(count, i32.load(vcpu, at.hotThreshold))), tell);
    },
    undefined,
    'unlikely',
  );
}

/**
 * Counts an emulation of the sensitive instruction at `pc`; calls `tell` if it is worth promoting now, and counts anew:
 * others may share the counter, and come to it later. Thresholds move as costs are measured, also below a count.
 */
export function countSite(
  f: FunctionBuilder,
  vcpu: Ptr,
  pc: I64,
  threshold: 'siteThreshold' | 'exitThreshold',
  tell: () => void,
): void {
  const { i32 } = f;
  const index = i32.and(f.convert('i32_wrap_i64', pc), i32.const((SITE_COUNTERS - 1) * 2));
  const slot = f.let(f.ptr.add(vcpu, f.ptr.from32(index)));
  const before = f.let(i32.load16U(slot, at.siteCounters));
  i32.storeSized(slot, at.siteCounters, 2, i32.add(before, i32.const(1)));
  // A threshold of 0 is more than any count in this comparison.
  f.if(
    i32.geU(before, i32.sub(i32.load(vcpu, at[threshold]), i32.const(1))),
    () => {
      i32.storeSized(slot, at.siteCounters, 2, i32.const(0));
      tell();
    },
    undefined,
    'unlikely',
  );
}

/** Remembers how far a jump to a register went, by the decoded entry that jumped. The last of each hash stays. */
export function noteJump(f: FunctionBuilder, vcpu: Ptr, entry: Ptr, target: I64): void {
  const { i32 } = f;
  const from = f.let(f.ptr.to32(entry));
  const set = i32.and(i32.shrU(from, i32.const(3)), i32.const(JUMP_SETS - 1));
  const start = f.let(f.ptr.add(vcpu, f.ptr.from32(i32.mul(set, i32.const(JUMP_SET_WORDS * 4)))));
  f.if(
    i32.ne(i32.load(start, at.jumps), from),
    () => {
      f.memoryFill(f.ptr.add(start, f.ptr.const(at.jumps)), i32.const(0), f.ptr.const(JUMP_SET_WORDS * 4));
      i32.store(start, at.jumps, from);
    },
    undefined,
    'unlikely',
  );
  const distance = f.let(f.convert('i32_wrap_i64', target));
  const hash = i32.xor(i32.shrU(distance, i32.const(2)), i32.shrU(distance, i32.const(5)));
  const slot = i32.shl(i32.and(hash, i32.const(JUMP_SLOTS - 1)), i32.const(2));
  i32.store(f.ptr.add(start, f.ptr.from32(slot)), at.jumps + JUMP_SLOTS * 4, distance);
}

/**
 * Begins anew: all code was dropped, and its entries, by which all of this is kept, will be other code's. A counter that
 * went on from what it was would pass the threshold only after it has wrapped.
 */
export function forgetProfile(state: VcpuState): void {
  state.hotCounters.fill(0);
  state.jumps.fill(0);
}

/** Epochs of shadows: an entry or buffer of another epoch than its shadow's is empty. Numbers are never used twice. */
import type { FunctionBuilder, I64, Ptr } from '../wasm/index.ts';
import { shadowLayout } from './shadow-layout.ts';
import { BANK, vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;
const own = shadowLayout.offset;
/** Banks that hold pages of address spaces. */
export const DATA_BANKS = [BANK.user, BANK.supervisor, BANK.sum, BANK.mxr] as const;
export const FETCH_BANKS = [BANK.user, BANK.supervisor] as const;

/** The next epoch of any kind. */
export function nextEpoch(f: FunctionBuilder, vcpu: Ptr): I64 {
  const epoch = f.let(f.i64.add(f.i64.load(vcpu, at.lastEpoch), f.i64.const(1)));
  f.i64.store(vcpu, at.lastEpoch, epoch);
  return epoch;
}

/** The table stays; buffers are emptied when they come into use, those in use by `set_banks`, which the caller calls. */
export function dropBuffers(f: FunctionBuilder, vcpu: Ptr, shadow: Ptr): void {
  const { i64 } = f;
  for (const bank of DATA_BANKS) i64.store(shadow, own.dataEpochs + bank * 8, i64.const(0));
  for (const bank of FETCH_BANKS) i64.store(shadow, own.fetchEpochs + bank * 8, i64.const(0));
  i64.store(shadow, own.fetchEpoch, nextEpoch(f, vcpu));
}

/** A hart's state as a plain object: the fields of hartState, outside any shared memory. */
import { AREA_COUNTERS } from '../privileged/area-by-cause.ts';
import { STATE_SCALARS, type StateField } from '../state.ts';

export type ReferenceState = {
  readonly x: BigUint64Array;
  readonly f: BigUint64Array;
  readonly areaCounts: BigUint64Array;
} & { [K in StateField]: bigint };

/** The state after reset: M-mode, everything else zero. `features` and `pc` are the caller's. */
export function resetState(pc: bigint, features: bigint): ReferenceState {
  const scalars = Object.fromEntries(Object.keys(STATE_SCALARS).map((name) => [name, 0n])) as Record<
    StateField,
    bigint
  >;
  const arrays = {
    x: new BigUint64Array(33),
    f: new BigUint64Array(32),
    areaCounts: new BigUint64Array(AREA_COUNTERS),
  };
  return { ...scalars, ...arrays, pc, features, mode: 3n };
}

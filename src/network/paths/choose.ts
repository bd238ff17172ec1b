/**
 * The choice of the path: pure, from what is known of each. `up` is well; `recovering` was not, and has to show itself;
 * `warming` has not shown itself yet; `silent` has a carrier, and nothing comes through; `down` has none.
 *
 *     in force is usable?  no  -> the first of those that are known best        (a failure: at once)
 *                          yes -> one before it is up, and the policy says so?  (fail-back)
 */
import type { Failback } from './ports.ts';

export type Condition = 'up' | 'recovering' | 'warming' | 'silent' | 'down';

/** How much a path is to be trusted; 0: not usable. */
const TRUST: Readonly<Record<Condition, number>> = { up: 3, recovering: 2, warming: 1, silent: 0, down: 0 };

export interface Candidate<U> {
  readonly uplink: U;
  readonly condition: Condition;
  readonly speedMbps: number;
}

export type Choice<U> =
  | { readonly kind: 'stay' }
  | { readonly kind: 'switch'; readonly to: U; readonly why: 'first' | 'failure' | 'failback' }
  /** No path is usable. */
  | { readonly kind: 'lost' };

export function isUsable(condition: Condition): boolean {
  return TRUST[condition] > 0;
}

/** `candidates`: the preferred one first. `failover` off: who is in force stays, whatever becomes of it; at first, the first. */
export function choose<U>(
  candidates: readonly Candidate<U>[],
  inForce: U | undefined,
  { failback, failover }: { readonly failback: Failback; readonly failover: boolean },
): Choice<U> {
  const at = candidates.findIndex(({ uplink }) => uplink === inForce);
  const current = candidates[at];
  if (!failover) return chooseOne(current === undefined ? candidates.slice(0, 1) : [current], inForce);
  if (current === undefined || !isUsable(current.condition)) return chooseOne(candidates, inForce);
  const better = candidates
    .slice(0, at)
    .find(({ condition, speedMbps }) => condition === 'up' && mayReturn(failback, speedMbps, current.speedMbps));
  return better === undefined ? { kind: 'stay' } : { kind: 'switch', to: better.uplink, why: 'failback' };
}

function mayReturn(failback: Failback, speedMbps: number, currentMbps: number): boolean {
  return failback === 'always' || (failback === 'better' && speedMbps > currentMbps);
}

/** The one that is known best; of several the first. */
function chooseOne<U>(candidates: readonly Candidate<U>[], inForce: U | undefined): Choice<U> {
  let best: Candidate<U> | undefined;
  for (const one of candidates)
    if (isUsable(one.condition) && TRUST[one.condition] > (best === undefined ? 0 : TRUST[best.condition])) best = one;
  if (best === undefined) return { kind: 'lost' };
  if (best.uplink === inForce) return { kind: 'stay' };
  return { kind: 'switch', to: best.uplink, why: inForce === undefined ? 'first' : 'failure' };
}

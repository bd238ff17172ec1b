/**
 * Whether and when a partition that ended is started again: docker's policies and docker's back-off. It begins at 100 ms,
 * doubles up to a minute, and begins anew when the partition had run for 10 s.
 */
import type { ExitRecord, RestartPolicy } from '../schemas/partition.ts';

const FIRST_MS = 100;
const MOST_MS = 60_000;
/** Who ran so long did not fail at its start. */
export const STEADY_MS = 10_000;

export type Decision =
  | { readonly kind: 'restart'; readonly delayMs: number; readonly failures: number }
  | { readonly kind: 'stay' }
  /** `on-failure` has tried often enough. */
  | { readonly kind: 'give-up'; readonly failures: number };

export interface Ended {
  readonly policy: RestartPolicy;
  readonly wanted: 'running' | 'stopped';
  readonly exit: Pick<ExitRecord, 'code'> & Partial<Pick<ExitRecord, 'reason'>>;
  /** Restarts in a row so far. */
  readonly failures: number;
  readonly ranMs: number;
}

/** While the daemon runs. */
export function afterEnd({ policy, wanted, exit, failures, ranMs }: Ended): Decision {
  if (wanted === 'stopped' || policy.name === 'no') return { kind: 'stay' };
  // The guest runs elsewhere: another here would be a second one.
  if (exit.reason === 'migrated') return { kind: 'stay' };
  if (policy.name === 'on-failure' && exit.code === 0) return { kind: 'stay' };
  const before = ranMs >= STEADY_MS ? 0 : failures;
  if (policy.name === 'on-failure' && policy.most !== undefined && before >= policy.most)
    return { kind: 'give-up', failures: before };
  return { kind: 'restart', delayMs: Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(before, 16)), failures: before + 1 };
}

/** When the daemon starts and finds it not running: `always` means always, whoever stopped it. */
export function atDaemonStart({
  policy,
  wanted,
  exit,
}: Pick<Ended, 'policy' | 'wanted'> & { exit?: Ended['exit'] | undefined }): boolean {
  if (exit?.reason === 'migrated') return false;
  if (policy.name === 'always') return exit !== undefined || wanted === 'running';
  if (wanted === 'stopped') return false;
  if (policy.name === 'unless-stopped') return true;
  return policy.name === 'on-failure' && exit?.code !== 0;
}

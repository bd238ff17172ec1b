/**
 * When to stop copying a guest that runs: when what is left is soon sent, or when rounds bring nothing any more. A guest that
 * writes faster than the connection carries is slowed down, step by step, if that is allowed; then it is stopped all the same.
 */
export interface Round {
  /** Pages that were sent, and how long that took, until the peer had them. */
  readonly pages: number;
  readonly tookMs: number;
  /** Pages that were written meanwhile. */
  readonly left: number;
}

export interface PreCopyLimits {
  /** How long the guest may stand still, about. */
  readonly downtimeMs: number;
  readonly mostRounds: number;
  readonly mayThrottle: boolean;
}

export const PRE_COPY: PreCopyLimits = { downtimeMs: 50, mostRounds: 30, mayThrottle: true };

export type Decision =
  | { readonly kind: 'again' }
  /** The same, with less of the processors for the guest. */
  | { readonly kind: 'throttle'; readonly cap: number }
  | { readonly kind: 'stop'; readonly why: string };

/** Shares of a processor, one after the other. */
const CAPS = [0.5, 0.25, 0.12] as const;
/** A round that leaves more than this share of what the one before left does not help. */
const SHRINKS = 0.8;
/** Rounds in a row that do not help before something is done about it. */
const PATIENCE = 2;
/** So few are sent at once, whatever the connection. */
const FEW_PAGES = 64;

/** `throttles`: how often it was slowed down so far. */
export function decide(rounds: readonly Round[], throttles: number, limits: PreCopyLimits): Decision {
  const last = rounds.at(-1);
  if (last === undefined) return { kind: 'again' };
  if (last.left <= FEW_PAGES) return { kind: 'stop', why: 'little is left' };
  const pagesPerMs = last.pages / Math.max(last.tookMs, 0.1);
  if (last.pages > FEW_PAGES && last.left / pagesPerMs <= limits.downtimeMs)
    return { kind: 'stop', why: 'what is left is sent in time' };
  if (rounds.length >= limits.mostRounds) return { kind: 'stop', why: 'there were as many rounds as may be' };
  const recent = rounds.slice(-PATIENCE - 1);
  const isStuck =
    recent.length > PATIENCE && recent.slice(1).every((round, i) => round.left > (recent[i]?.left ?? 0) * SHRINKS);
  if (!isStuck) return { kind: 'again' };
  const cap = CAPS[throttles];
  // A throttle is given time to show.
  if (limits.mayThrottle && cap !== undefined) return { kind: 'throttle', cap };
  return { kind: 'stop', why: 'rounds do not shrink any more' };
}

/**
 * The smallest reaction that is sufficient. What failed says where to begin; a step that was tried in vain, or that
 * would take longer than the guest's recovery time has left, is passed by, if a larger one is quicker.
 *
 *     application fails ->  restart the application
 *     guest silent      ->  restart the guest              each step is larger, and includes the ones before
 *     machine gone      ->  start a machine for it here
 *     host fenced       ->  start it elsewhere
 */
export const STEPS = ['restart-application', 'restart-guest', 'restart-machine', 'elsewhere'] as const;
export type Step = (typeof STEPS)[number];

export type Failure = 'application' | 'guest' | 'machine' | 'host';

const FIRST: Readonly<Record<Failure, Step>> = {
  application: 'restart-application',
  guest: 'restart-guest',
  machine: 'restart-machine',
  host: 'elsewhere',
};

/** How often each step is tried before the next, while failures follow each other. */
export const TRIES: Readonly<Record<Step, number>> = {
  'restart-application': 2,
  'restart-guest': 1,
  'restart-machine': 1,
  elsewhere: Number.POSITIVE_INFINITY,
};

export interface StepQuestion {
  readonly failure: Failure;
  /** How often each was tried since the guest was well for a while. */
  readonly tried: Readonly<Record<Step, number>>;
  /** How long each takes, measured; infinity: it cannot be done. */
  readonly takesMs: Readonly<Record<Step, number>>;
  /** Of its recovery time. */
  readonly leftMs: number;
}

export function chooseStep({ failure, tried, takesMs, leftMs }: StepQuestion): Step {
  const possible = STEPS.slice(STEPS.indexOf(FIRST[failure])).filter(
    (step) => tried[step] < TRIES[step] && Number.isFinite(takesMs[step]),
  );
  const inTime = possible.find((step) => takesMs[step] <= leftMs);
  if (inTime !== undefined) return inTime;
  return possible.reduce<Step>(
    (best, step) => (takesMs[step] < takesMs[best] ? step : best),
    possible[0] ?? 'elsewhere',
  );
}

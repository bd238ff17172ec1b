/**
 * What this host does about its guests' failures: looks at each guest's condition, gives a step its time, and takes
 * the next when it was in vain. A guest that was well for a while begins anew.
 */

import type { Condition } from '../heartbeat/digest.ts';
import type { Costs } from '../ports.ts';
import { chooseStep, type Failure, STEPS, type Step } from './choose-step.ts';

/** So long well, and what was tried before does not count any more. */
export const FORGIVEN_MS = 60_000;
/** A step has twice the time that it takes, and this. */
const GRACE_MS = 2000;

const FAILED: Readonly<Partial<Record<Condition, Failure>>> = {
  'application-failed': 'application',
  silent: 'guest',
  gone: 'machine',
};

interface History {
  tried: Record<Step, number>;
  /** Since when it is not well; undefined: it is. */
  failedMs: number | undefined;
  wellMs: number;
  /** A step is under way until then. */
  busyMs: number;
}

export interface Reaction {
  readonly guest: string;
  readonly failure: Failure;
  readonly step: Step;
}

export interface GuestNeeds {
  readonly costs: Costs;
  readonly recoveryTimeMs: number;
  /** How long it takes elsewhere, without waiting for a lease; infinity: there is no place. */
  readonly elsewhereMs: number;
}

export class Reactions {
  readonly #histories = new Map<string, History>();
  readonly counters: Record<Step, number> = zeros();

  forget(guest: string): void {
    this.#histories.delete(guest);
  }

  /** What is to be done about a guest in this condition, now; undefined: nothing. */
  look(guest: string, condition: Condition, nowMs: number, needs: () => GuestNeeds): Reaction | undefined {
    const failure = FAILED[condition];
    const known = this.#histories.get(guest);
    if (failure === undefined) {
      if (condition === 'well' && known !== undefined) this.#well(guest, known, nowMs);
      return undefined;
    }
    const history = known ?? { tried: zeros(), failedMs: undefined, wellMs: nowMs, busyMs: 0 };
    this.#histories.set(guest, history);
    if (nowMs < history.busyMs && failure !== 'machine') return undefined;
    history.failedMs ??= nowMs;
    const { costs, recoveryTimeMs, elsewhereMs } = needs();
    const takesMs: Record<Step, number> = {
      'restart-application': costs.applicationRestartMs,
      'restart-guest': costs.bootMs,
      'restart-machine': costs.bootMs,
      elsewhere: elsewhereMs,
    };
    const leftMs = recoveryTimeMs - (nowMs - history.failedMs);
    const step = chooseStep({ failure, tried: history.tried, takesMs, leftMs });
    history.tried[step] += 1;
    history.busyMs = nowMs + 2 * Math.min(takesMs[step], 1e9) + GRACE_MS;
    this.counters[step] += 1;
    return { guest, failure, step };
  }

  #well(guest: string, history: History, nowMs: number): void {
    if (history.failedMs !== undefined) {
      history.failedMs = undefined;
      history.busyMs = 0;
      history.wellMs = nowMs;
    } else if (nowMs - history.wellMs > FORGIVEN_MS) this.#histories.delete(guest);
  }
}

function zeros(): Record<Step, number> {
  return Object.fromEntries(STEPS.map((step) => [step, 0])) as Record<Step, number>;
}

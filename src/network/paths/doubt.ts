/**
 * Uplinks that hear nothing of each other, and no witness answers: who is to be believed? One is spared, the others are
 * blamed. Spared is who heard something latest; of equals one that was proved since it has a carrier; then one that
 * carries no guest now, since there the loss was noticed. It has to show life within a time; if it does not, another is tried, each time for twice as long.
 */
import { must } from '../../base/assert.ts';
import type { Watch } from './path-monitor.ts';

const FIRST_TRIAL_MS = 1000;
const LONGEST_TRIAL_MS = 30_000;

export class Doubt {
  #spared: Watch | undefined;
  #sinceMs = 0;
  #trialMs = FIRST_TRIAL_MS;

  /** There is one that is well: nothing is in doubt. */
  end(): void {
    this.#spared = undefined;
    this.#trialMs = FIRST_TRIAL_MS;
  }

  spares(watch: Watch): boolean {
    return this.#spared === watch;
  }

  /** Who of `all` that have a carrier is to be believed: at least one of them, none of which is well. */
  judge(all: readonly Watch[], nowMs: number): Watch {
    const current = this.#spared;
    const isThere = current !== undefined && all.includes(current);
    if (isThere && this.#isBelieved(current, nowMs)) return current;
    if (isThere) this.#trialMs = Math.min(LONGEST_TRIAL_MS, this.#trialMs * 2);
    this.#sinceMs = nowMs;
    this.#spared = isThere ? after(all, current) : mostHeard(all);
    return this.#spared;
  }

  #isBelieved({ lastHeardMs }: Watch, nowMs: number): boolean {
    return lastHeardMs > this.#sinceMs ? nowMs - lastHeardMs < LONGEST_TRIAL_MS : nowMs - this.#sinceMs < this.#trialMs;
  }
}

function after(all: readonly Watch[], current: Watch): Watch {
  return must(all[(all.indexOf(current) + 1) % all.length]);
}

function mostHeard(all: readonly Watch[]): Watch {
  return all.reduce((best, one) => (isBetter(one, best) ? one : best));
}

function isBetter(one: Watch, best: Watch): boolean {
  if (one.lastHeardMs !== best.lastHeardMs) return one.lastHeardMs > best.lastHeardMs;
  if (one.path.health.isProved !== best.path.health.isProved) return one.path.health.isProved;
  return best.path.isInForce && !one.path.isInForce;
}

/**
 * Uplinks that hear nothing of each other, and no witness answers: who is to be believed? One is spared, the others are
 * blamed. Spared is who heard something latest; of equals one that carries no guest now, since there the loss was
 * noticed. It has to show life within a time; if it does not, another is tried, each time for twice as long.
 */
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

  /** Of `suspects`, all that there are: at least one. */
  judge(suspects: readonly Watch[], nowMs: number): { spared: Watch | undefined; blamed: readonly Watch[] } {
    const current = this.#spared;
    const isThere = current !== undefined && suspects.includes(current);
    if (isThere && this.#isBelieved(current, nowMs)) return this.#spare(current, suspects);
    if (isThere) this.#trialMs = Math.min(LONGEST_TRIAL_MS, this.#trialMs * 2);
    this.#sinceMs = nowMs;
    return this.#spare(isThere ? after(suspects, current) : mostHeard(suspects), suspects);
  }

  #isBelieved({ lastHeardMs }: Watch, nowMs: number): boolean {
    return lastHeardMs > this.#sinceMs ? nowMs - lastHeardMs < LONGEST_TRIAL_MS : nowMs - this.#sinceMs < this.#trialMs;
  }

  #spare(spared: Watch | undefined, suspects: readonly Watch[]): { spared: Watch | undefined; blamed: Watch[] } {
    this.#spared = spared;
    const blamed = suspects.filter((one) => one !== spared && one.path.health.condition !== 'silent');
    return { spared, blamed };
  }
}

function after(suspects: readonly Watch[], current: Watch): Watch | undefined {
  return suspects[(suspects.indexOf(current) + 1) % suspects.length];
}

function mostHeard(suspects: readonly Watch[]): Watch | undefined {
  let best: Watch | undefined;
  for (const one of suspects) {
    const isBetter =
      best === undefined ||
      one.lastHeardMs > best.lastHeardMs ||
      (one.lastHeardMs === best.lastHeardMs && best.path.isInForce && !one.path.isInForce);
    if (isBetter) best = one;
  }
  return best;
}

/**
 * When a choice is changed. What does not work any more is replaced at once; what only became dear, or misses its needs
 * by today's figures, after the better choice has lasted; and a choice just made is left alone for a time. The new one is made before the old is broken:
 *
 *     in force: A           in force: A, next: B (being made)           B is ready: in force: B
 */
import type { Association, Placement } from '../model.ts';
import type { Settings } from '../settings.ts';
import { type Choice, type ChoiceQuestion, chooseMethod, judge } from './choose-method.ts';

export interface Thought {
  /** Since when the better choice is the same. */
  sinceMs: number;
  better: string;
  /** When the choice in force was made, by this leader. */
  changedMs: number;
}

export interface ReplanInput {
  readonly question: ChoiceQuestion;
  readonly placement: Placement | undefined;
  /** What this leader remembers of the guest; changed here. */
  readonly thought: Thought;
  /** The standby that is being made is ready. */
  readonly isNextReady: boolean;
  readonly nowMs: number;
}

/** The placement from now on; undefined: it stays. */
export function replan(
  { question, placement, thought, isNextReady, nowMs }: ReplanInput,
  settings: Settings,
): Placement | undefined {
  const present = placement?.associations[0];
  const standing = present === undefined ? undefined : judge(present, question, settings);
  const next = placement?.next;
  if (placement !== undefined && next !== undefined && standing !== undefined)
    return nextOf(placement, next, { question, thought, isNextReady, nowMs }, settings);
  const choice = chooseMethod(question, settings);
  if (placement === undefined || present === undefined || standing === undefined) {
    // Nothing to lose: at once.
    thought.changedMs = nowMs;
    const made = placementOf(choice);
    return placement !== undefined && isSame(made, placement) ? undefined : made;
  }
  if (choice.inForce === undefined || !isBetter(choice, standing, settings)) {
    thought.better = '';
    return refreshed(placement, question, standing.missed, standing.everyMs, settings);
  }
  const better = nameOf(choice.inForce);
  if (better === nameOf(present)) return refreshed(placement, question, standing.missed, standing.everyMs, settings);
  if (thought.better !== better) {
    thought.better = better;
    thought.sinceMs = nowMs;
  }
  if (nowMs - thought.sinceMs < settings.lastingMs || nowMs - thought.changedMs < settings.restMs) return undefined;
  thought.changedMs = nowMs;
  thought.better = '';
  return choice.inForce.method === 'cold' ? placementOf(choice) : { ...placement, next: choice.inForce };
}

/** Fewer needs missed, or as many and much cheaper. */
function isBetter(
  choice: Choice,
  standing: { readonly price: number; readonly missed: readonly string[] },
  { cheaper }: Settings,
): boolean {
  if (choice.missed.length !== standing.missed.length) return choice.missed.length < standing.missed.length;
  return choice.price < standing.price * cheaper - 1e-9;
}

function nextOf(
  placement: Placement,
  next: Association,
  { question, thought, isNextReady, nowMs }: Omit<ReplanInput, 'placement'>,
  settings: Settings,
): Placement | undefined {
  const judged = judge(next, question, settings);
  if (judged === undefined) {
    const { next: _, ...rest } = placement;
    return rest;
  }
  if (!isNextReady) return undefined;
  thought.changedMs = nowMs;
  const choice = chooseMethod({ ...question, present: next }, settings);
  const others = choice.others.filter((one) => nameOf(one) !== nameOf(next));
  const reason =
    choice.inForce !== undefined && nameOf(choice.inForce) === nameOf(next)
      ? choice.reason
      : `${nameOf(next)}: made before`;
  return { associations: [next, ...others], reason, missed: judged.missed, everyMs: judged.everyMs };
}

/** The same choice, with today's words where needs came to be missed, or are met again. */
function refreshed(
  placement: Placement,
  question: ChoiceQuestion,
  missed: readonly string[],
  everyMs: number,
  settings: Settings,
): Placement | undefined {
  const isEveryFar = Math.abs(everyMs - placement.everyMs) > 0.25 * placement.everyMs;
  if (missed.length > 0 === placement.missed.length > 0 && !isEveryFar) {
    const gone = placement.associations.slice(1).some(({ host }) => !question.hosts.includes(host));
    if (!gone) return undefined;
  }
  const present = placement.associations[0];
  if (present === undefined) return undefined;
  const choice = chooseMethod({ ...question, present }, settings);
  const others = choice.others.filter((one) => nameOf(one) !== nameOf(present));
  const reason = missed.length > 0 ? `${nameOf(present)}: misses its needs: ${missed.join('; ')}` : placement.reason;
  return { associations: [present, ...others], reason, missed, everyMs };
}

function placementOf({ inForce, others, everyMs, reason, missed }: Choice): Placement {
  return { associations: inForce === undefined ? [] : [inForce, ...others], everyMs, reason, missed };
}

function isSame(a: Placement, b: Placement): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function nameOf({ host, method }: Association): string {
  return `${method} on ${host}`;
}

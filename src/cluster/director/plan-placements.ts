/** Placements of all guests from the leader's view, one after the other, so that each sees what those before it took. */

import type { Placement } from '../model.ts';
import { UNKNOWN_COSTS } from '../planner/estimate.ts';
import type { Thought } from '../planner/replan.ts';
import { replan } from '../planner/replan.ts';
import type { Settings } from '../settings.ts';
import { keyOf, PLACEMENT, put } from '../store/records.ts';
import { Accounts, type IsFresh, targetsIn } from './accounts.ts';
import type { Write } from './leader.ts';
import type { View } from './view.ts';

/** At most `most` that are to be written; `thoughts` is what this leader remembers of each guest. */
export function planPlacements(
  view: View,
  thoughts: Map<string, Thought>,
  settings: Settings,
  nowMs: number,
  isFresh: IsFresh,
  most: number,
): Write[] {
  const accounts = new Accounts(view, settings.usableShare);
  const all = targetsIn(view, isFresh);
  const writes: Write[] = [];
  const specs = [...view.specs.values()].flatMap(({ value }) => (value?.wanted === 'running' ? [value] : []));
  // Who matters most chooses first.
  specs.sort((a, b) => b.requirements.priority - a.requirements.priority || (a.name < b.name ? -1 : 1));
  for (const spec of specs) {
    if (writes.length === most) break;
    const { home, isPending } = accounts.whereabouts(spec.name);
    if (home === undefined || isPending) continue;
    const found = view.placements.get(spec.name);
    const { group } = spec;
    const hosts = all.filter((host) => host !== home && (group === undefined || !accounts.hasGroup(host, group)));
    const present = found?.value?.associations[0];
    accounts.standbys(spec, found?.value, home, -1);
    const costs = view.status.get(home)?.value?.costs[spec.name] ?? UNKNOWN_COSTS;
    const question = { spec, costs, home, hosts, ledger: accounts.ledger, present };
    const next = found?.value?.next;
    const isNextReady = next !== undefined && view.status.get(next.host)?.value?.ready.includes(spec.name) === true;
    const thought = thoughtOf(spec.name, thoughts, nowMs);
    const placement = replan({ question, placement: found?.value, thought, isNextReady, nowMs }, settings);
    accounts.standbys(spec, placement ?? found?.value, home, 1);
    if (placement !== undefined) writes.push(writeOf(spec.name, placement, found?.revision ?? 0));
  }
  return writes;
}

function thoughtOf(guest: string, thoughts: Map<string, Thought>, nowMs: number): Thought {
  const known = thoughts.get(guest);
  if (known !== undefined) return known;
  const thought = { sinceMs: nowMs, better: '', changedMs: nowMs };
  thoughts.set(guest, thought);
  return thought;
}

function writeOf(guest: string, placement: Placement, revision: number): Write {
  return { compare: { key: keyOf(PLACEMENT, guest), revision }, value: put(PLACEMENT, guest, placement).value };
}

/** Placements of all guests from the leader's view, one after the other, so that each sees what those before it took. */

import type { GuestSpec, Placement } from '../model.ts';
import { UNKNOWN_COSTS } from '../planner/estimate.ts';
import type { Thought } from '../planner/replan.ts';
import { replan } from '../planner/replan.ts';
import type { Settings } from '../settings.ts';
import { keyOf, PLACEMENT, put } from '../store/records.ts';
import { Accounts, type IsFresh, targetsIn } from './accounts.ts';
import type { Write } from './leader.ts';
import type { View } from './view.ts';

/** What this leader remembers of its guests, and how far it has come in thinking them over. */
export interface PlacementMemory {
  readonly thoughts: Map<string, Thought>;
  /** The guest that comes next. */
  cursor: number;
}

/** Guests that are thought over at once, beside those that cannot wait: so a look takes the same time in a large cluster. */
const AT_ONCE = 100;

/** At most `most` that are to be written. */
export function planPlacements(
  view: View,
  memory: PlacementMemory,
  settings: Settings,
  nowMs: number,
  isFresh: IsFresh,
  most: number,
): Write[] {
  const accounts = new Accounts(view, settings.usableShare);
  const all = targetsIn(view, isFresh);
  const writes: Write[] = [];
  for (const spec of chosen(view, memory, accounts, new Set(all))) {
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
    const thought = thoughtOf(spec.name, memory.thoughts, nowMs);
    const placement = replan({ question, placement: found?.value, thought, isNextReady, nowMs }, settings);
    accounts.standbys(spec, placement ?? found?.value, home, 1);
    if (placement !== undefined) writes.push(writeOf(spec.name, placement, found?.revision ?? 0));
  }
  return writes;
}

/** Those that cannot wait, and the next few of the others; who matters most comes first. */
function chosen(view: View, memory: PlacementMemory, accounts: Accounts, targets: ReadonlySet<string>): GuestSpec[] {
  const specs = [...view.specs.values()].flatMap(({ value }) => (value?.wanted === 'running' ? [value] : []));
  specs.sort((a, b) => b.requirements.priority - a.requirements.priority || (a.name < b.name ? -1 : 1));
  if (specs.length <= AT_ONCE) return specs;
  const from = memory.cursor % specs.length;
  memory.cursor = from + AT_ONCE;
  return specs.filter((spec, i) => {
    const isNext = i >= from ? i < from + AT_ONCE : i < from + AT_ONCE - specs.length;
    return isNext || isUrgent(view.placements.get(spec.name)?.value, accounts, targets);
  });
}

/** It has no choice, one that does not work, one that has to make way, or one that is being made. */
function isUrgent(placement: Placement | undefined, { ledger }: Accounts, targets: ReadonlySet<string>): boolean {
  const present = placement?.associations[0];
  if (present === undefined || placement?.next !== undefined) return true;
  return !targets.has(present.host) || ledger.isOver(present.host);
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

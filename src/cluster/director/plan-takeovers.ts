/**
 * Takeover plans from the leader's view: one for each host that guests have to leave, the whole of it in one write. Assignments to
 * hosts that are in stay as they are; those to hosts that are not are made anew, and compare the owner, since that host may have
 * claimed the guest before it went.
 */
import type { Assignment, GuestSpec, LeaderRecord, TakeoverPlan } from '../model.ts';
import type { Settings } from '../settings.ts';
import { MOST_OPERATIONS } from '../store/cluster-store.ts';
import { keyOf, OWNER, PLAN, put } from '../store/records.ts';
import { type Orphan, planTakeover } from '../takeover/plan-takeover.ts';
import { Accounts, type IsFresh, targetsIn } from './accounts.ts';
import type { Write } from './leader.ts';
import type { View } from './view.ts';

/** Of guests that never ran. */
export const NEW = '-new';

export interface PlannedTakeover {
  readonly source: string;
  /** Newly assigned. */
  readonly guests: number;
  readonly write: Write;
  readonly compares: readonly { readonly key: string; readonly revision: number }[];
}

/** The next plan to be written, or one to be taken away because all of it is done; undefined: all is as it should be. */
export function planTakeovers(
  view: View,
  leader: LeaderRecord,
  settings: Settings,
  isFresh: IsFresh,
  mayResort: (guest: string) => boolean,
): PlannedTakeover | undefined {
  const accounts = new Accounts(view, settings.usableShare);
  const orphans = orphansIn(view, accounts);
  if (orphans.size === 0) return settled(view, orphans);
  // All of them in one order, whichever host they left: the most urgent choose first.
  let mayCompare = MOST_OPERATIONS - 3;
  const chosen = [...orphans.values()].flat().filter((orphan) => !isAgain(orphan, view) || mayCompare-- > 0);
  const targets = {
    hosts: targetsIn(view, isFresh),
    lastResort: targetsIn(view, isFresh, 'quarantined'),
    mayResort,
    incarnationOf: (host: string) => view.hosts.get(host)?.value?.incarnation ?? 0,
    isReady: (guest: string, host: string) => view.status.get(host)?.value?.ready.includes(guest) === true,
    hasGroup: (host: string, group: string) => accounts.hasGroup(host, group),
    addToGroup: (host: string, group: string) => accounts.addToGroup(host, group),
  };
  const planned = planTakeover(chosen, targets, accounts.ledger);
  const byGuest = new Map(planned.assignments.map((one) => [one.guest, one]));
  for (const [source, all] of orphans) {
    const mine = new Set(all.map(({ spec }) => spec.name));
    const assignments = planned.assignments.filter(({ guest }) => mine.has(guest));
    const unplaced = Object.fromEntries(Object.entries(planned.unplaced).filter(([guest]) => mine.has(guest)));
    const old = view.plans.get(source);
    const kept = (old?.value?.assignments ?? []).filter((one) => !byGuest.has(one.guest) && isOpen(one, view));
    const plan: TakeoverPlan = { source, term: leader.term, assignments: [...kept, ...assignments], unplaced };
    if (assignments.length === 0 && isSaid(plan, old?.value)) continue;
    const compares = all
      .filter((orphan) => byGuest.has(orphan.spec.name) && isAgain(orphan, view))
      .map(({ spec: { name } }) => ({ key: keyOf(OWNER, name), revision: view.owners.get(name)?.revision ?? 0 }));
    return { source, guests: assignments.length, write: writeOf(source, plan, old?.revision ?? 0), compares };
  }
  return settled(view, orphans);
}

/** It has an assignment, to a host that is not in any more. */
function isAgain({ spec: { name }, owner }: Orphan, view: View): boolean {
  const plan = view.plans.get(owner?.host ?? NEW)?.value;
  return plan?.assignments.some(({ guest }) => guest === name) === true;
}

/** By the host that they left. */
function orphansIn(view: View, accounts: Accounts): Map<string, Orphan[]> {
  const orphans = new Map<string, Orphan[]>();
  for (const { value: spec } of view.specs.values()) {
    if (spec?.wanted !== 'running' || accounts.whereabouts(spec.name).home !== undefined) continue;
    const owner = view.owners.get(spec.name)?.value;
    const source = owner?.host ?? NEW;
    const list = orphans.get(source) ?? [];
    list.push({ spec, owner, placement: view.placements.get(spec.name)?.value });
    orphans.set(source, list);
  }
  return orphans;
}

/** A plan of which nothing is open, and nobody waits for a place. */
function settled(view: View, orphans: ReadonlyMap<string, readonly Orphan[]>): PlannedTakeover | undefined {
  for (const [source, { value, revision }] of view.plans) {
    if (orphans.has(source) || value?.assignments.some((one) => isOpen(one, view)) === true) continue;
    return {
      source,
      guests: 0,
      write: { compare: { key: keyOf(PLAN, source), revision }, value: undefined },
      compares: [],
    };
  }
  return undefined;
}

function isOpen({ guest, generation }: Assignment, view: View): boolean {
  const spec: GuestSpec | undefined = view.specs.get(guest)?.value;
  return spec?.wanted === 'running' && (view.owners.get(guest)?.value?.generation ?? 0) === generation;
}

function isSaid(plan: TakeoverPlan, old: TakeoverPlan | undefined): boolean {
  if (old === undefined) return Object.keys(plan.unplaced).length === 0 && plan.assignments.length === 0;
  return JSON.stringify(plan.unplaced) === JSON.stringify(old.unplaced);
}

function writeOf(source: string, plan: TakeoverPlan, revision: number): Write {
  return { compare: { key: keyOf(PLAN, source), revision }, value: put(PLAN, source, plan).value };
}

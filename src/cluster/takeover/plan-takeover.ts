/**
 * The plan for guests that have lost their host: where each starts, how, and in which order. One function, used by the leader
 * alone, over one view: so takeovers do not compete for a place.
 *
 * The order: priority, then who has less time. Each gets the place that was kept for it, if that is still good; else one of
 * its other places; else wherever there is room and none of its group.
 */
import type { Assignment, GuestSpec, Method, Owner, Placement } from '../model.ts';
import { activeNeeds, type Ledger, standbyNeeds } from './ledger.ts';

export interface Orphan {
  readonly spec: GuestSpec;
  /** Undefined: it never ran. */
  readonly owner: Owner | undefined;
  readonly placement: Placement | undefined;
}

export interface Targets {
  /** Hosts that may get guests now. */
  readonly hosts: readonly string[];
  /** Hosts in quarantine: for guests that would be down otherwise. */
  readonly lastResort: readonly string[];
  /** Nobody else has had room for that guest for a while. */
  mayResort(guest: string): boolean;
  incarnationOf(host: string): number;
  /** Those where a standby could take over, by guest. */
  isReady(guest: string, host: string): boolean;
  /** Guests of that group on that host. */
  hasGroup(host: string, group: string): boolean;
  /** Tells the above that it has one more. */
  addToGroup(host: string, group: string): void;
}

export interface Planned {
  readonly assignments: Assignment[];
  readonly unplaced: Record<string, string>;
}

/** `ledger` has everything but the orphans, and has them too afterwards; standbys that take over are given back to it. */
export function planTakeover(orphans: readonly Orphan[], targets: Targets, ledger: Ledger): Planned {
  const planned: Planned = { assignments: [], unplaced: {} };
  const kept = new Set(targets.hosts);
  for (const orphan of [...orphans].sort(byUrgency)) {
    const { spec, owner } = orphan;
    const place = placeFor(orphan, targets, ledger, kept);
    if (typeof place === 'string') {
      planned.unplaced[spec.name] = place;
      continue;
    }
    if (place.hadStandby !== undefined) ledger.takeStandby(place.target, standbyNeeds(spec, place.hadStandby), -1);
    ledger.take(place.target, activeNeeds(spec));
    if (place.refuge !== undefined) ledger.keep(place.refuge, place.target, activeNeeds(spec));
    if (spec.group !== undefined) targets.addToGroup(place.target, spec.group);
    const { target, method } = place;
    const incarnation = targets.incarnationOf(target);
    const { priority } = spec.requirements;
    planned.assignments.push({
      guest: spec.name,
      generation: owner?.generation ?? 0,
      target,
      incarnation,
      method,
      priority,
    });
  }
  return planned;
}

export function byUrgency(a: Orphan, b: Orphan): number {
  const [left, right] = [a.spec.requirements, b.spec.requirements];
  if (left.priority !== right.priority) return right.priority - left.priority;
  if (left.recoveryTimeMs !== right.recoveryTimeMs) return left.recoveryTimeMs - right.recoveryTimeMs;
  return a.spec.name < b.spec.name ? -1 : 1;
}

interface Place {
  readonly target: string;
  readonly method: Method;
  /** A standby that is there, whose room it uses. */
  readonly hadStandby: Method | undefined;
  /** Of a guest that is new: where it could go, should its host be lost. */
  readonly refuge?: string;
}

function placeFor(orphan: Orphan, targets: Targets, ledger: Ledger, hosts: ReadonlySet<string>): Place | string {
  const { spec, owner, placement } = orphan;
  let lack = 'no host takes guests';
  for (const { host, method } of placement?.associations ?? []) {
    if (!hosts.has(host) || isApart(spec, host, targets)) continue;
    const needs = missing(spec, method);
    // What it has already must not be what others that run there were promised: then it would be taken back at once.
    lack = ledger.lacks(host, needs, 'use') ?? ledger.lacks(host, activeNeeds(spec), 'evict') ?? '';
    if (lack !== '') continue;
    return { target: host, method: methodThere(spec.name, host, method, owner, targets), hadStandby: method };
  }
  if (owner === undefined) return placeForNew(spec, targets, ledger);
  // A host that gave it up gets it back only if nobody else has room; standbys make way before a host in quarantine is asked.
  const others = targets.hosts.filter((host) => owner.phase !== 'released' || host !== owner.host);
  const tries: [readonly string[], 'use' | 'evict'][] = [
    [others, 'use'],
    [targets.hosts, 'use'],
    [targets.hosts, 'evict'],
    [targets.mayResort(spec.name) ? targets.lastResort : [], 'evict'],
  ];
  for (const [among, kept] of tries) {
    const found = emptiest(spec, among, targets, ledger, kept);
    if (typeof found !== 'string') return { target: found.host, method: 'cold', hadStandby: undefined };
    if (among.length > 0) lack = found;
  }
  return `no host has what it needs: ${lack}`;
}

/** Admission: a new guest is let in only where room for the loss of a host is left, its own host's too. */
function placeForNew(spec: GuestSpec, targets: Targets, ledger: Ledger): Place | string {
  const needs = activeNeeds(spec);
  const found = emptiest(spec, targets.hosts, targets, ledger, 'respect');
  if (typeof found === 'string')
    return `not admitted: no host has room beside what is kept for the loss of another: ${found}`;
  const target = found.host;
  if (targets.hosts.length === 1) return { target, method: 'cold', hadStandby: undefined };
  const refuge = targets.hosts
    .filter((host) => host !== target && ledger.lacksIfLost(host, target, nothing, needs) === undefined)
    .reduce<string | undefined>((best, host) => least(best, host, (one) => ledger.fullness(one)), undefined);
  if (refuge === undefined) return `not admitted: nobody has room for it, should ${target} be lost`;
  return { target, method: 'cold', hadStandby: undefined, refuge };
}

const nothing = { cores: 0, memoryBytes: 0, diskBytes: 0 };

/** Of those with room, the one on which least runs; or what is short. */
function emptiest(
  spec: GuestSpec,
  hosts: readonly string[],
  targets: Targets,
  ledger: Ledger,
  kept: 'respect' | 'use' | 'evict',
): { readonly host: string } | string {
  let [best, lack]: [string | undefined, string] = [undefined, 'no host takes guests'];
  for (const host of hosts) {
    const short = isApart(spec, host, targets) ? 'another of its group' : ledger.lacks(host, activeNeeds(spec), kept);
    if (short !== undefined) lack = short;
    else best = least(best, host, (one) => ledger.busyness(one));
  }
  return best === undefined ? lack : { host: best };
}

function least(best: string | undefined, host: string, of: (host: string) => number): string {
  return best === undefined || of(host) < of(best) ? host : best;
}

/** What it needs beyond what its standby has already. */
function missing(spec: GuestSpec, method: Method): ReturnType<typeof activeNeeds> {
  const [all, has] = [activeNeeds(spec), standbyNeeds(spec, method)];
  return {
    cores: all.cores - has.cores,
    memoryBytes: all.memoryBytes - has.memoryBytes,
    diskBytes: all.diskBytes - has.diskBytes,
  };
}

/** A standby that is not ready, or hot and without the last of what its guest sent, does not take over: the guest boots. */
function methodThere(guest: string, host: string, method: Method, owner: Owner | undefined, targets: Targets): Method {
  if (method === 'cold' || !targets.isReady(guest, host)) return 'cold';
  return method === 'hot' && owner?.sync !== host ? 'cold' : method;
}

function isApart({ group }: GuestSpec, host: string, targets: Targets): boolean {
  return group !== undefined && targets.hasGroup(host, group);
}

/** The ledger of all hosts, from the leader's view: who runs where, who is on the way there, whose standby is where. */
import { isIn } from '../membership/membership.ts';
import type { Assignment, GuestSpec, HostState, Placement } from '../model.ts';
import { activeNeeds, incomingNeeds, Ledger, standbyNeeds } from '../takeover/ledger.ts';
import type { View } from './view.ts';

/** Whether the lease of that incarnation was renewed lately, as far as the leader has seen. */
export type IsFresh = (host: string, incarnation: number) => boolean;

/** Where a guest is. */
export interface Whereabouts {
  /** Its owner, or who will be; undefined: it is an orphan. */
  readonly home: string | undefined;
  readonly isPending: boolean;
}

export class Accounts {
  readonly ledger: Ledger;
  readonly #view: View;
  readonly #pending = new Map<string, Assignment>();
  readonly #groups = new Map<string, Map<string, number>>();

  constructor(view: View, usableShare: number) {
    this.#view = view;
    const hosts = [...view.hosts.values()].flatMap(({ value }) =>
      value !== undefined && isIn(value, value.incarnation) ? [value] : [],
    );
    this.ledger = new Ledger(hosts, usableShare);
    for (const { value } of view.plans.values()) for (const one of value?.assignments ?? []) this.#takePending(one);
    for (const { value: spec } of view.specs.values())
      if (spec?.wanted === 'running') this.#take(spec);
      else if (spec !== undefined) this.#takeEnding(spec);
    this.#giveBack();
  }

  whereabouts(guest: string): Whereabouts {
    const owner = this.#view.owners.get(guest)?.value;
    if (
      owner !== undefined &&
      owner.phase === 'held' &&
      isIn(this.#view.hosts.get(owner.host)?.value, owner.incarnation)
    )
      return { home: owner.host, isPending: false };
    const pending = this.#pending.get(guest);
    return { home: pending?.target, isPending: pending !== undefined };
  }

  hasGroup(host: string, group: string): boolean {
    return (this.#groups.get(group)?.get(host) ?? 0) > 0;
  }

  addToGroup(host: string, group: string, sign: 1 | -1 = 1): void {
    const hosts = this.#groups.get(group) ?? new Map<string, number>();
    hosts.set(host, (hosts.get(host) ?? 0) + sign);
    this.#groups.set(group, hosts);
  }

  /** What a guest's standbys take, and keep free; `sign` -1 gives it back. */
  standbys(spec: GuestSpec, placement: Placement | undefined, home: string | undefined, sign: 1 | -1): void {
    const [first] = placement?.associations ?? [];
    for (const one of [first, placement?.next]) {
      if (one === undefined || one.host === home) continue;
      this.ledger.takeStandby(one.host, standbyNeeds(spec, one.method), sign);
      if (home !== undefined) this.ledger.keep(one.host, home, incomingNeeds(spec, one.method), sign);
    }
  }

  /**
   * More was promised of a host than it has: who has not come there yet is planned for anew, those that matter least first. (The new plan
   * makes a claim under the old one fail, and compares the owner, should that claim have come first.)
   */
  #giveBack(): void {
    const pending = [...this.#pending.values()].sort((a, b) => a.priority - b.priority);
    for (const { guest, target } of pending) {
      const spec = this.#view.specs.get(guest)?.value;
      if (spec === undefined || !this.ledger.isPromisedTwice(target) || this.whereabouts(guest).home !== target)
        continue;
      const placement = this.#view.placements.get(guest)?.value;
      this.standbys(spec, placement, target, -1);
      this.ledger.take(target, activeNeeds(spec), -1);
      if (spec.group !== undefined) this.addToGroup(target, spec.group, -1);
      this.#pending.delete(guest);
      this.standbys(spec, placement, undefined, 1);
    }
  }

  #takePending(assignment: Assignment): void {
    const { guest, generation, target, incarnation } = assignment;
    const owner = this.#view.owners.get(guest)?.value;
    if ((owner?.generation ?? 0) !== generation) return;
    const host = this.#view.hosts.get(target)?.value;
    // Who is not in any more, drains, or has come back since, does not claim it either: it compares its own record.
    if (isIn(host, incarnation) && host?.state !== 'draining') this.#pending.set(guest, assignment);
  }

  /** It is to end, and has not yet: its host has less room, and nobody of its group beside it. */
  #takeEnding(spec: GuestSpec): void {
    const { home, isPending } = this.whereabouts(spec.name);
    if (home === undefined || isPending) return;
    this.ledger.take(home, activeNeeds(spec));
    if (spec.group !== undefined) this.addToGroup(home, spec.group);
  }

  #take(spec: GuestSpec): void {
    const { home } = this.whereabouts(spec.name);
    if (home !== undefined) {
      this.ledger.take(home, activeNeeds(spec));
      if (spec.group !== undefined) this.addToGroup(home, spec.group);
    }
    this.standbys(spec, this.#view.placements.get(spec.name)?.value, home, 1);
  }
}

/** Hosts in that state with a lease that was renewed lately, in a fixed order. */
export function targetsIn(view: View, isFresh: IsFresh, state: HostState = 'active'): string[] {
  const hosts = [...view.hosts.values()].flatMap(({ value }) => {
    const isTarget = value?.state === state && isFresh(value.name, value.incarnation);
    return isTarget ? [value.name] : [];
  });
  return hosts.sort();
}

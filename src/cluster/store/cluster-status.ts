/** What an operator wants to see of a cluster, from what stands in its store: one read of everything. */
import { isIn } from '../membership/membership.ts';
import type { Association, GuestSpec, HostRecord } from '../model.ts';
import type { Query, StoreEntry } from './cluster-store.ts';
import { decode, HOST, keyOf, LEADER, OWNER, PLACEMENT, PLAN, type RecordKind, SPEC, STATUS } from './records.ts';

/** What has to be read for it. */
export const STATUS_QUERY: Query = {
  keys: [keyOf(LEADER)],
  prefixes: [HOST, STATUS, SPEC, OWNER, PLACEMENT, PLAN].map(({ prefix }) => prefix),
};

export interface HostLine extends HostRecord {
  readonly isLeader: boolean;
  readonly usedCores: number | undefined;
  /** Guests that it owns, and memory of them. */
  readonly guests: number;
  readonly memoryBytes: number;
}

export interface GuestLine {
  readonly name: string;
  readonly wanted: GuestSpec['wanted'];
  readonly priority: number;
  /** running: somebody owns it. moving: it is assigned. waiting: there is no place, and `why` says why. */
  readonly state: 'running' | 'moving' | 'waiting' | 'stopped';
  readonly host: string | undefined;
  readonly generation: number;
  /** The first is in force. */
  readonly associations: readonly Association[];
  readonly why: string;
  readonly missed: readonly string[];
}

export interface ClusterStatus {
  readonly leader: string | undefined;
  readonly hosts: readonly HostLine[];
  readonly guests: readonly GuestLine[];
}

export function clusterStatus(entries: readonly StoreEntry[]): ClusterStatus {
  const leader = decode(LEADER, entries.find(({ key }) => key === keyOf(LEADER))?.value);
  const hosts = table(entries, HOST);
  const leads = leader !== undefined && isIn(hosts.get(leader.host), leader.incarnation) ? leader.host : undefined;
  const guests = guestLines(entries, hosts);
  const specs = table(entries, SPEC);
  const status = table(entries, STATUS);
  const lines = [...hosts.values()].map((host): HostLine => {
    const mine = guests.filter((guest) => guest.state === 'running' && guest.host === host.name);
    const memoryBytes = mine.reduce((sum, { name }) => sum + (specs.get(name)?.memoryBytes ?? 0), 0);
    const usedCores = isIn(host, host.incarnation) ? status.get(host.name)?.usedCores : undefined;
    return { ...host, isLeader: host.name === leads, usedCores, guests: mine.length, memoryBytes };
  });
  return { leader: leads, hosts: lines.sort(byName), guests: guests.sort(byName) };
}

function guestLines(entries: readonly StoreEntry[], hosts: ReadonlyMap<string, HostRecord>): GuestLine[] {
  const owners = table(entries, OWNER);
  const placements = table(entries, PLACEMENT);
  const plans = [...table(entries, PLAN).values()];
  return [...table(entries, SPEC).values()].map((spec): GuestLine => {
    const { name, wanted, requirements } = spec;
    const owner = owners.get(name);
    const placement = placements.get(name);
    const generation = owner?.generation ?? 0;
    const isOwned = owner?.phase === 'held' && isIn(hosts.get(owner.host), owner.incarnation);
    const next = plans
      .flatMap(({ assignments }) => assignments)
      .find((one) => one.guest === name && one.generation === generation);
    const unplaced = plans.find(({ unplaced: list }) => list[name] !== undefined)?.unplaced[name];
    const state = isOwned ? 'running' : wanted === 'stopped' ? 'stopped' : next !== undefined ? 'moving' : 'waiting';
    return {
      ...{ name, wanted, state, generation, priority: requirements.priority },
      host: isOwned ? owner.host : next?.target,
      associations: placement?.associations ?? [],
      why: state === 'waiting' ? (unplaced ?? 'not planned yet') : (placement?.reason ?? ''),
      missed: placement?.missed ?? [],
    };
  });
}

function table<T>(entries: readonly StoreEntry[], kind: RecordKind<T>): Map<string, T> {
  const records = new Map<string, T>();
  for (const { key, value } of entries) {
    const record = key.startsWith(kind.prefix) ? decode(kind, value) : undefined;
    if (record !== undefined) records.set(key.slice(kind.prefix.length), record);
  }
  return records;
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

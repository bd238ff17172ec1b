/** What an operator wants to see of a cluster, from what stands in its store: one read of everything. */
import { Ring } from '../heartbeat/ring.ts';
import { isIn } from '../membership/membership.ts';
import { type Association, type GuestSpec, type HostRecord, METHODS, type Requirements } from '../model.ts';
import { type Estimate, estimate, misses, price, UNKNOWN_COSTS } from '../planner/estimate.ts';
import type { Costs } from '../ports.ts';
import { DEFAULT_SETTINGS, type Settings } from '../settings.ts';
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
  /** Hosts with which it exchanges heartbeats, its neighbour on the ring first. */
  readonly peers: readonly string[];
}

/** What a method would give the guest, and take, by the figures of now. */
export interface MethodLine extends Estimate {
  readonly price: number;
  /** In words. */
  readonly missed: readonly string[];
  /** The guest can be used with it, and it is not fixed to another. */
  readonly isAllowed: boolean;
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
  /** One that shall be in force once it is ready. */
  readonly next: Association | undefined;
  readonly requirements: Requirements;
  readonly group: string | undefined;
  /** Its method, where the planner's choice is not asked. */
  readonly fixed: GuestSpec['fixed'];
  readonly methods: readonly MethodLine[];
  /** Methods' lines are made of figures that were measured; false: of careful ones. */
  readonly isMeasured: boolean;
}

export interface ClusterStatus {
  readonly leader: string | undefined;
  readonly hosts: readonly HostLine[];
  readonly guests: readonly GuestLine[];
}

export function clusterStatus(entries: readonly StoreEntry[], settings: Settings = DEFAULT_SETTINGS): ClusterStatus {
  const leader = decode(LEADER, entries.find(({ key }) => key === keyOf(LEADER))?.value);
  const hosts = table(entries, HOST);
  const leads = leader !== undefined && isIn(hosts.get(leader.host), leader.incarnation) ? leader.host : undefined;
  const guests = guestLines(entries, hosts, settings);
  const ring = new Ring([...hosts.values()].filter((host) => isIn(host, host.incarnation)).map(({ name }) => name));
  const specs = table(entries, SPEC);
  const status = table(entries, STATUS);
  const lines = [...hosts.values()].map((host): HostLine => {
    const mine = guests.filter((guest) => guest.state === 'running' && guest.host === host.name);
    const memoryBytes = mine.reduce((sum, { name }) => sum + (specs.get(name)?.memoryBytes ?? 0), 0);
    const usedCores = isIn(host, host.incarnation) ? status.get(host.name)?.usedCores : undefined;
    const peers = ring.peersOf(host.name, settings.peersEachSide);
    return { ...host, isLeader: host.name === leads, usedCores, guests: mine.length, memoryBytes, peers };
  });
  return { leader: leads, hosts: lines.sort(byName), guests: guests.sort(byName) };
}

function guestLines(
  entries: readonly StoreEntry[],
  hosts: ReadonlyMap<string, HostRecord>,
  settings: Settings,
): GuestLine[] {
  const status = table(entries, STATUS);
  const owners = table(entries, OWNER);
  const placements = table(entries, PLACEMENT);
  const plans = [...table(entries, PLAN).values()];
  return [...table(entries, SPEC).values()].map((spec): GuestLine => {
    const { name, wanted, requirements, group, fixed } = spec;
    const owner = owners.get(name);
    const placement = placements.get(name);
    const generation = owner?.generation ?? 0;
    const isOwned = owner?.phase === 'held' && isIn(hosts.get(owner.host), owner.incarnation);
    const next = plans
      .flatMap(({ assignments }) => assignments)
      .find((one) => one.guest === name && one.generation === generation);
    const unplaced = plans.find(({ unplaced: list }) => list[name] !== undefined)?.unplaced[name];
    const state = isOwned ? 'running' : wanted === 'stopped' ? 'stopped' : next !== undefined ? 'moving' : 'waiting';
    const costs = isOwned ? status.get(owner.host)?.costs[name] : undefined;
    return {
      ...{ name, wanted, state, generation, priority: requirements.priority, requirements, group, fixed },
      host: isOwned ? owner.host : next?.target,
      associations: placement?.associations ?? [],
      why: state === 'waiting' ? (unplaced ?? 'not planned yet') : (placement?.reason ?? ''),
      missed: placement?.missed ?? [],
      next: placement?.next,
      methods: methodLines(spec, costs ?? UNKNOWN_COSTS, settings),
      isMeasured: costs !== undefined,
    };
  });
}

function methodLines(spec: GuestSpec, costs: Costs, settings: Settings): MethodLine[] {
  const allowed = spec.fixed === undefined ? spec.methods : [spec.fixed];
  return METHODS.map((method) => {
    const one = estimate(method, spec, costs, settings);
    return { ...one, price: price(one), missed: misses(one, spec), isAllowed: allowed.includes(method) };
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

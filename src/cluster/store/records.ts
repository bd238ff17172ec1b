/**
 * Where each noun lies in the store, and how it is read back:
 *
 *     leases/HOST  hosts/HOST  status/HOST  duties/HOST  plans/HOST  leader
 *     specs/GUEST  owners/GUEST  placements/GUEST
 */

import {
  type Duty,
  type GuestSpec,
  type HostRecord,
  type LeaderRecord,
  type LeaseRecord,
  METHODS,
  type Method,
  type Owner,
  type Placement,
  type TakeoverPlan,
} from '../model.ts';
import type { Costs } from '../ports.ts';
import type { StoreEntry } from './cluster-store.ts';
import { fits, listOf, oneOf, type Shape, texts } from './shape.ts';

/** What a host tells of itself, when it has changed enough. */
export interface HostStatus {
  readonly usedCores: number;
  /** Costs of the guests that run here. */
  readonly costs: Readonly<Record<string, Costs>>;
  readonly ready: readonly string[];
}

export interface HostDuties {
  readonly duties: readonly Duty[];
}

/** One kind of record: the folder that it is in, and the check of what is read. */
export interface RecordKind<T> {
  readonly prefix: string;
  readonly shape: Shape;
  /** Never there; it carries the type. */
  readonly type?: T;
}

const capacity: Shape = { cores: 'number', memoryBytes: 'number', diskBytes: 'number' };
const method = oneOf(METHODS);
const methods = listOf(method);
const association: Shape = { host: 'text', method };

export const LEASE: RecordKind<LeaseRecord> = {
  prefix: 'leases/',
  shape: {
    incarnation: 'count',
    state: oneOf(['held', 'fenced', 'left']),
    boot: 'text',
    renewal: 'count',
    durationMs: 'count',
  },
};
export const HOST: RecordKind<HostRecord> = {
  prefix: 'hosts/',
  shape: {
    name: 'text',
    incarnation: 'count',
    state: oneOf(['active', 'draining', 'quarantined', 'fenced', 'left']),
    address: 'text',
    capacity,
    labels: texts,
    fences: 'count',
  },
};
export const STATUS: RecordKind<HostStatus> = {
  prefix: 'status/',
  shape: { usedCores: 'number', costs: (value) => isCosts(value), ready: listOf((one) => typeof one === 'string') },
};
export const DUTIES: RecordKind<HostDuties> = {
  prefix: 'duties/',
  shape: { duties: [{ guest: 'text', role: oneOf(['active', 'standby']), method, peer: 'text', everyMs: 'number' }] },
};
export const PLAN: RecordKind<TakeoverPlan> = {
  prefix: 'plans/',
  shape: {
    source: 'text',
    term: 'count',
    assignments: [
      { guest: 'text', generation: 'count', target: 'text', incarnation: 'count', method, priority: 'number' },
    ],
    unplaced: texts,
  },
};
export const SPEC: RecordKind<GuestSpec> = {
  prefix: 'specs/',
  shape: {
    ...capacity,
    name: 'text',
    requirements: {
      recoveryTimeMs: 'number',
      dataLossMs: 'optional number',
      performanceFloor: (value) => typeof value === 'number' && value >= 0 && value <= 1,
      priority: 'number',
    },
    group: 'optional text',
    methods,
    fixed: (value) => value === undefined || method(value),
    wanted: oneOf(['running', 'stopped']),
  },
};
export const OWNER: RecordKind<Owner> = {
  prefix: 'owners/',
  shape: {
    host: 'text',
    incarnation: 'count',
    generation: 'count',
    phase: oneOf(['held', 'released']),
    sync: 'optional text',
  },
};
export const PLACEMENT: RecordKind<Placement> = {
  prefix: 'placements/',
  shape: {
    associations: [association],
    next: (value) => value === undefined || fits(value, association),
    reason: 'text',
    missed: listOf((one) => typeof one === 'string'),
    everyMs: 'number',
  },
};
/** There is one: its key is its prefix. */
export const LEADER: RecordKind<LeaderRecord> = {
  prefix: 'leader',
  shape: { host: 'text', incarnation: 'count', term: 'count' },
};

export function keyOf<T>(kind: RecordKind<T>, name = ''): string {
  return kind.prefix + name;
}

export function nameIn<T>(kind: RecordKind<T>, key: string): string | undefined {
  return key.startsWith(kind.prefix) ? key.slice(kind.prefix.length) : undefined;
}

export function put<T>(kind: RecordKind<T>, name: string, value: T): { key: string; value: string } {
  return { key: kind.prefix + name, value: JSON.stringify(value) };
}

/** Undefined for what is not there, and for what is not of this shape. */
export function decode<T>(kind: RecordKind<T>, value: string | undefined): T | undefined {
  if (value === undefined) return undefined;
  const known = recent.get(value);
  if (known !== undefined && known.kind === kind) return known.read as T | undefined;
  if (recent.size >= MOST_RECENT) recent.clear();
  const read = parse(value);
  const fitting = fits(read, kind.shape) ? (read as T) : undefined;
  recent.set(value, { kind, read: fitting });
  return fitting;
}

/** Most of what is read has been read before: records are never changed, so it may be shared. */
const recent = new Map<string, { readonly kind: unknown; readonly read: unknown }>();
const MOST_RECENT = 4096;

function parse(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

/** A record with the revision that a transaction compares; not there: undefined, and revision 0. */
export interface Found<T> {
  readonly value: T | undefined;
  readonly revision: number;
}

export function find<T>(entries: readonly StoreEntry[], kind: RecordKind<T>, name = ''): Found<T> {
  const key = kind.prefix + name;
  const entry = entries.find((one) => one.key === key);
  return { value: decode(kind, entry?.value), revision: entry?.revision ?? 0 };
}

const costs: Shape = {
  bootMs: 'number',
  restoreMs: 'number',
  checkpointMs: 'number',
  checkpointBytes: 'number',
  dirtyBytesPerS: 'number',
  applicationRestartMs: 'number',
};

function isCosts(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.values(value).every((one) => fits(one, costs));
}

export function isMethod(value: string): value is Method {
  return method(value);
}

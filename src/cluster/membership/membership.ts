/**
 * How a host comes into the cluster and leaves it, as transactions: each compares what it was decided on, so that two who
 * decide at once do not both succeed.
 *
 *     join -> active -> draining -> left        active -> fenced (its lease expired) -> joins again, active or quarantined
 */
import type { Capacity, HostRecord, LeaseRecord } from '../model.ts';
import type { Settings } from '../settings.ts';
import type { Transaction } from '../store/cluster-store.ts';
import { type Found, HOST, keyOf, LEASE, put } from '../store/records.ts';

export interface HostIdentity {
  readonly name: string;
  /** Differs with each boot of the host; the same after the daemon alone was started again. */
  readonly boot: string;
  readonly address: string;
  readonly capacity: Capacity;
  readonly labels: Readonly<Record<string, string>>;
}

export type Join =
  /** The daemon is back in time: it goes on with the lease, and its machines with theirs. */
  | { readonly kind: 'adopt'; readonly lease: LeaseRecord; readonly host: HostRecord }
  /** A new incarnation: nothing that an earlier one owned is its. */
  | {
      readonly kind: 'enter';
      readonly transaction: Transaction;
      readonly lease: LeaseRecord;
      readonly host: HostRecord;
    };

export function join(
  self: HostIdentity,
  lease: Found<LeaseRecord>,
  host: Found<HostRecord>,
  settings: Pick<Settings, 'leaseMs' | 'fencesToQuarantine'>,
): Join {
  const { name, boot, address, capacity, labels } = self;
  const held = lease.value?.state === 'held' ? lease.value : undefined;
  if (held !== undefined && held.boot === boot && host.value !== undefined)
    return { kind: 'adopt', lease: held, host: host.value };
  const incarnation = Math.max(lease.value?.incarnation ?? 0, host.value?.incarnation ?? 0) + 1;
  // It died and is back before anybody saw its lease expire: that is a failure all the same.
  const fences = (host.value?.fences ?? 0) + (held === undefined ? 0 : 1);
  const state = fences >= settings.fencesToQuarantine ? 'quarantined' : 'active';
  const record: HostRecord = { name, incarnation, state, address, capacity, labels, fences };
  const first: LeaseRecord = { incarnation, state: 'held', boot, renewal: 0, durationMs: settings.leaseMs };
  const transaction = {
    compares: [compare(LEASE, name, lease), compare(HOST, name, host)],
    puts: [put(LEASE, name, first), put(HOST, name, record)],
  };
  return { kind: 'enter', transaction, lease: first, host: record };
}

/** Takes an expired lease away: the holder's renewals fail from now on. `revision`: the one that was seen to expire. */
export function fence(name: string, lease: HeldLease, host: Found<HostRecord>): Transaction {
  return ending(name, lease, host, { state: 'fenced', fences: (host.value?.fences ?? 0) + 1 });
}

/** An orderly end, once no guest is left: nobody waits for the lease to expire. */
export function leave(name: string, lease: HeldLease, host: Found<HostRecord>): Transaction {
  return ending(name, lease, host, { state: 'left' });
}

interface HeldLease {
  readonly value: LeaseRecord;
  readonly revision: number;
}

function ending(
  name: string,
  { value, revision }: HeldLease,
  host: Found<HostRecord>,
  to: { readonly state: 'fenced' | 'left'; readonly fences?: number },
): Transaction {
  const puts = [put(LEASE, name, { ...value, state: to.state })];
  if (host.value !== undefined) puts.push(put(HOST, name, { ...host.value, ...to }));
  return { compares: [{ key: keyOf(LEASE, name), revision }, compare(HOST, name, host)], puts };
}

/** Drain, its undoing, the end of a quarantine, a fence forgotten. */
export function change(
  host: { readonly value: HostRecord; readonly revision: number },
  to: Partial<Pick<HostRecord, 'state' | 'fences' | 'capacity'>>,
): Transaction {
  const { name } = host.value;
  return {
    compares: [{ key: keyOf(HOST, name), revision: host.revision }],
    puts: [put(HOST, name, { ...host.value, ...to })],
  };
}

/** How long a host in quarantine must be well: twice as long with each fence more. */
export function quarantineMs(fences: number, settings: Pick<Settings, 'fencesToQuarantine' | 'quarantineMs'>): number {
  return settings.quarantineMs * 2 ** Math.min(6, Math.max(0, fences - settings.fencesToQuarantine));
}

/** May new guests and standbys be put there. */
export function takesGuests(host: HostRecord | undefined): boolean {
  return host?.state === 'active';
}

/** Is this incarnation in the cluster, so that what it owns is its. */
export function isIn(host: HostRecord | undefined, incarnation: number): boolean {
  return host !== undefined && host.incarnation === incarnation && host.state !== 'fenced' && host.state !== 'left';
}

function compare<T>(
  kind: { readonly prefix: string },
  name: string,
  found: Found<T>,
): { key: string; revision: number } {
  return { key: kind.prefix + name, revision: found.revision };
}

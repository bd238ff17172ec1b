/**
 * The network's saved state: plain data with a version. What comes back may come from a file, so every field is
 * checked before any of it is used.
 */
import { OperatorError } from '../base/errors.ts';
import type { Ipv4, Mac } from './addresses.ts';
import type { SavedConnection } from './tcp-nat.ts';

export interface NetworkSnapshot {
  readonly version: 1;
  readonly neighbours: readonly (readonly [Ipv4, Mac])[];
  readonly leases: readonly { readonly mac: Mac; readonly address: Ipv4; readonly remainingMs: number }[];
  /** Connections that stood; they are reset on restore. */
  readonly connections: readonly SavedConnection[];
  readonly counters: object;
}

const CONNECTION_FIELDS = ['guest', 'guestPort', 'remote', 'remotePort', 'sequence', 'acknowledgement'] as const;

/** Checks saved state. Throws OperatorError `bad-snapshot`. */
export function readNetworkSnapshot(data: unknown): NetworkSnapshot {
  if (!isRecord(data)) throw bad('it is not an object');
  if (data.version !== 1) throw bad(`its version is ${String(data.version)}, and this program reads version 1`);
  const { neighbours, leases, connections, counters } = data;
  if (!isListOf(neighbours, isNeighbour)) throw bad('its neighbours are malformed');
  if (!isListOf(leases, isLease)) throw bad('its leases are malformed');
  if (!isListOf(connections, isConnection)) throw bad('its connections are malformed');
  if (!isRecord(counters)) throw bad('its counters are malformed');
  return { version: 1, neighbours, leases, connections, counters };
}

function bad(why: string): OperatorError {
  return new OperatorError(
    'bad-snapshot',
    `The network's saved state cannot be read: ${why}.`,
    'Take a new snapshot with this version of the program.',
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isListOf<T>(value: unknown, isItem: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.every(isItem);
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value);
}

function isNeighbour(value: unknown): value is [Ipv4, Mac] {
  return Array.isArray(value) && value.length === 2 && value.every(isNumber);
}

function isLease(value: unknown): value is { mac: Mac; address: Ipv4; remainingMs: number } {
  return isRecord(value) && isNumber(value.mac) && isNumber(value.address) && Number.isFinite(value.remainingMs);
}

function isConnection(value: unknown): value is SavedConnection {
  return isRecord(value) && CONNECTION_FIELDS.every((field) => isNumber(value[field]));
}

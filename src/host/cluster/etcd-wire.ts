/**
 * etcd's JSON gateway (`/v3/...`, etcd 3.4 and later): what of its requests and answers we use. Keys and values are base64,
 * numbers of 64 bits are strings, and fields that are zero or empty are left out.
 */
import type { Query, StoreEntry, Transaction, WatchEvent } from '../../cluster/index.ts';

/** An answer that is not of the form it must have: the peer is no etcd, or a broken one. */
export class WireError extends Error {}

export interface RangeRequest {
  readonly key: string;
  readonly range_end?: string;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** The first key behind all that start with the prefix. */
export function endOfPrefix(prefix: string): string {
  const bytes = Buffer.from(prefix);
  for (let at = bytes.length - 1; at >= 0; at -= 1) {
    const byte = bytes[at] ?? 0;
    if (byte === 0xff) continue;
    bytes[at] = byte + 1;
    return bytes.subarray(0, at + 1).toString('base64');
  }
  // All keys from here on.
  return Buffer.alloc(1).toString('base64');
}

export function rangesOf({ keys = [], prefixes = [] }: Query): RangeRequest[] {
  return [
    ...keys.map((key) => ({ key: base64(key) })),
    ...prefixes.map((prefix) => ({ key: base64(prefix), range_end: endOfPrefix(prefix) })),
  ];
}

/** Ranges as one transaction, so that all are of one revision; linearizable, as none of them says otherwise. */
export function readRequest(ranges: readonly RangeRequest[], revision: number | undefined): object {
  const at = revision === undefined ? {} : { revision: String(revision) };
  return { success: ranges.map((range) => ({ request_range: { ...range, ...at } })) };
}

/** A transaction that writes nothing is answered by a member alone, of old state perhaps, unless it reads something. */
export function commitRequest({ compares, puts = [], deletes = [] }: Transaction): object {
  const reads = puts.length + deletes.length === 0 ? [{ request_range: { key: base64('/'), count_only: true } }] : [];
  return {
    ...(reads.length === 0 ? {} : { failure: reads }),
    compare: compares.map(({ key, revision }) => ({
      ...{ key: base64(key), target: 'MOD', result: 'EQUAL', mod_revision: String(revision) },
    })),
    success: [
      ...puts.map(({ key, value }) => ({ request_put: { key: base64(key), value: base64(value) } })),
      ...deletes.map((key) => ({ request_delete_range: { key: base64(key) } })),
      ...reads,
    ],
  };
}

export function watchRequest(prefix: string, revision: number): object {
  return {
    create_request: { key: base64(prefix), range_end: endOfPrefix(prefix), start_revision: String(revision + 1) },
  };
}

/** The revision of the whole store, and what was found. */
export function readAnswer(answer: unknown): { revision: number; entries: StoreEntry[] } {
  const { responses = [] } = record(answer);
  const entries = list(responses).flatMap((response) => {
    const { kvs = [] } = record(record(response)['response_range']);
    return list(kvs).map(entryOf);
  });
  return { revision: revisionOf(answer), entries };
}

export function commitAnswer(answer: unknown): { succeeded: boolean; revision: number } {
  return { succeeded: record(answer)['succeeded'] === true, revision: revisionOf(answer) };
}

/** What a line of a watch says. */
export function watchEvents(line: unknown): WatchEvent[] {
  const answer = record(line);
  if (answer['error'] !== undefined) return [lost(JSON.stringify(answer['error']).slice(0, 200))];
  const result = record(answer['result']);
  if (result['canceled'] === true) return [lost(`cancelled: ${String(result['cancel_reason'] ?? '')}`)];
  return list(result['events'] ?? []).map((event): WatchEvent => {
    const { type = 'PUT', kv } = record(event);
    const { key, value, revision } = entryOf(kv);
    return { kind: 'change', key, value: type === 'DELETE' ? undefined : value, revision };
  });
}

function lost(reason: string): WatchEvent {
  return { kind: 'lost', reason };
}

function entryOf(kv: unknown): StoreEntry {
  const { key, value = '', mod_revision: revision } = record(kv);
  return { key: textOf(key), value: textOf(value), revision: integer(revision) };
}

function revisionOf(answer: unknown): number {
  return integer(record(record(answer)['header'])['revision']);
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new WireError('an object is missing');
  return value as Record<string, unknown>;
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new WireError('a list is missing');
  return value;
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new WireError('bytes are missing');
  return Buffer.from(value, 'base64').toString();
}

function integer(value: unknown): number {
  const number = Number(value ?? Number.NaN);
  if (!Number.isSafeInteger(number) || number < 0) throw new WireError(`${String(value)} is no revision`);
  return number;
}

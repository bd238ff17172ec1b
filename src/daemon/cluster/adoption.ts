/** What a daemon that comes back finds: processes by their sockets, and what was written down of them. */
import type { Partitions } from '../partitions/index.ts';
import { GuestProcess } from './guest-process.ts';
import type { GuestRecord, GuestRecords, MachineRecord, StandbyRecord } from './guest-records.ts';

export interface Found {
  readonly machines: readonly (Omit<MachineRecord, 'kind' | 'process'> & {
    readonly guest: string;
    readonly process: GuestProcess;
    readonly deadlineMs: number;
  })[];
  /** A warm one has no process. */
  readonly standbys: readonly (Omit<StandbyRecord, 'kind' | 'process'> & {
    readonly guest: string;
    readonly process: GuestProcess | undefined;
    /** Of a pair's: under which it runs. */
    readonly incarnation?: number;
  })[];
}

/** What is asked of it is answered within so long, or its record counts. */
const ANSWER_MS = 2000;

/** Records of what is gone are removed. */
export async function findGuests(partitions: Partitions, records: GuestRecords): Promise<Found> {
  const folder = await partitions.machines.folder();
  const known = records.all();
  const names = new Set([...(await partitions.machines.names()), ...known.keys()]);
  const found = await Promise.all([...names].map((name) => find(name, known.get(name), partitions, folder)));
  const machines = found.flatMap((one) => (one?.kind === 'machine' ? [one] : []));
  const standbys = found.flatMap((one) => (one?.kind === 'standby' ? [one] : []));
  const there = new Set([...machines, ...standbys].map(({ guest }) => guest));
  for (const guest of known.keys()) if (!there.has(guest)) records.remove(guest);
  return { machines, standbys };
}

type FoundOne =
  | ({ readonly kind: 'machine' } & Found['machines'][number])
  | ({ readonly kind: 'standby' } & Found['standbys'][number]);

async function find(
  guest: string,
  record: GuestRecord | undefined,
  partitions: Partitions,
  folder: string,
): Promise<FoundOne | undefined> {
  const info = await within(ANSWER_MS, partitions.machines.info(guest));
  if (record?.kind === 'standby' && record.method === 'warm') {
    // Restored from it, and the daemon died before it had written that down.
    if (info?.lease === undefined) return { ...withoutProcess(record), guest, process: undefined };
  }
  const process = processOf(guest, info?.pid, record, folder);
  if (process === undefined) return undefined;
  if (record?.kind === 'standby' && (info === undefined || info.state === 'standby' || record.method === 'pair'))
    return { ...withoutProcess(record), guest, process, ...(info?.lease && { incarnation: info.lease.incarnation }) };
  if (info?.lease !== undefined) {
    const { incarnation, generation, deadlineMs } = info.lease;
    const found = { kind: 'machine' as const, guest, method: 'cold' as const, process, deadlineMs };
    // Of a pair, the generation came after its machine.
    if (record?.kind === 'machine' && record.process?.pid === info.pid) return { ...found, ...withoutProcess(record) };
    return { ...found, incarnation, generation };
  }
  // It does not answer: it is what was written down of it.
  if (info === undefined && record?.kind === 'machine')
    return { ...withoutProcess(record), guest, process, deadlineMs: 0 };
  process.close();
  return undefined;
}

function withoutProcess<R extends GuestRecord>({ process: _, ...rest }: R): Omit<R, 'process'> {
  return rest;
}

function processOf(
  guest: string,
  pid: number | undefined,
  record: GuestRecord | undefined,
  folder: string,
): GuestProcess | undefined {
  try {
    if (pid !== undefined) return GuestProcess.of(guest, pid, folder);
  } catch {
    return undefined; // it has ended just now
  }
  if (record?.process === undefined) return undefined;
  const process = new GuestProcess(guest, record.process, folder);
  if (process.isThere) return process;
  process.close();
  return undefined;
}

async function within<T>(mostMs: number, answer: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), mostMs);
  return await Promise.race([answer, late.promise]).finally(() => clearTimeout(timer));
}

/** What a daemon that comes back finds: processes by their sockets, and what was written down of them. */
import type { MachineInfo } from '../../host/index.ts';
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

/** The host's lease runs on meanwhile: who does not answer is what was written down of it. */
const ANSWER_MS = 500;

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
  // A process that was written down as a machine's is that machine's still: nobody need be asked.
  const written = record?.process === undefined ? undefined : new GuestProcess(guest, record.process, folder);
  if (record?.kind === 'machine' && written?.isThere)
    return { ...withoutProcess(record), guest, process: written, deadlineMs: 0 };
  const info = await within(ANSWER_MS, partitions.machines.info(guest));
  if (info?.lease !== undefined && !(record?.kind === 'standby' && record.method === 'pair')) {
    written?.close();
    return machineOf(guest, info.pid, info.lease, folder);
  }
  if (record?.kind === 'standby' && record.method === 'warm')
    return { ...withoutProcess(record), guest, process: undefined };
  if (record?.kind === 'standby' && written?.isThere) {
    const runsUnder = info?.lease === undefined ? {} : { incarnation: info.lease.incarnation };
    return { ...withoutProcess(record), guest, process: written, ...runsUnder };
  }
  written?.close();
  return undefined;
}

/** One that had been started, and whose daemon died before that was written down. */
function machineOf(
  guest: string,
  pid: number,
  { incarnation, generation, deadlineMs }: NonNullable<MachineInfo['lease']>,
  folder: string,
): FoundOne | undefined {
  try {
    const process = GuestProcess.of(guest, pid, folder);
    return { kind: 'machine', guest, method: 'cold', process, incarnation, generation, deadlineMs };
  } catch {
    return undefined; // it has ended just now
  }
}

function withoutProcess<R extends GuestRecord>({ process: _, ...rest }: R): Omit<R, 'process'> {
  return rest;
}

async function within<T>(mostMs: number, answer: Promise<T>): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), mostMs);
  return await Promise.race([answer, late.promise]).finally(() => clearTimeout(timer));
}

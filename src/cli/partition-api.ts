/**
 * Verbs on partitions, through the API: the daemon's, if one runs, else the same in this process. Loaded when such a verb is
 * used, as it brings more than others need.
 */
import { HostError } from '../base/errors.ts';
import type { Client, Failover, Partition, PartitionSpec, RestartPolicy } from '../client/index.ts';
import { type LocalOptions, type ReachedApi, reachApi } from '../daemon/index.ts';
import type { MachineOptions } from '../host/index.ts';
import type { Io, Platform } from './io.ts';
import { type Format, print, sizeText, table } from './output.ts';
import { version } from './version.ts';

export function localOptions(io: Io, platform: Platform): LocalOptions {
  return {
    ...{ version: version(), program: platform.program, images: platform.images },
    failed: (error) => {
      if (io.environment['KAGE_DEBUG'] !== undefined && error instanceof Error) io.stderr.write(`${error.stack}\n`);
    },
  };
}

export async function withApi<T>(
  io: Io,
  platform: Platform,
  body: (client: Client, api: ReachedApi) => Promise<T>,
): Promise<T> {
  await using api = await reachApi(localOptions(io, platform));
  return await body(api.client, api);
}

/** Applies `action` to each in turn and prints its name, as docker does. */
export async function eachPartition(
  io: Io,
  platform: Platform,
  names: readonly string[],
  action: (client: Client, name: string) => Promise<Partition | void>,
): Promise<number> {
  return await withApi(io, platform, async (client) => {
    for (const name of names) {
      noteWaiting(io, await action(client, name));
      io.stdout.write(`${name}\n`);
    }
    return 0;
  });
}

/** It is wanted, and the cluster has no place for it yet. */
function noteWaiting(io: Io, partition: Partition | void): void {
  if (partition?.cluster?.state !== 'waiting') return;
  io.stderr.write(`kage: ${partition.name} waits for a place: ${partition.cluster.why}\n`);
}

export interface NewPartition {
  readonly name: string | undefined;
  readonly image: string | undefined;
  /** With absolute paths. */
  readonly options: MachineOptions;
  readonly restoreFrom?: string;
  readonly restartPolicy: RestartPolicy | undefined;
  readonly removeAtEnd: boolean;
  readonly start: boolean;
  readonly failover?: Failover | undefined;
}

/** Creates it, and prints its name. */
export async function createPartition(
  io: Io,
  platform: Platform,
  given: NewPartition,
  quiet: boolean,
): Promise<number> {
  const { name, restartPolicy, removeAtEnd, start } = given;
  return await withApi(io, platform, async (client, { daemon }) => {
    const partition = await client.createPartition(
      {
        ...(name === undefined ? {} : { name }),
        spec: specOf(given),
        ...(restartPolicy === undefined ? {} : { restartPolicy }),
        ...(removeAtEnd ? { removeAtEnd } : {}),
        start,
      },
      { signal: io.signal },
    );
    if (!daemon && !quiet && restartPolicy !== undefined && restartPolicy.name !== 'no')
      io.stderr.write('kage: nobody restarts it unless "kage serve" runs\n');
    noteWaiting(io, partition);
    io.stdout.write(`${partition.name}\n`);
    return 0;
  });
}

export function specOf({
  image,
  options,
  restoreFrom,
  failover,
}: Pick<NewPartition, 'image' | 'options' | 'restoreFrom' | 'failover'>): PartitionSpec {
  const { name: _, signal: __, ...machine } = options;
  return {
    ...(machine as Omit<PartitionSpec, 'image'>),
    ...(image === undefined ? {} : { image }),
    ...(restoreFrom === undefined ? {} : { restoreFrom }),
    ...(failover === undefined ? {} : { failover }),
  };
}

export async function ps(
  io: Io,
  platform: Platform,
  flags: { format: Format; quiet?: boolean; all?: boolean },
): Promise<number> {
  const { partitions } = await withApi(io, platform, (client) => client.listPartitions());
  const shown = partitions.filter(({ state }) => flags.all === true || (state !== 'created' && state !== 'exited'));
  if (flags.quiet === true) {
    io.stdout.write(shown.map((one) => `${one.name}\n`).join(''));
    return 0;
  }
  // Where there is no cluster, there is no word of one.
  const isClustered = shown.some(({ cluster }) => cluster !== undefined);
  print(io, flags.format, shown.map(row), () =>
    table(
      ['name', 'state', 'cpus', 'memory', 'started', 'ports', 'pid', ...(isClustered ? ['host'] : [])],
      shown.map((one) => [...cells(one), ...(isClustered ? [one.cluster?.host ?? '-'] : [])]),
    ),
  );
  return 0;
}

function cells(partition: Partition): string[] {
  const { name, machine, spec } = partition;
  return [
    name,
    stateText(partition),
    String(machine?.cpus ?? spec?.cpus ?? 1),
    sizeText(machine?.memoryBytes ?? spec?.memoryBytes ?? 512 << 20),
    machine?.startedAt ?? '-',
    (machine?.publish ?? spec?.publish ?? []).join(' '),
    String(machine?.pid ?? '-'),
  ];
}

function stateText({ state, machine, exit, cluster }: Partition): string {
  if (cluster?.state === 'waiting') return 'waiting';
  if (state === 'exited' && exit !== undefined) return `exited (${exit.code})`;
  return machine?.health === undefined ? state : `${state} (${machine.health.status})`;
}

/** One level, for programs; `kage inspect` shows the whole. */
function row({ machine, spec: _, ...partition }: Partition): object {
  return { ...machine, ...partition };
}

export async function inspect(io: Io, platform: Platform, names: readonly string[]): Promise<number> {
  const all = await withApi(io, platform, async (client) => {
    const found: Partition[] = [];
    for (const name of names) found.push(await client.getPartition(name));
    return found;
  });
  io.stdout.write(`${JSON.stringify(all, undefined, 2)}\n`);
  return 0;
}

/** Prints exit codes, as docker does. */
export async function waitFor(io: Io, platform: Platform, names: readonly string[]): Promise<number> {
  return await withApi(io, platform, async (client) => {
    for (const name of names) {
      const { code } = await client.waitPartition(name, { signal: io.signal });
      io.stdout.write(`${code}\n`);
    }
    return 0;
  });
}

export async function logs(
  io: Io,
  platform: Platform,
  name: string,
  query: { follow?: boolean; tail?: number },
): Promise<number> {
  return await withApi(io, platform, async (client) => {
    try {
      for await (const bytes of client.partitionLogs(name, query, { signal: io.signal })) io.stdout.write(bytes);
    } catch (error) {
      if (!io.signal.aborted) throw error;
    }
    return 0;
  });
}

/** Events as they come, until this process is told to end; with `since`, what was kept behind that event first. */
export async function events(
  io: Io,
  platform: Platform,
  flags: { format: Format; since?: number; follow: boolean },
): Promise<number> {
  return await withApi(io, platform, async (client, { daemon }) => {
    const show = (event: { at: string; kind: string; partition?: string; detail?: object }): void => {
      const { at, kind, partition = '-', detail = {} } = event;
      io.stdout.write(
        flags.format === 'json'
          ? `${JSON.stringify(event)}\n`
          : `${at} ${kind} ${partition} ${JSON.stringify(detail)}\n`,
      );
    };
    const since = flags.since === undefined ? {} : { since: flags.since };
    if (!flags.follow) {
      for (const event of (await client.eventHistory({ ...since, most: 1000 })).events) show(event);
      return 0;
    }
    if (!daemon) throw new HostError('no-daemon', 'events are followed where "kage serve" runs');
    try {
      for await (const event of client.events(since, { signal: io.signal })) show(event);
    } catch (error) {
      if (!io.signal.aborted) throw error;
    }
    return 0;
  });
}

export async function fork(
  io: Io,
  platform: Platform,
  name: string,
  twins: readonly Parameters<Client['forkPartition']>[1][],
  format: Format,
): Promise<number> {
  const made = await withApi(io, platform, async (client) => {
    const all = [];
    for (const twin of twins) all.push(await client.forkPartition(name, twin, { signal: io.signal }));
    return all;
  });
  print(io, format, made, () => made.map((twin) => `${twin.name}\n`).join(''));
  return 0;
}

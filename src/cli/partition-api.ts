/**
 * Verbs on partitions, through the API: the daemon's, if one runs, else the same in this process. Loaded when such a verb is
 * used, as it brings more than others need.
 */
import { HostError } from '../base/errors.ts';
import type { Client, Partition, PartitionSpec, RestartPolicy } from '../client/index.ts';
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
  action: (client: Client, name: string) => Promise<unknown>,
): Promise<number> {
  return await withApi(io, platform, async (client) => {
    for (const name of names) {
      await action(client, name);
      io.stdout.write(`${name}\n`);
    }
    return 0;
  });
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
    io.stdout.write(`${partition.name}\n`);
    return 0;
  });
}

export function specOf({
  image,
  options,
  restoreFrom,
}: Pick<NewPartition, 'image' | 'options' | 'restoreFrom'>): PartitionSpec {
  const { name: _, signal: __, ...machine } = options;
  return {
    ...(machine as Omit<PartitionSpec, 'image'>),
    ...(image === undefined ? {} : { image }),
    ...(restoreFrom === undefined ? {} : { restoreFrom }),
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
  print(io, flags.format, shown.map(row), () =>
    table(
      ['name', 'state', 'cpus', 'memory', 'started', 'ports', 'pid'],
      shown.map(({ name, state, machine, exit, spec }) => [
        name,
        state === 'exited' && exit !== undefined
          ? `exited (${exit.code})`
          : machine?.health === undefined
            ? state
            : `${state} (${machine.health.status})`,
        String(machine?.cpus ?? spec?.cpus ?? 1),
        sizeText(machine?.memoryBytes ?? spec?.memoryBytes ?? 512 << 20),
        machine?.startedAt ?? '-',
        (machine?.publish ?? spec?.publish ?? []).join(' '),
        String(machine?.pid ?? '-'),
      ]),
    ),
  );
  return 0;
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

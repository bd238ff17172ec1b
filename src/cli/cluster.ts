/** `kage cluster`: what its verbs ask the daemon, and how they show the answer. A host is in a cluster by its daemon. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join as joinPath, resolve } from 'node:path';
import { OperatorError } from '../base/errors.ts';
import type { Client, Cluster, ClusterGuest, ClusterHost, ClusterInitRequest, DrillRequest } from '../client/index.ts';
import type { Io, Platform } from './io.ts';
import { type Format, print, sizeText, table } from './output.ts';
import { withApi } from './partition-api.ts';
import { parseCap, parseSize } from './values.ts';

/** As commander hands them over. */
interface NewcomerFlags {
  readonly address?: string;
  readonly name?: string;
  readonly label?: readonly string[];
  readonly cores?: string;
  readonly memory?: string;
  readonly disk?: string;
  readonly storeTls?: string;
  readonly format: Format;
}

export interface InitFlags extends NewcomerFlags {
  readonly store?: string;
}

export interface JoinFlags extends NewcomerFlags {
  readonly replace?: boolean;
}

export async function init(io: Io, platform: Platform, flags: InitFlags): Promise<number> {
  const store = flags.store === undefined ? {} : parseStore(flags.store);
  const request = { ...newcomer(flags), ...store };
  const made = await asked(io, platform, (client) => client.initCluster(request, { signal: io.signal }));
  print(io, flags.format, made, () => `${made.token}\n`);
  if (flags.format === 'table') io.stderr.write(begun(made.name, request));
  return 0;
}

/** The token alone is on stdout, to be piped. */
function begun(name: string, { store }: Pick<ClusterInitRequest, 'store'>): string {
  const next =
    store?.kind === 'etcd'
      ? 'another host joins with it: kage cluster join TOKEN --address IP'
      : 'its store is a file: for several hosts, begin it with --store etcd:...';
  return `kage: the cluster has begun, with this host as ${name}; ${next}\n`;
}

export async function token(io: Io, platform: Platform, format: Format): Promise<number> {
  const made = await asked(io, platform, (client) => client.getClusterToken());
  print(io, format, made, () => `${made.token}\n`);
  return 0;
}

export async function join(io: Io, platform: Platform, given: string, flags: JoinFlags): Promise<number> {
  const request = { ...newcomer(flags), ...(flags.replace === true ? { replace: true } : {}) };
  const secret = given === '-' ? await fromStdin(io) : given;
  // What ps shows of this process from now on.
  process.title = 'kage cluster join';
  const { name } = await asked(io, platform, (client) =>
    client.joinCluster({ ...request, token: secret }, { signal: io.signal }),
  );
  print(io, flags.format, { name }, () => `${name}\n`);
  return 0;
}

export async function status(io: Io, platform: Platform, format: Format): Promise<number> {
  const cluster = await asked(io, platform, (client) => client.getCluster());
  print(io, format, cluster, () => statusText(cluster));
  return 0;
}

export async function drain(
  io: Io,
  platform: Platform,
  given: string | undefined,
  { undo = false, wait }: { undo?: boolean; wait: boolean },
): Promise<number> {
  return await asked(io, platform, async (client) => {
    const host = given ?? (await client.getCluster()).self.name;
    await client.drainHost(host, { undo });
    if (!undo && wait) await emptied(io, client, host);
    io.stdout.write(`${host}\n`);
    return 0;
  });
}

/** Polls: guests go one after the other, within minutes. */
async function emptied(io: Io, client: Client, host: string): Promise<void> {
  let said = '';
  while (!io.signal.aborted) {
    const { guests } = await client.getCluster();
    const left = guests.filter((guest) => guest.state === 'running' && guest.host === host);
    const waiting = guests.filter((guest) => guest.state === 'waiting');
    if (left.length === 0) {
      for (const { name, why } of waiting) io.stderr.write(`kage: ${name} waits for a place: ${why}\n`);
      return;
    }
    const line = `kage: ${host} has ${left.length} guests yet\n`;
    if (line !== said) io.stderr.write(line);
    said = line;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

export async function leave(io: Io, platform: Platform, { force = false }: { force?: boolean }): Promise<number> {
  await asked(io, platform, (client) => client.leaveCluster({ force }, { signal: io.signal }));
  return 0;
}

export async function drill(
  io: Io,
  platform: Platform,
  guest: string,
  { method, host, format }: { method?: string; host?: string; format: Format },
): Promise<number> {
  const request = {
    guest,
    ...(method === undefined ? {} : { method: method as NonNullable<DrillRequest['method']> }),
    ...(host === undefined ? {} : { host }),
  };
  const result = await asked(io, platform, (client) => client.drill(request, { signal: io.signal }));
  print(io, format, result, () => {
    const steps = table(
      ['step', 'took'],
      [...result.steps.map(({ step, tookMs }) => [step, timeText(tookMs)]), ['in all', timeText(result.takeoverMs)]],
    );
    const verdict = result.isMet ? 'is met' : 'is missed';
    return (
      `${steps}${result.guest} on ${result.host} by ${result.method}: recovery in ${timeText(result.recoveryMs)}, ` +
      `with what it takes to know that a host is dead; recovery-time=${timeText(result.recoveryTimeMs)} ${verdict}\n`
    );
  });
  return result.isMet ? 0 : 1;
}

export async function credentials(
  io: Io,
  platform: Platform,
  given: string,
  names: readonly string[],
): Promise<number> {
  const folder = resolve(given);
  const made = await asked(io, platform, (client) => client.makeCredentials({ names }));
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const [name, pem] of Object.entries(made)) {
      const file = joinPath(folder, `${name}.pem`);
      writeFileSync(file, pem, { mode: 0o600 });
      chmodSync(file, 0o600);
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorError('bad-usage', `the certificates cannot be written: ${why}`, 'Name another folder', {
      cause,
    });
  }
  io.stdout.write(`${folder}\n`);
  return 0;
}

/** Errors: `no-daemon`. */
async function asked<T>(io: Io, platform: Platform, body: (client: Client) => Promise<T>): Promise<T> {
  return await withApi(io, platform, async (client, { daemon }) => {
    if (!daemon)
      throw new OperatorError(
        'no-daemon',
        'no daemon runs here, and a host is in its cluster by its daemon',
        'Start it with "kage serve"',
      );
    return await body(client);
  });
}

function newcomer(flags: NewcomerFlags): Omit<ClusterInitRequest, 'store'> {
  const { address, name, storeTls, label = [] } = flags;
  const capacity = {
    ...(flags.cores === undefined ? {} : { cores: parseCap(flags.cores, '--cores') }),
    ...(flags.memory === undefined ? {} : { memoryBytes: parseSize(flags.memory, '--memory') }),
    ...(flags.disk === undefined ? {} : { diskBytes: parseSize(flags.disk, '--disk') }),
  };
  return {
    ...(address === undefined ? {} : { address }),
    ...(name === undefined ? {} : { name }),
    ...(storeTls === undefined ? {} : { storeTls: resolve(storeTls) }),
    ...(Object.keys(capacity).length === 0 ? {} : { capacity }),
    ...(label.length === 0 ? {} : { labels: Object.fromEntries(label.map(parseLabel)) }),
  };
}

function parseLabel(label: string): [string, string] {
  const [, key, value] = /^([\w.-]{1,63})=(.*)$/s.exec(label) ?? [];
  if (key !== undefined && value !== undefined) return [key, value];
  throw new OperatorError('bad-usage', `--label ${label} names no label`, 'Write it as --label rack=1');
}

/** `sqlite`, `sqlite:FILE`, `etcd:http://HOST:2379,http://HOST:2379`. */
export function parseStore(text: string): Pick<ClusterInitRequest, 'store'> {
  if (text === 'sqlite') return {};
  const [, kind, rest = ''] = /^(sqlite|etcd):(.+)$/s.exec(text) ?? [];
  if (kind === 'sqlite') return { store: { kind, file: resolve(rest) } };
  const endpoints = rest.split(',');
  const wrong = endpoints.find((one) => !/^https?:\/\/[^\s/]+\/?$/.test(one));
  if (kind === 'etcd' && wrong === undefined) return { store: { kind, endpoints } };
  throw new OperatorError(
    'bad-usage',
    `--store ${wrong === undefined || kind === undefined ? text : wrong} is no store`,
    'Choose sqlite, or members of etcd: etcd:http://10.0.0.11:2379,http://10.0.0.12:2379',
  );
}

const LONGEST_TOKEN = 64 << 10;

async function fromStdin(io: Io): Promise<string> {
  let text = '';
  for await (const piece of io.stdin) {
    text += String(piece);
    if (text.length > LONGEST_TOKEN) break;
  }
  return text.trim();
}

export function statusText({ self, leader, hosts, guests }: Cluster): string {
  const head = `${self.name} is ${self.state === 'in' ? 'in' : self.state}; the store is ${self.store}; ${
    leader === undefined ? 'nobody leads' : `${leader} leads`
  }\n${self.problem === undefined ? '' : `${self.problem}\n`}`;
  const shown = hosts.length === 0 ? '' : `\n${table(HOST_HEADS, hosts.map(hostRow))}`;
  const kept = guests.length === 0 ? '' : `\n${table(GUEST_HEADS, guests.map(guestRow))}`;
  return `${head}${shown}${kept}`;
}

const HOST_HEADS = ['host', 'state', 'guests', 'cores', 'memory', 'address', 'labels'];
const GUEST_HEADS = ['guest', 'state', 'host', 'then', 'priority', 'why', 'missed'];

function hostRow(host: ClusterHost): string[] {
  const { cores, memoryBytes } = host.capacity;
  return [
    host.name,
    host.isLeader ? `${host.state} (leads)` : host.state,
    String(host.guests),
    `${host.usedCores === undefined ? '-' : host.usedCores.toFixed(1)} of ${cores}`,
    `${sizeText(host.memoryBytes)} of ${sizeText(memoryBytes)}`,
    host.address,
    Object.entries(host.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
  ];
}

/** THEN: where it goes, and by which method; the first is in force. */
function guestRow(guest: ClusterGuest): string[] {
  return [
    guest.name,
    guest.state,
    guest.host ?? '-',
    guest.associations.map(({ host, method }) => `${method}:${host}`).join(' ') || '-',
    String(guest.priority),
    guest.why,
    guest.missed.join('; '),
  ];
}

function timeText(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${Number((ms / 1000).toFixed(2))}s`;
}

/**
 * What a host knows of its cluster over restarts: STATE/cluster/cluster.json, for this user alone, beside the certificates. And
 * the token by which another host comes to know the same.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { availableParallelism, hostname, totalmem } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { OperatorError } from '../../base/errors.ts';
import type { Capacity } from '../../cluster/index.ts';
import { capacityLimits, hostLabels, storePlace } from '../schemas/cluster.ts';
import { nameText, path, text } from '../schemas/words.ts';

export const DEFAULT_PORT = 7444;
const SECRET_BYTES = 32;

/** Where the cluster's store is. */
export type StorePlace = z.infer<typeof storePlace>;

const clusterConfig = z.strictObject({
  format: z.literal(1),
  /** This host's name in the cluster. */
  name: nameText,
  /** Of this membership: another host that comes to the name is another one. */
  id: text(64),
  /** HOST:PORT, an IP address: TCP for what hosts ask each other, UDP for heartbeats. */
  address: z.string().refine((value) => isAddress(value)),
  store: storePlace,
  /** A folder with ca.pem, cert.pem, key.pem, as a client of etcd. */
  storeTls: path.exactOptional(),
  /** Base64url. */
  secret: z.string().regex(/^[\w-]{43}$/),
  /** SHA-256 of the authority's certificate, in hexadecimal. */
  authority: z.string().regex(/^[0-9a-f]{64}$/),
  /** As far as they were said; the rest is found out at each start. */
  capacity: capacityLimits,
  labels: hostLabels,
});
export type ClusterConfig = z.infer<typeof clusterConfig>;

const joinToken = z.strictObject({
  secret: clusterConfig.shape.secret,
  store: storePlace,
  authority: clusterConfig.shape.authority,
});
export type JoinToken = z.infer<typeof joinToken>;

/** The folder with all of it; hands certificates to whoever speaks TLS. */
export function clusterFolder(stateFolder: string): string {
  return join(stateFolder, 'cluster');
}

/** Cheap: nothing of the cluster is loaded for it. */
export function hasCluster(stateFolder: string): boolean {
  return existsSync(join(clusterFolder(stateFolder), FILE));
}

const FILE = 'cluster.json';

/** Undefined: this host is in none. Errors: `bad-cluster-config`; the file stays as it is. */
export function readConfig(stateFolder: string): ClusterConfig | undefined {
  const file = join(clusterFolder(stateFolder), FILE);
  if (!existsSync(file)) return undefined;
  const fix = 'Restore it from a copy, or move it away and join again';
  try {
    const read = clusterConfig.safeParse(JSON.parse(readFileSync(file, 'utf8')));
    if (read.success) return read.data;
    const { path: at = [], message = '' } = read.error.issues[0] ?? {};
    throw new Error(`${at.join('.')} ${message}`);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorError('bad-cluster-config', `${file} cannot be used: ${why}`, fix, { cause });
  }
}

export function writeConfig(stateFolder: string, config: ClusterConfig): void {
  writeSecret(clusterFolder(stateFolder), FILE, `${JSON.stringify(config, undefined, 2)}\n`);
}

/** This host is in none any more. What it had of guests stays where it is. */
export function removeConfig(stateFolder: string): void {
  for (const file of [FILE, 'ca.pem', 'cert.pem', 'key.pem'])
    rmSync(join(clusterFolder(stateFolder), file), { force: true });
}

/** In one step, for this user alone; the folder is made where it is missing. */
export function writeSecret(folder: string, name: string, content: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const draft = join(folder, `${name}.new`);
  writeFileSync(draft, content, { mode: 0o600 });
  renameSync(draft, join(folder, name));
}

export function newSecret(): string {
  return randomBytes(SECRET_BYTES).toString('base64url');
}

const TOKEN = 'kage-cluster-1.';

export function tokenText(token: JoinToken): string {
  const { secret, store, authority } = token;
  return TOKEN + Buffer.from(JSON.stringify({ secret, store, authority })).toString('base64url');
}

/** Errors: `bad-join-token`. What is wrong with it is not repeated: it is a secret. */
export function parseToken(given: string): JoinToken {
  const word = given.trim();
  const read =
    word.startsWith(TOKEN) && word.length <= 16 << 10 ? joinToken.safeParse(json(word.slice(TOKEN.length))) : undefined;
  if (read?.success === true) return read.data;
  throw new OperatorError(
    'bad-join-token',
    'that is no join token, or not the whole of it',
    'Have "kage cluster token" print it on a host of the cluster, and copy all of its one line',
  );
}

function json(base64url: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64url, 'base64url').toString());
  } catch {
    return undefined;
  }
}

export interface HostAddress {
  /** An IP address, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** `10.0.0.1`, `10.0.0.1:7444`, `[fd00::1]:7444`. Errors: `bad-address`. */
export function parseHostAddress(given: string): HostAddress {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(given) ?? [];
  const host = bracketed ?? plain ?? given;
  const port = digits === undefined ? DEFAULT_PORT : Number(digits);
  if (isIP(host) !== 0 && port > 0 && port <= 65_535) return { host, port };
  throw new OperatorError(
    'bad-address',
    `${given.slice(0, 200)} is no address that heartbeats could come to`,
    `Write an IP address of this host, with a port if it is not ${DEFAULT_PORT}: 10.0.0.1, 10.0.0.1:7444 or [fd00::1]:7444`,
  );
}

export function addressText({ host, port }: HostAddress): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

function isAddress(value: string): boolean {
  try {
    parseHostAddress(value);
    return true;
  } catch {
    return false;
  }
}

/** The system's, up to its first dot. */
export function defaultName(): string {
  const [first = ''] = hostname().split('.');
  return nameText.safeParse(first).success ? first : 'host';
}

/** Memory less a fifth, which is the host's own; all cores; the disk of that folder. */
export function capacityOf(said: ClusterConfig['capacity'], folder: string): Capacity {
  const { bsize, bavail } = statfsSync(folder);
  return {
    cores: said.cores ?? availableParallelism(),
    memoryBytes: said.memoryBytes ?? Math.floor(totalmem() * 0.8),
    diskBytes: said.diskBytes ?? bsize * bavail,
  };
}

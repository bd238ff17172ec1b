/**
 * What `-netdev KIND,KEY=VALUE...` says, in QEMU's notation where QEMU has it, with what paths need besides: the network an
 * uplink leads to, and how it is watched. Several of them are the uplinks of one interface, the preferred one first.
 */
import { OperatorError } from '../base/errors.ts';
import { parseIpv4 } from './addresses.ts';
import { parseNetdevUser } from './config.ts';
import type { Probing } from './paths/index.ts';

export const NETDEV_KINDS = ['user', 'stream', 'macvtap', 'internal', 'shared'] as const;
export type NetdevKind = (typeof NETDEV_KINDS)[number];

/** Plain data: it travels over control sockets and stands in snapshots. */
export interface NetdevOptions {
  readonly kind: NetdevKind;
  /** The uplink's name. */
  readonly id?: string;
  /** Uplinks and guests that name one network are in one segment. */
  readonly network?: string;
  /** The largest packet, without Ethernet header, 576 to 65535. */
  readonly mtuBytes?: number;
  readonly speedMbps?: number;
  readonly probing?: Probing;
  /** Hosts to ask, IPv4. */
  readonly targets?: readonly string[];
  /** user: QEMU's keys of it, apart from hostfwd: `net=10.1.0.0/16,restrict=on`. */
  readonly user?: string;
  /** macvtap: the device, there already. */
  readonly ifname?: string;
  /** stream: whether we listen; a socket's path, or host and port. */
  readonly server?: boolean;
  readonly path?: string;
  readonly host?: string;
  readonly port?: number;
  /** stream: how long after a loss it is tried again; 0: never. */
  readonly reconnectMs?: number;
}

type Building = { -readonly [K in keyof NetdevOptions]: NetdevOptions[K] };
type Setter = (into: Building, value: string, key: string) => void;

const NAME = /^[\w.-]{1,64}$/;

const common: Readonly<Record<string, Setter>> = {
  id: (into, value, key) => {
    into.id = name(value, key);
  },
  network: (into, value, key) => {
    into.network = name(value, key);
  },
  mtu: (into, value, key) => {
    into.mtuBytes = count(value, key, 576, 65_535);
  },
  speed: (into, value, key) => {
    into.speedMbps = count(value, key, 1, 1_000_000);
  },
  probe: (into, value) => {
    if (value === 'arp' || value === 'mutual' || value === 'none') into.probing = value;
    else throw bad(`probe=${value} is not possible`, 'Write probe=arp, probe=mutual or probe=none');
  },
  target: (into, value) => {
    if (parseIpv4(value) === undefined) throw bad(`target=${value} is no IPv4 address`, 'Write it as target=10.0.0.1');
    into.targets = [...(into.targets ?? []), value];
  },
};

const stream: Readonly<Record<string, Setter>> = {
  server: (into, value, key) => {
    into.server = onOff(value, key);
  },
  'addr.type': (_into, value) => {
    if (value !== 'unix' && value !== 'inet')
      throw bad(`addr.type=${value} is not supported`, 'Write addr.type=unix or addr.type=inet');
  },
  'addr.path': (into, value) => {
    into.path = value;
  },
  'addr.host': (into, value) => {
    into.host = value;
  },
  'addr.port': (into, value, key) => {
    into.port = count(value, key, 0, 65_535);
  },
  'reconnect-ms': (into, value, key) => {
    into.reconnectMs = count(value, key, 0, 3_600_000);
  },
  reconnect: (into, value, key) => {
    into.reconnectMs = 1000 * count(value, key, 0, 3600);
  },
};

/** QEMU's older `-netdev socket`, over TCP. */
const socket: Readonly<Record<string, Setter>> = {
  listen: (into, value) => endpoint(into, value, true),
  connect: (into, value) => endpoint(into, value, false),
};

const macvtap: Readonly<Record<string, Setter>> = {
  ifname: (into, value) => {
    if (!/^[^\s/:]{1,15}$/.test(value)) throw bad(`"${value}" is no name of a device`, 'Write it as ifname=macvtap0');
    into.ifname = value;
  },
};

const KEYS: Readonly<Record<string, { readonly kind: NetdevKind; readonly keys: Readonly<Record<string, Setter>> }>> = {
  stream: { kind: 'stream', keys: { ...common, ...stream } },
  socket: { kind: 'stream', keys: { ...common, ...socket } },
  macvtap: { kind: 'macvtap', keys: { ...common, ...macvtap } },
  internal: { kind: 'internal', keys: common },
  shared: { kind: 'shared', keys: { id: common['id'] as Setter } },
};

/** All kinds but `user`, whose keys config.ts reads. Throws OperatorError `bad-usage`. */
export function parseNetdevOptions(value: string): NetdevOptions {
  const [word = '', ...parts] = value.split(',');
  const known = Object.hasOwn(KEYS, word) ? KEYS[word] : undefined;
  if (known === undefined)
    throw bad(`-netdev ${word} is not supported`, 'Use user, stream, socket, macvtap, internal, shared or none');
  const into: Building = { kind: known.kind };
  for (const part of parts.filter((one) => one !== '')) {
    const [, key = part, text = 'on'] = /^([^=]*)=(.*)$/s.exec(part) ?? [];
    const set = Object.hasOwn(known.keys, key) ? known.keys[key] : undefined;
    if (set === undefined)
      throw bad(`-netdev ${word} does not know ${key}`, `It takes ${Object.keys(known.keys).join(', ')}`);
    set(into, text, key);
  }
  checkNetdev(into);
  return into;
}

/** Of `user`: what paths are concerned with; what is config.ts's, kept as it was written; and ports to be published. */
export function parseUserNetdev(parts: readonly string[]): { netdev: NetdevOptions; hostfwd: readonly string[] } {
  const into: Building = { kind: 'user' };
  const hostfwd: string[] = [];
  const rest = parts.filter((part) => {
    const [, key = '', text = ''] = /^([^=]*)=(.*)$/s.exec(part) ?? [];
    const set = key === 'id' || key === 'network' || key === 'mtu' ? common[key] : undefined;
    set?.(into, text, key);
    if (key === 'hostfwd') hostfwd.push(text);
    return set === undefined && key !== 'hostfwd' && key !== 'model' && part !== '';
  });
  if (rest.length > 0) into.user = rest.join(',');
  parseNetdevUser(into.user ?? '');
  return { netdev: into, hostfwd };
}

/** What options must have, from wherever they come. Throws OperatorError `bad-usage`. */
export function checkNetdev({ kind, id, ifname, path, host, port, probing, targets = [] }: NetdevOptions): void {
  if (kind === 'macvtap' && ifname === undefined)
    throw bad('-netdev macvtap names no device', 'Write it as -netdev macvtap,ifname=macvtap0');
  if (kind === 'shared' && id === undefined)
    throw bad('-netdev shared names no uplink', 'Write it as -netdev shared,id=ID: see "kage net ls"');
  if (kind === 'stream' && (path === undefined) === (port === undefined))
    throw bad(
      '-netdev stream has no address, or two',
      'Write addr.type=unix,addr.path=PATH or addr.type=inet,addr.host=HOST,addr.port=PORT',
    );
  if (kind === 'stream' && path !== undefined && host !== undefined)
    throw bad('-netdev stream has a path and a host', 'Leave one of them out');
  if (probing === 'arp' && targets.length === 0)
    throw bad('there is no host to ask', 'Write target=ADDRESS, or probe=mutual');
}

function endpoint(into: Building, value: string, server: boolean): void {
  const [, host = '', port = ''] = /^(?:([^:]*):)?(\d+)$/.exec(value) ?? [];
  if (port === '') throw bad(`${value} is no address`, 'Write it as connect=HOST:PORT or listen=:PORT');
  into.server = server;
  if (host !== '') into.host = host;
  into.port = count(port, 'port', 0, 65_535);
}

function bad(what: string, fix: string): OperatorError {
  return new OperatorError('bad-usage', what, fix);
}

function name(value: string, key: string): string {
  if (NAME.test(value)) return value;
  throw bad(`${key}=${value} is no name`, 'Use letters, digits, dots, hyphens and underscores, at most 64');
}

function count(value: string, key: string, least: number, most: number): number {
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw bad(`${key}=${value} is not a number from ${least} to ${most}`, `Give one, as in ${key}=${least}`);
}

function onOff(value: string, key: string): boolean {
  if (value === 'on' || value === 'off') return value === 'on';
  throw bad(`${key}=${value} is neither on nor off`, `Write ${key}=on or ${key}=off`);
}

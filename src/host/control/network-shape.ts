/** The shapes of what is said of a machine's networks, for the protocol: uplinks, the table, its events. */
import {
  type InterfaceReport,
  NETDEV_KINDS,
  type NetdevOptions,
  type NetReport,
  PATH_EVENTS,
  type PathEvent,
  type UplinkReport,
} from '../../network/index.ts';
import type { NetChange } from '../machine/machine-api.ts';
import { integer, listOf, mapOf, number, oneOf, optional, record, type Shape, text, truth } from './shape.ts';

const MOST_PORTS = 1024;
const MOST_EVENTS = 1024;
const PATH = 4096;
/** A guest's name, a stroke, an id. */
const portName = text(160);
const count = integer(0, Number.MAX_SAFE_INTEGER);
const moment = number(0, Number.MAX_SAFE_INTEGER);

export const failback = oneOf('always', 'better', 'failure');

export const netdevOptions: Shape<NetdevOptions> = record({
  kind: oneOf(...NETDEV_KINDS),
  id: optional(portName),
  network: optional(text(64)),
  mtuBytes: optional(integer(576, 65_535)),
  speedMbps: optional(integer(1, 1_000_000)),
  probing: optional(oneOf('arp', 'mutual', 'none')),
  targets: optional(listOf(text(15), 16)),
  user: optional(text(PATH)),
  ifname: optional(text(15)),
  server: optional(truth),
  path: optional(text(PATH)),
  host: optional(text(255)),
  port: optional(integer(0, 65_535)),
  reconnectMs: optional(integer(0, 3_600_000)),
});

export const netChange: Shape<NetChange> = record({
  action: oneOf('map', 'unmap', 'prefer', 'add', 'failover'),
  interface: optional(portName),
  uplinks: optional(listOf(portName, 16)),
  netdev: optional(netdevOptions),
  on: optional(truth),
});

const counters = mapOf(count, 64) as Shape<unknown>;

const interfaceReport = record({
  name: portName,
  network: portName,
  mac: optional(text(17)),
  uplinks: listOf(portName, 16),
  inForce: optional(portName),
  sinceWallMs: moment,
  why: text(PATH),
  failback,
  linkUp: truth,
  addresses: count,
  counters: counters as Shape<InterfaceReport['counters']>,
}) satisfies Shape<InterfaceReport>;

const uplinkReport = record({
  name: portName,
  kind: text(32),
  network: portName,
  condition: oneOf('up', 'recovering', 'warming', 'silent', 'down'),
  probing: oneOf('arp', 'mutual', 'none'),
  targets: listOf(text(15), 16),
  mtuBytes: count,
  interfaces: listOf(portName, MOST_PORTS),
  counters: counters as Shape<UplinkReport['counters']>,
}) satisfies Shape<UplinkReport>;

export const netReport: Shape<NetReport> = record({
  failover: truth,
  interfaces: listOf(interfaceReport, MOST_PORTS),
  uplinks: listOf(uplinkReport, MOST_PORTS),
});

const pathEvent: Shape<PathEvent> = record({
  sequence: count,
  wallMs: moment,
  kind: oneOf(...PATH_EVENTS),
  subject: portName,
  from: optional(portName),
  to: optional(portName),
  cause: text(PATH),
});

export const netEvents: Shape<{ readonly events: readonly PathEvent[] }> = record({
  events: listOf(pathEvent, MOST_EVENTS),
});

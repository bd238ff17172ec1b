/**
 * Heartbeats as a drawing's geometry: hosts stand on a ring, a line for each two masters that exchange heartbeats, and in each
 * host its guests, whose slaves' beats go round inside. Lines are the cluster's whole traffic: guests add none. Pure.
 */
import { isIn } from './lines.ts';
import type { ClusterReport, GuestLine, HostLine, PeerLine } from './report.ts';

export const BOX = { width: 150, height: 84 } as const;
const SIZE = { width: 640, least: 300, perHost: 46, most: 560 } as const;
/** More hosts than that are not drawn: this one, its peers and theirs are. */
const MOST_HOSTS = 8;
const MOST_DOTS = 9;

export interface DrawnHost {
  readonly name: string;
  readonly isSelf: boolean;
  readonly isLeader: boolean;
  /** `up`, `suspected`, `down`. */
  readonly condition: string;
  readonly detail: string;
  /** A dot for each slave: of a guest that runs here, of a standby, which hears nothing; at most some. */
  readonly dots: readonly ('active' | 'standby')[];
  readonly moreDots: number;
  readonly x: number;
  readonly y: number;
}

export interface DrawnExchange {
  readonly from: string;
  readonly to: string;
  /** measured: one end is this host, whose counters are seen here. silent: nothing is heard. */
  readonly kind: 'measured' | 'unseen' | 'silent';
  readonly label: string;
  readonly path: string;
  readonly x: number;
  readonly y: number;
}

export interface RingDrawing {
  readonly width: number;
  readonly height: number;
  readonly hosts: readonly DrawnHost[];
  readonly exchanges: readonly DrawnExchange[];
  readonly left: number;
  readonly sentence: string;
}

/** `sentPerS`, `receivedPerS`: heartbeats between hosts, of this host; undefined until two polls were made. */
export function ringDrawing(
  report: ClusterReport,
  rates: { readonly sentPerS?: number | undefined; readonly receivedPerS?: number | undefined } = {},
): RingDrawing {
  const { name: self } = report.self;
  const peers = report.heartbeats?.peers ?? [];
  const all = ringOrder(report.hosts.filter((host) => isIn(host) || host.state === 'fenced'));
  const shown = all.length <= MOST_HOSTS ? all : around(all, self);
  const height = Math.min(SIZE.most, Math.max(SIZE.least, shown.length * SIZE.perHost + 140));
  const center = { x: SIZE.width / 2, y: height / 2 };
  const radius = { x: (SIZE.width - BOX.width) / 2 - 4, y: (height - BOX.height) / 2 - 4 };
  const hosts = shown.map((host, i): DrawnHost => {
    const angle = (i / shown.length) * 2 * Math.PI - Math.PI / 2;
    const isAlone = shown.length === 1;
    const peer = peers.find((one) => one.host === host.name);
    const dots = dotsOf(report.guests, host.name);
    return {
      ...{ name: host.name, isSelf: host.name === self, isLeader: host.isLeader },
      condition: !isIn(host) ? 'down' : peer?.isSuspected === true ? 'suspected' : 'up',
      detail: detailOf(host, peer),
      ...{ dots: dots.slice(0, MOST_DOTS), moreDots: Math.max(0, dots.length - MOST_DOTS) },
      x: center.x + (isAlone ? 0 : radius.x * Math.cos(angle)) - BOX.width / 2,
      y: center.y + (isAlone ? 0 : radius.y * Math.sin(angle)) - BOX.height / 2,
    };
  });
  const exchanges = exchangesOf(report, hosts, rates);
  return {
    ...{ width: SIZE.width, height, hosts, exchanges, left: all.length - shown.length },
    sentence: sentenceOf(report, rates),
  };
}

/** In the order of the ring: the first of a host's peers is its neighbour. */
export function ringOrder(hosts: readonly HostLine[]): HostLine[] {
  const byName = new Map(hosts.map((host) => [host.name, host]));
  const order: HostLine[] = [];
  for (let at = hosts.find(({ peers }) => peers.length > 0); at !== undefined && !order.includes(at); ) {
    order.push(at);
    at = byName.get(at.peers[0] ?? '');
  }
  return [...order, ...hosts.filter((host) => !order.includes(host))];
}

function around(all: readonly HostLine[], self: string): HostLine[] {
  const peers = new Set(all.find(({ name }) => name === self)?.peers);
  return all.filter(({ name }) => name === self || peers.has(name)).slice(0, MOST_HOSTS);
}

function dotsOf(guests: readonly GuestLine[], host: string): ('active' | 'standby')[] {
  const active = guests.filter((guest) => guest.state === 'running' && guest.host === host);
  const standbys = guests.filter(({ state, associations: [first] }) => {
    return state === 'running' && first?.host === host && first.method === 'pair';
  });
  return [...active.map(() => 'active' as const), ...standbys.map(() => 'standby' as const)];
}

function detailOf(host: HostLine, peer: PeerLine | undefined): string {
  if (!isIn(host)) return host.state;
  if (peer?.isSuspected === true) return 'silent';
  const guests = `${host.guests} guest${host.guests === 1 ? '' : 's'}`;
  const notWell = peer?.last?.notWell ?? 0;
  return notWell > 0 ? `${guests}, ${notWell} not well` : guests;
}

function exchangesOf(
  { hosts, heartbeats }: ClusterReport,
  drawn: readonly DrawnHost[],
  { sentPerS, receivedPerS }: { readonly sentPerS?: number | undefined; readonly receivedPerS?: number | undefined },
): DrawnExchange[] {
  const exchanges: DrawnExchange[] = [];
  // Each peer is sent as many, and each that is heard sends as many.
  const peers = heartbeats?.peers ?? [];
  const told = Math.max(1, peers.length);
  const heard = Math.max(1, peers.filter(({ isSuspected }) => !isSuspected).length);
  for (const [i, from] of drawn.entries())
    for (const to of drawn.slice(i + 1)) {
      const isPeer = hosts.find(({ name }) => name === from.name)?.peers.includes(to.name) === true;
      if (!isPeer) continue;
      const isMine = from.isSelf || to.isSelf;
      const isSilent = from.condition !== 'up' || to.condition !== 'up';
      const label =
        isMine && sentPerS !== undefined && receivedPerS !== undefined
          ? `${(sentPerS / told + (isSilent ? 0 : receivedPerS / heard)).toFixed(1)}/s`
          : '';
      const [x1, y1] = [from.x + BOX.width / 2, from.y + BOX.height / 2];
      const [x2, y2] = [to.x + BOX.width / 2, to.y + BOX.height / 2];
      exchanges.push({
        ...{ from: from.name, to: to.name, kind: isSilent ? 'silent' : isMine ? 'measured' : 'unseen', label },
        ...{ path: `M${x1} ${y1}L${x2} ${y2}`, x: (x1 + x2) / 2, y: (y1 + y2) / 2 },
      });
    }
  return exchanges;
}

function sentenceOf(
  { self: { name: host }, hosts, guests, heartbeats }: ClusterReport,
  { sentPerS }: { readonly sentPerS?: number | undefined },
): string {
  if (heartbeats === undefined) return `${host} does not take part yet.`;
  const { peers, beatMs, slaves } = heartbeats;
  if (peers.length === 0) return `${host} is alone: it has nobody to exchange heartbeats with.`;
  const silent = peers.filter(({ isSuspected }) => isSuspected).map((one) => one.host);
  const measured = sentPerS === undefined ? '' : `, ${sentPerS.toFixed(1)} packets/s measured`;
  const inNow = hosts.filter(isIn).length;
  return [
    `${host}, one of ${inNow} hosts, sends a heartbeat to ${peers.length} of them each ${beatMs} ms${measured}, for all of its ${slaves} slaves together`,
    ...(silent.length > 0 ? [`it does not hear ${silent.join(', ')}`] : []),
    `the ${guests.length} guests of the cluster add nothing to that`,
  ]
    .join('; ')
    .concat('.');
}

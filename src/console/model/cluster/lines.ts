/** Hosts, guests and methods as rows that people read. Pure; pages make tables of them. */
import type { DrillResult } from '../../../client/index.ts';
import { bytes } from '../format.ts';
import type { Association, ClusterReport, GuestLine, HostLine, MethodLine, PeerLine } from './report.ts';

export interface HostRow {
  readonly name: string;
  /** `active`, `fenced` ..., or `suspected`: this host does not hear it. */
  readonly state: string;
  readonly isIn: boolean;
  readonly isDraining: boolean;
  /** `leader`, `this host`. */
  readonly roles: readonly string[];
  readonly guests: number;
  readonly cores: string;
  readonly memory: string;
  readonly lease: string;
  /** 0 to 1, of its memory; for a bar. */
  readonly memoryPart: number;
  readonly corePart: number | undefined;
}

const IN: readonly HostLine['state'][] = ['active', 'draining', 'quarantined'];

export function isIn({ state }: Pick<HostLine, 'state'>): boolean {
  return IN.includes(state);
}

export function hostRows({ self, hosts, heartbeats }: ClusterReport): HostRow[] {
  return hosts.map((host) => {
    const peer = heartbeats?.peers.find((one) => one.host === host.name);
    const { capacity, usedCores } = host;
    const leaseMs = host.name === self.name ? self.leaseLeftMs : peerLeaseMs(peer);
    return {
      name: host.name,
      state: isIn(host) && peer?.isSuspected === true ? 'suspected' : host.state,
      ...{ isIn: isIn(host), isDraining: host.state === 'draining' },
      roles: [...(host.isLeader ? ['leader'] : []), ...(host.name === self.name ? ['this host'] : [])],
      guests: host.guests,
      cores: usedCores === undefined ? '' : `${tenths(usedCores)} of ${tenths(capacity.cores)} cores`,
      memory: `${bytes(host.memoryBytes)} of ${bytes(capacity.memoryBytes)}`,
      lease: !isIn(host) ? 'none' : leaseMs === undefined ? 'not told here' : seconds(leaseMs),
      memoryPart: part(host.memoryBytes, capacity.memoryBytes),
      corePart: usedCores === undefined ? undefined : part(usedCores, capacity.cores),
    };
  });
}

/** What its last heartbeat said, less the silence since. */
function peerLeaseMs(peer: PeerLine | undefined): number | undefined {
  return peer?.last === undefined ? undefined : Math.max(0, peer.last.leaseLeftMs - peer.silentMs);
}

function part(of: number, whole: number): number {
  return whole <= 0 ? 0 : Math.min(1, of / whole);
}

function tenths(value: number): string {
  return String(Math.round(value * 10) / 10);
}

export function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}

export function associationText({ host, method }: Association): string {
  return `${method} on ${host}`;
}

/** What it asks for: `back in 5 s, loses nothing, half of its cores`. */
export function needsText({ requirements }: GuestLine): string {
  const { recoveryTimeMs, dataLossMs, performanceFloor } = requirements;
  const loss = dataLossMs === undefined ? 'may lose its memory' : lossText(dataLossMs);
  return `back in ${seconds(recoveryTimeMs)}, ${loss}, ${Math.round(performanceFloor * 100)} % of its cores`;
}

export function lossText(ms: number | undefined): string {
  if (ms === undefined) return 'loses its memory';
  return ms === 0 ? 'loses nothing' : `loses up to ${seconds(ms)}`;
}

/** What a drill measured, in a sentence. */
export function drillSentence({ guest, host, method, recoveryMs, recoveryTimeMs, isMet }: DrillResult): string {
  const needs = `the ${seconds(recoveryTimeMs)} that it needs`;
  return `${guest} would be back ${seconds(recoveryMs)} after its host's death, ${method} on ${host}: ${isMet ? 'within' : 'not within'} ${needs}.`;
}

/** Guests that have no place, the most urgent first. */
export function waiting({ guests }: ClusterReport): GuestLine[] {
  return guests.filter(({ state }) => state === 'waiting').sort((a, b) => b.priority - a.priority);
}

/** For who looks at nothing else: `3 hosts are in; 2 guests run, 1 waits; a leads.` */
export function summary(report: ClusterReport): string {
  const { hosts, guests, leader } = report;
  const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`;
  const inNow = hosts.filter(isIn).length;
  const away = hosts.length - inNow;
  const states = (['running', 'moving', 'waiting', 'stopped'] as const)
    .map((state) => [state, guests.filter((guest) => guest.state === state).length] as const)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`);
  const unmet = guests.filter(({ missed }) => missed.length > 0).length;
  return [
    `${counted(inNow, 'host')} in${away > 0 ? `, ${away} not` : ''}`,
    guests.length === 0 ? 'no guests' : `${counted(guests.length, 'guest')}: ${states.join(', ')}`,
    ...(unmet > 0 ? [`${counted(unmet, 'guest')} with needs that are not met`] : []),
    leader === undefined ? 'nobody leads' : `${leader} leads`,
  ].join(' · ');
}

export interface MethodRow {
  readonly method: string;
  /** `in force`, `being made`, `fixed to another`, `not among its methods`, `would do`, `does not do`. */
  readonly standing: string;
  readonly isInForce: boolean;
  readonly recovery: string;
  readonly loss: string;
  readonly speed: string;
  /** Held on the other host. */
  readonly takes: string;
  readonly traffic: string;
  readonly price: string;
  readonly missed: readonly string[];
  /** 0 to 1, of the longest among the methods and the requirement. */
  readonly recoveryPart: number;
  readonly pricePart: number;
}

export interface MethodTable {
  readonly rows: readonly MethodRow[];
  /** Where the requirement stands among the bars, 0 to 1. */
  readonly limitPart: number;
  readonly sentence: string;
}

export function methodTable(guest: GuestLine): MethodTable {
  const { methods, requirements, associations, name, why } = guest;
  const longest = Math.max(requirements.recoveryTimeMs, ...methods.map(({ recoveryMs }) => recoveryMs), 1);
  const dearest = Math.max(...methods.map(({ price }) => price), 1e-9);
  const inForce = associations[0]?.method;
  const rows = methods.map((one): MethodRow => {
    const taken = [
      ...(one.memoryBytes > 0 ? [`${bytes(one.memoryBytes)} of memory`] : []),
      ...(one.diskBytes > 0 ? [`${bytes(one.diskBytes)} of disk`] : []),
      ...(one.cores > 0 ? [`${one.cores.toFixed(2)} cores`] : []),
    ];
    return {
      method: one.method,
      standing: standingOf(one, guest),
      isInForce: one.method === inForce,
      recovery: seconds(one.recoveryMs),
      loss: lossText(one.lossMs),
      speed: `${Math.round(one.speed * 100)} %`,
      takes: taken.join(', ') || 'nothing',
      traffic: one.bytesPerS > 0 ? `${bytes(one.bytesPerS)}/s` : 'none',
      price: one.price.toFixed(2),
      missed: one.missed,
      recoveryPart: one.recoveryMs / longest,
      pricePart: one.price / dearest,
    };
  });
  const chosen = inForce === undefined ? `no method is in force for ${name}` : `${inForce} is in force for ${name}`;
  const each = rows.map(({ method, recovery, price }) => `${method} takes ${recovery} at a price of ${price}`);
  return {
    rows,
    limitPart: requirements.recoveryTimeMs / longest,
    sentence: `${chosen}${why === '' ? '' : `: ${why}`}. It may take ${seconds(requirements.recoveryTimeMs)}; ${each.join(', ')}.`,
  };
}

function standingOf({ method, missed, isAllowed }: MethodLine, { associations, next, fixed }: GuestLine): string {
  if (associations[0]?.method === method) return 'in force';
  if (next?.method === method) return 'being made';
  if (!isAllowed) return fixed === undefined ? 'not among its methods' : `fixed to ${fixed}`;
  return missed.length === 0 ? 'would do' : 'does not do';
}

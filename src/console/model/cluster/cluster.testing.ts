/** A cluster of three hosts as its API tells of it, for tests. */
import type { Event } from '../../../client/index.ts';
import type { ClusterReport, GuestLine, HostLine, Method, MethodLine } from './report.ts';

const GIB = 2 ** 30;

export function hostLine(name: string, change: Partial<HostLine> = {}): HostLine {
  return {
    ...{ name, incarnation: 1, state: 'active', address: '10.0.0.1:7444', labels: {}, fences: 0, isLeader: false },
    capacity: { cores: 8, memoryBytes: 32 * GIB, diskBytes: 500 * GIB },
    ...{ usedCores: 2.04, guests: 1, memoryBytes: 4 * GIB, peers: [] },
    ...change,
  };
}

function methodLine(method: Method, recoveryMs: number, price: number, missed: string[] = []): MethodLine {
  return {
    ...{ method, recoveryMs, price, missed, speed: 1, everyMs: 0, isAllowed: method !== 'pair' },
    ...{ memoryBytes: method === 'hot' ? GIB : 0, diskBytes: method === 'warm' ? GIB : 0, cores: 0, bytesPerS: 0 },
    ...(method === 'hot' ? { lossMs: 0 } : method === 'warm' ? { lossMs: 5050 } : {}),
  };
}

export function guestLine(name: string, change: Partial<GuestLine> = {}): GuestLine {
  return {
    ...{ name, wanted: 'running', priority: 5, state: 'running', host: 'a', generation: 3, missed: [] },
    associations: [
      { host: 'b', method: 'hot' },
      { host: 'c', method: 'cold' },
    ],
    why: 'hot on b: cold takes 24.1 s, recoveryTime is 5 s',
    requirements: { recoveryTimeMs: 5000, dataLossMs: 0, performanceFloor: 0.5, priority: 5 },
    methods: [
      methodLine('cold', 24_100, 0, ['cold takes 24.1 s, recoveryTime is 5 s']),
      methodLine('warm', 6100, 0.2, ['warm takes 6.1 s, recoveryTime is 5 s']),
      methodLine('hot', 4300, 1.3),
      methodLine('pair', 4100, 2.5),
    ],
    isMeasured: true,
    ...change,
  };
}

const NONE = { packets: 0, bytes: 0 };

export function clusterReport(change: Partial<ClusterReport> = {}): ClusterReport {
  const peers = { a: ['b', 'c'], b: ['c', 'a'], c: ['a', 'b'] };
  return {
    leader: 'b',
    self: {
      ...{ name: 'a', address: '10.0.0.1:7444', store: 'etcd', state: 'in', incarnation: 1, leaseLeftMs: 2140 },
    },
    hosts: [
      hostLine('a', { peers: peers.a }),
      hostLine('b', { peers: peers.b, isLeader: true, guests: 0, memoryBytes: 0 }),
      hostLine('c', { peers: peers.c, guests: 0, memoryBytes: 0 }),
    ],
    guests: [guestLine('web')],
    heartbeats: {
      ...{ mode: 'constant', beatMs: 250, slaves: 1 },
      counters: {
        broken: 0,
        sent: { beat: { packets: 800, bytes: 51_200 }, pull: NONE, details: NONE, direct: NONE },
        received: { beat: { packets: 790, bytes: 50_560 }, pull: NONE, details: NONE, direct: NONE },
        ...{ intervals: 400, localBeats: 100, ordersToActive: 0, ordersToStandby: 0 },
        ...{ beatsToStandby: 0, suspicions: 0 },
      },
      peers: ['b', 'c'].map((host) => ({
        ...{ host, silentMs: 100, isSuspected: false },
        last: { guests: 0, notWell: 0, leaseLeftMs: 2300 },
      })),
    },
    ...change,
  };
}

const BEGAN = Date.parse('2026-11-28T12:00:00.000Z');

/** An event of the cluster, so long after the beginning. */
export function told(atMs: number, event: string, detail: object, partition?: string): Event {
  return {
    ...{ id: 1 + atMs, at: new Date(BEGAN + atMs).toISOString(), kind: 'cluster' },
    ...(partition === undefined ? {} : { partition }),
    detail: { event, ...detail },
  };
}

/** Host a is lost; b, which tells, leads and takes its guest. */
export function takeover(guest = 'web'): Event[] {
  return [
    told(1200, 'suspected', { host: 'a', silentMs: 1200 }),
    told(3300, 'fenced', { host: 'a', silentMs: 2760 }),
    told(3340, 'planned', { host: 'a', guests: 1 }),
    told(3400, 'claimed', { host: 'b', generation: 4, from: 'a' }, guest),
    told(3430, 'gate-raised', { host: 'b', generation: 4 }, guest),
    told(3431, 'starting', { host: 'b', generation: 4, detail: 'hot' }, guest),
    told(3560, 'started', { host: 'b', generation: 4, detail: 'hot' }, guest),
    told(3900, 'first-beat', { host: 'b', generation: 4 }, guest),
  ];
}

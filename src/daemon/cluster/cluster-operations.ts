/** What an operator does with a cluster that this host is in: looks at it, drains hosts, leaves, hands out credentials. */
import { OperatorError } from '../../base/errors.ts';
import {
  change,
  decode,
  find,
  type GuestLine,
  HOST,
  heartbeatReport,
  isIn,
  keyOf,
  type Master,
} from '../../cluster/index.ts';
import type { ClusterReport } from '../schemas/cluster.ts';
import type { ClusterHistory } from '../schemas/partition.ts';
import type { Store } from '../store/index.ts';
import { AUTHORITY, certifyOther, type HostCertificates, unseal } from './certificates.ts';
import { noClusterThere } from './cluster-acts.ts';
import type { ClusterConfig } from './cluster-config.ts';
import { clusterHistory } from './cluster-history.ts';
import type { ClusterMember } from './member.ts';
import { MEMBER } from './member-record.ts';
import { placeText, readStore, transact } from './store-access.ts';

type Guest = ClusterReport['guests'][number];

/** Errors: `store-unreachable` where nothing was ever heard of the store. */
export async function reportOf(member: ClusterMember): Promise<ClusterReport> {
  const { config } = member;
  const { mirror } = member.view;
  const { leader, hosts, guests } = await member.view.status();
  const problem =
    member.problem ?? (mirror.problem === undefined ? undefined : `the store does not answer: ${mirror.problem}`);
  return {
    self: {
      ...{ name: config.name, address: config.address, store: placeText(config.store), state: member.state },
      ...{ incarnation: member.director?.incarnation ?? 0, leaseLeftMs: Math.round(member.leaseLeftMs) },
      ...(problem === undefined ? {} : { problem }),
    },
    ...(leader === undefined ? {} : { leader }),
    hosts: hosts.flatMap(({ usedCores, state, labels, peers, ...host }) => {
      const used = usedCores === undefined ? {} : { usedCores };
      return state === 'left' ? [] : [{ ...host, state, labels: { ...labels }, peers: [...peers], ...used }];
    }),
    guests: guests.map(guestOf),
    ...(member.director === undefined ? {} : { heartbeats: heartbeatsOf(member.director.master) }),
  };
}

function guestOf({ host, associations, missed, next, group, fixed, methods, ...guest }: GuestLine): Guest {
  return {
    ...guest,
    associations: associations.map((one) => ({ ...one })),
    missed: [...missed],
    methods: methods.map(({ lossMs, missed: of, ...one }) => ({
      ...{ ...one, missed: [...of] },
      ...(lossMs === undefined ? {} : { lossMs }),
    })),
    ...(host === undefined ? {} : { host }),
    ...(next === undefined ? {} : { next: { ...next } }),
    ...(group === undefined ? {} : { group }),
    ...(fixed === undefined ? {} : { fixed }),
  };
}

function heartbeatsOf(master: Master): NonNullable<ClusterReport['heartbeats']> {
  const { peers, ...report } = heartbeatReport(master);
  return {
    ...report,
    peers: peers.map(({ last, ...peer }) => ({ ...peer, ...(last === undefined ? {} : { last: { ...last } }) })),
  };
}

/** The switch of mechanism 7, of this host. Errors: `not-joined`. */
export function setHeartbeats(member: ClusterMember, mode: Master['heartbeats']): void {
  if (member.director === undefined)
    throw new OperatorError('not-joined', 'this host has not joined yet: the store does not answer', 'Try again');
  member.director.master.heartbeats = mode;
}

/** Events of all hosts that are in. */
export async function historyOf(member: ClusterMember, store: Store, signal: AbortSignal): Promise<ClusterHistory> {
  const { name: self, channel } = member;
  const { hosts } = await member.view.status();
  const others = hosts.filter((host) => host.name !== self && isIn(host, host.incarnation)).map(({ name }) => name);
  return await clusterHistory({ self, hosts: others, store, channel }, signal);
}

/** Of one that could not be opened. */
export function reportClosed({ name, address, store }: ClusterConfig, problem: string): ClusterReport {
  const self = {
    name,
    address,
    store: placeText(store),
    state: 'opening' as const,
    incarnation: 0,
    leaseLeftMs: 0,
    problem,
  };
  return { self, hosts: [], guests: [] };
}

/** Errors: `no-such-host`, `host-away`. */
export async function drainHost(member: ClusterMember, name: string, undo: boolean): Promise<void> {
  await transact(member.store, { keys: [keyOf(HOST, name)] }, (entries) => {
    const { value, revision } = find(entries, HOST, name);
    if (value === undefined || value.state === 'left')
      throw new OperatorError('no-such-host', `the cluster has no host ${name}`, 'See "kage cluster status"');
    if (!isIn(value, value.incarnation))
      throw new OperatorError(
        'host-away',
        `the host ${name} was fenced and has nothing to give up`,
        'See "kage cluster status"',
      );
    const to = undo ? (value.state === 'draining' ? 'active' : value.state) : 'draining';
    return value.state === to ? undefined : change({ value, revision }, { state: to });
  });
  const state = undo ? 'active' : 'draining';
  await member.view.mirror.until(
    () => decode(HOST, member.view.mirror.get(keyOf(HOST, name))?.value)?.state === state,
    2000,
  );
}

/** Resolves when this host has given its guests up, and its name. Errors: `last-host`. */
export async function leaveCluster(member: ClusterMember): Promise<void> {
  const { hosts, guests } = await member.view.status();
  const others = hosts.filter((host) => host.name !== member.name && isIn(host, host.incarnation));
  const wanted = guests.filter((guest) => guest.wanted === 'running');
  if (others.length === 0 && wanted.length > 0)
    throw new OperatorError(
      'last-host',
      `nobody would be left to run ${wanted
        .map(({ name }) => name)
        .slice(0, 5)
        .join(', ')}`,
      'Stop them first, or have another host join; --force forgets them here',
    );
  await member.leave();
  await transact(member.store, { keys: [keyOf(MEMBER, member.name)] }, (entries) => {
    const { value, revision } = find(entries, MEMBER, member.name);
    if (value?.id !== member.config.id) return undefined;
    const key = keyOf(MEMBER, member.name);
    return { compares: [{ key, revision }], deletes: [key] };
  });
}

export async function credentialsOf(member: ClusterMember, names: readonly string[]): Promise<HostCertificates> {
  const { secret, authority } = member.config;
  const record = find(await readStore(member.store, { keys: [keyOf(AUTHORITY)] }), AUTHORITY).value;
  if (record === undefined) throw noClusterThere();
  return certifyOther(unseal(record, secret, authority), names);
}

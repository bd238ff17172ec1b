/** The cluster as people operate it: how a host comes into it, what it says of hosts and guests, drills. */
import * as z from 'zod';
import { association, heartbeatReport, methodLine, requirements } from './cluster-lines.ts';
import { count, moment, nameText, path, text } from './words.ts';

const method = z.enum(['cold', 'warm', 'hot', 'pair']);

const etcdUrl = z
  .string()
  .max(1024)
  .regex(/^https?:\/\/[^\s/]+\/?$/, 'is no address of a member: http://HOST:PORT');

export const storePlace = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('sqlite'), file: path }),
    z.strictObject({ kind: z.literal('etcd'), endpoints: z.array(etcdUrl).min(1).max(16) }),
  ])
  .meta({ id: 'ClusterStore', description: "Where the cluster's store is: a file, for one host, or members of etcd." });

const amount = z
  .number()
  .gt(0)
  .max(2 ** 60);
export const capacityLimits = z
  .strictObject({
    cores: amount.describe('All by default.').exactOptional(),
    memoryBytes: amount.describe('By default its memory less a fifth.').exactOptional(),
    diskBytes: amount.describe("By default what is free where the daemon's state is.").exactOptional(),
  })
  .meta({ id: 'ClusterCapacity', description: 'What guests may have of a host.' });
export const hostLabels = z.record(z.string().regex(/^[\w.-]{1,63}$/, 'is no label'), text(255));

const newcomer = {
  name: nameText.describe("The system's name by default.").exactOptional(),
  storeTls: path.describe('A folder with ca.pem, cert.pem, key.pem, as a client of etcd.').exactOptional(),
  capacity: capacityLimits.exactOptional(),
  labels: hostLabels.exactOptional(),
};
const address = text(128).describe(
  'An IP address of this host, with a port if it is not 7444: 10.0.0.1, [fd00::1]:7444.',
);

export const initRequest = z
  .strictObject({
    address: address.describe('127.0.0.1 by default.').exactOptional(),
    store: storePlace.describe("By default a file in the daemon's state: a cluster of one host.").exactOptional(),
    ...newcomer,
  })
  .meta({ id: 'ClusterInitRequest' });
export type InitRequest = z.infer<typeof initRequest>;

export const joinRequest = z
  .strictObject({
    token: text(32 << 10).describe('What "kage cluster token" prints. A secret.'),
    address: address.exactOptional(),
    replace: z.boolean().describe('Take the name of a host that is gone for good.').exactOptional(),
    ...newcomer,
  })
  .meta({ id: 'ClusterJoinRequest' });
export type JoinRequest = z.infer<typeof joinRequest>;

export const tokenResult = z
  .object({ name: nameText.describe("This host's in the cluster."), token: text(32 << 10) })
  .meta({ id: 'ClusterToken', description: 'What another host joins with: a secret.' });

export const leaveRequest = z
  .strictObject({
    force: z
      .boolean()
      .describe('Forget the cluster without a word to it; also where this is the last host, and has guests.')
      .exactOptional(),
  })
  .meta({ id: 'ClusterLeaveRequest' });

export const drainRequest = z
  .strictObject({ undo: z.boolean().describe('It takes guests again.').exactOptional() })
  .meta({ id: 'ClusterDrainRequest' });

export const credentialsRequest = z
  .strictObject({
    names: z
      .array(z.string().regex(/^[\w.:-]{1,253}$/, 'is neither a name nor an address'))
      .min(1)
      .max(16),
  })
  .meta({
    id: 'ClusterCredentialsRequest',
    description: 'Names and addresses by which it is called, the first its own.',
  });
export const credentials = z
  .object({ ca: text(1 << 16), cert: text(1 << 16), key: text(1 << 16) })
  .meta({ id: 'ClusterCredentials', description: 'PEM, for what speaks TLS with hosts of the cluster: a gate.' });

const hostLine = z
  .object({
    name: text(64),
    state: z.enum(['active', 'draining', 'quarantined', 'fenced']),
    isLeader: z.boolean(),
    address: text(),
    incarnation: count,
    capacity: z.object({ cores: z.number(), memoryBytes: z.number(), diskBytes: z.number() }),
    usedCores: z.number().describe('By all, guests included; where it is in.').exactOptional(),
    guests: count,
    memoryBytes: z.number().describe("Its guests'."),
    labels: z.record(z.string(), text()),
    fences: count.describe('How often it was fenced lately.'),
    peers: z.array(text(64)).describe('Hosts with which it exchanges heartbeats, its neighbour on the ring first.'),
  })
  .meta({ id: 'ClusterHost', description: 'A host of the cluster.' });

const guestStates = ['running', 'moving', 'waiting', 'stopped'] as const;
const guestLine = z
  .object({
    name: text(64),
    wanted: z.enum(['running', 'stopped']),
    state: z
      .enum(guestStates)
      .describe(
        '`running`: a host has it. `moving`: it is given to one. `waiting`: there is no place, and `why` says why.',
      ),
    host: text(64).exactOptional(),
    generation: count,
    priority: z.number(),
    associations: z.array(association).describe('Where it goes, and how, when its host fails; the first is in force.'),
    why: text().describe('Of the first association, or of the waiting.'),
    missed: z.array(text()).describe('Requirements that nothing meets.'),
    next: association.describe('One that shall be in force once it is ready.').exactOptional(),
    requirements,
    group: text(64).exactOptional(),
    fixed: method.describe("Where the planner's choice is not asked.").exactOptional(),
    methods: z.array(methodLine),
    isMeasured: z.boolean().describe('Methods are judged by figures of this guest; false: by careful ones.'),
  })
  .meta({ id: 'ClusterGuest', description: 'A partition that the cluster keeps up.' });

export const clusterReport = z
  .object({
    self: z.object({
      name: nameText,
      address: text(),
      store: text(),
      state: z
        .enum(['opening', 'joining', 'in', 'leaving', 'left', 'replaced'])
        .describe(
          '`opening`: it does not hear its peers yet. `joining`: its lease is not held. `replaced`: another host has the name.',
        ),
      incarnation: count,
      leaseLeftMs: z.number(),
      problem: text().describe('Why it is not in, or why what is told may be old.').exactOptional(),
    }),
    leader: text(64).exactOptional(),
    hosts: z.array(hostLine),
    guests: z.array(guestLine),
    heartbeats: heartbeatReport.describe('While this host takes part.').exactOptional(),
  })
  .meta({ id: 'Cluster', description: 'The cluster, as this host knows it.' });
export type ClusterReport = z.infer<typeof clusterReport>;

/** In a Partition. */
export const clusterPart = z
  .object({
    host: text(64).describe('That has it, or will have it.').exactOptional(),
    state: z.enum(guestStates),
    generation: count,
    method: method.describe('Of the association that is in force.').exactOptional(),
    why: text(),
    missed: z.array(text()),
  })
  .meta({ id: 'ClusterPart', description: 'Of a partition with failover: where the cluster has it.' });
export type ClusterPart = z.infer<typeof clusterPart>;

export const drillRequest = z
  .strictObject({
    guest: nameText,
    method: method.describe('That of the association in force by default.').exactOptional(),
    host: nameText.describe('The host that takes over; that of the association by default.').exactOptional(),
  })
  .meta({ id: 'DrillRequest' });
export type DrillRequest = z.infer<typeof drillRequest>;

export const drillResult = z
  .object({
    guest: text(64),
    host: text(64).describe('Where the double ran.'),
    method,
    startedAt: moment,
    steps: z.array(z.object({ step: text(64), tookMs: z.number() })),
    takeoverMs: z.number().describe("From the order to the double's answer."),
    recoveryMs: z.number().describe("With the time until a host's death is certain."),
    recoveryTimeMs: z.number().describe('What is required.'),
    isMet: z.boolean(),
  })
  .meta({ id: 'DrillResult', description: 'A takeover by a double; the guest itself was left alone.' });
export type DrillResult = z.infer<typeof drillResult>;

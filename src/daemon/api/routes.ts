/**
 * The routes of /v1 as data: from one list come the router, the checks of what is asked, the OpenAPI document and the typed
 * client. A route's answer is JSON unless it says `answers`.
 */
import * as z from 'zod';
import * as clusters from '../schemas/cluster.ts';
import * as lines from '../schemas/cluster-lines.ts';
import * as partitions from '../schemas/partition.ts';
import * as problems from '../schemas/problem.ts';
import * as reports from '../schemas/reports.ts';
import { address, nameText, text } from '../schemas/words.ts';

export interface Route {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** With `{name}` for what is variable. */
  readonly path: string;
  readonly tag: 'partitions' | 'mechanisms' | 'guest' | 'images' | 'cluster' | 'daemon';
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodObject;
  /** A body may be left out. */
  readonly bodyIsOptional?: true;
  readonly result?: z.ZodType;
  readonly status?: 200 | 201 | 204;
  /** Not JSON: bytes as they come, server-sent events, or a WebSocket. */
  readonly answers?: 'text' | 'bytes' | 'events' | 'socket';
  /** Media type of what is not JSON; plain text, or octets, by default. */
  readonly media?: string;
}

const named = z.object({ name: nameText });
/** In a query everything is text. */
const onOff = z
  .enum(['true', 'false'])
  .transform((word) => word === 'true')
  .pipe(z.boolean())
  .exactOptional();
const whole = z
  .string()
  .regex(/^\d{1,15}$/, 'is no number')
  .transform(Number)
  .pipe(z.int().min(0));
const done = { status: 204 } as const;
const one = { tag: 'partitions', parameters: named } as const;
const mechanism = { tag: 'mechanisms', parameters: named } as const;
const guest = { tag: 'guest', parameters: named } as const;
const P = '/v1/partitions/{name}';

export const routes = {
  listPartitions: {
    ...{ method: 'get', path: '/v1/partitions', tag: 'partitions', summary: 'List partitions' },
    description: 'Those that were declared, in whatever state, and what else of this user runs.',
    result: partitions.partitionList,
  },
  createPartition: {
    ...{ method: 'post', path: '/v1/partitions', tag: 'partitions', summary: 'Create a partition' },
    ...{ body: partitions.createRequest, result: partitions.partition, status: 201 },
  },
  getPartition: { method: 'get', path: P, summary: 'Inspect a partition', ...one, result: partitions.partition },
  declarePartition: {
    ...{ method: 'put', path: P, summary: 'Declare a partition', ...one },
    description:
      'Makes it what is declared, and has it run: one that runs with another spec is stopped and begun anew.',
    ...{ body: partitions.declareRequest, result: partitions.declareResult },
  },
  updatePartition: {
    ...{ method: 'patch', path: P, summary: 'Change the restart policy of a partition', ...one },
    ...{ body: partitions.updateRequest, result: partitions.partition },
  },
  removePartition: {
    ...{ method: 'delete', path: P, summary: 'Remove a partition', ...one },
    query: z.object({ force: onOff }),
    description: 'With its logs. One that runs is refused, or with `force=true` ended first.',
    ...done,
  },
  startPartition: { method: 'post', path: `${P}/start`, summary: 'Start', ...one, result: partitions.partition },
  stopPartition: {
    ...{ method: 'post', path: `${P}/stop`, summary: 'Ask the guest to shut down, and end what does not', ...one },
    ...{ body: partitions.stopRequest, bodyIsOptional: true, result: partitions.partition },
  },
  restartPartition: {
    ...{ method: 'post', path: `${P}/restart`, summary: 'Stop and start', ...one },
    ...{ body: partitions.stopRequest, bodyIsOptional: true, result: partitions.partition },
  },
  killPartition: { method: 'post', path: `${P}/kill`, summary: 'End at once', ...one, result: partitions.partition },
  pausePartition: {
    method: 'post',
    path: `${P}/pause`,
    summary: 'Halt its harts',
    ...one,
    result: partitions.partition,
  },
  resumePartition: {
    method: 'post',
    path: `${P}/resume`,
    summary: 'Let it go on',
    ...one,
    result: partitions.partition,
  },
  waitPartition: {
    ...{ method: 'get', path: `${P}/wait`, summary: 'Wait for its end', ...one, result: partitions.exitRecord },
    description: 'Answers when it has ended; at once where it does not run. Its policy may start it again.',
  },
  snapshotPartition: {
    ...{ method: 'post', path: `${P}/snapshot`, summary: 'Write it to a file', ...one },
    ...{ body: reports.snapshotRequest, result: reports.snapshotResult },
  },
  forkPartition: {
    ...{ method: 'post', path: `${P}/fork`, summary: 'Make a twin', ...one, status: 201 },
    ...{ body: problems.forkRequest, bodyIsOptional: true, result: problems.forkResult },
  },
  partitionEvents: {
    ...{ method: 'get', path: `${P}/events`, summary: 'Follow its events, those of its paths too', ...one },
    ...{ answers: 'events', result: partitions.hostEvent },
  },

  partitionLogs: {
    ...{ method: 'get', path: `${P}/logs`, summary: 'What its console said', ...guest, answers: 'text' },
    query: z.object({ follow: onOff, tail: whole.describe('Lines from the end.').exactOptional() }),
  },
  attachConsole: {
    ...{ method: 'get', path: `${P}/console`, summary: 'Attach to its console', ...guest, answers: 'socket' },
    description:
      'A WebSocket. Binary messages are bytes: of the console, what it said lately first, and keys for it. The socket is ' +
      'closed with 1000 when the partition ends.',
  },
  exec: {
    ...{ method: 'post', path: `${P}/exec`, summary: 'Run a command in the guest', ...guest },
    ...{ body: problems.execRequest, result: problems.execResult },
  },
  attachExec: {
    ...{ method: 'get', path: `${P}/exec`, summary: 'Run a command in the guest, its streams attached', ...guest },
    answers: 'socket',
    description:
      'A WebSocket. The client speaks first, a text message: an ExecRequest without `stdin`. Then binary messages whose ' +
      'first byte is a channel: 0 stdin (no bytes: end of file), 1 stdout, 2 stderr. At last the daemon says ' +
      '`{"kind":"exit","code":0}` or `{"kind":"problem","problem":{...}}` and closes with 1000.',
  },
  waitReady: {
    ...{ method: 'get', path: `${P}/ready`, summary: "Wait for the guest's agent", ...guest, ...done },
  },

  getStats: { method: 'get', path: `${P}/stats`, summary: 'Counters', ...mechanism, result: reports.stats },
  getSwitches: {
    ...{ method: 'get', path: `${P}/switches`, summary: 'Switches that can be thrown while it runs', ...mechanism },
    result: reports.switches,
  },
  setSwitches: {
    ...{ method: 'patch', path: `${P}/switches`, summary: 'Throw switches', ...mechanism },
    ...{ body: reports.switchChange, result: reports.switches },
  },
  getNet: {
    method: 'get',
    path: `${P}/net`,
    summary: 'Interfaces and uplinks',
    ...mechanism,
    result: reports.netReport,
  },
  changeNet: {
    ...{ method: 'post', path: `${P}/net`, summary: 'Change which is mapped to which', ...mechanism },
    ...{ body: reports.netChange, result: reports.netReport },
  },
  netEvents: {
    ...{ method: 'get', path: `${P}/net/events`, summary: 'What happened to paths', ...mechanism },
    ...{ query: z.object({ since: whole.exactOptional() }), result: reports.pathEvents },
  },
  captureNet: {
    ...{ method: 'get', path: `${P}/net/capture`, summary: 'Frames as pcapng', ...mechanism },
    ...{ answers: 'bytes', media: 'application/x-pcapng' },
    query: z.object({ port: text(160).exactOptional(), snapBytes: whole.exactOptional() }),
  },
  getProtection: {
    ...{ method: 'get', path: `${P}/protection`, summary: 'Protection tables', ...mechanism },
    result: reports.protectionReport,
  },
  protect: {
    ...{ method: 'post', path: `${P}/protection`, summary: 'Take rights away, or give them back', ...mechanism },
    ...{ body: reports.protectionChange, result: reports.protectionReport },
  },
  getViolations: {
    ...{ method: 'get', path: `${P}/protection/violations`, summary: 'Accesses that were forbidden', ...mechanism },
    ...{ query: z.object({ most: whole.exactOptional() }), result: reports.violations },
  },
  getBalloon: {
    ...{ method: 'get', path: `${P}/balloon`, summary: 'Memory given back', ...mechanism },
    result: reports.balloonReport,
  },
  setBalloon: {
    ...{ method: 'put', path: `${P}/balloon`, summary: 'What the guest is to make do with', ...mechanism },
    ...{ body: reports.balloonChange, result: reports.balloonReport },
  },
  getPci: {
    ...{ method: 'get', path: `${P}/pci`, summary: 'Root ports and slots', ...mechanism, result: reports.pciReport },
  },
  changeSlot: {
    ...{ method: 'post', path: `${P}/pci/{port}`, tag: 'mechanisms', summary: 'Put a card in, or take it out' },
    parameters: z.object({ name: nameText, port: text(64) }),
    ...{ body: reports.slotChange, result: reports.pciReport },
  },
  getHotRegions: {
    ...{ method: 'get', path: `${P}/hot`, summary: 'Regions entered most', ...mechanism, result: reports.hotRegions },
    query: z.object({ most: whole.exactOptional() }),
  },
  getPromotedSites: {
    ...{ method: 'get', path: `${P}/promotion/sites`, summary: 'Instructions that are promoted', ...mechanism },
    ...{ query: z.object({ most: whole.exactOptional() }), result: reports.promotedSites },
  },
  explain: {
    ...{ method: 'get', path: `${P}/explain`, summary: 'What the translator makes of guest code', ...mechanism },
    query: z.object({
      pc: address.exactOptional(),
      hart: whole.exactOptional(),
      level: z
        .enum(['1', '2'])
        .transform((digit) => (digit === '1' ? 1 : 2))
        .pipe(z.union([z.literal(1), z.literal(2)]))
        .exactOptional(),
    }),
    result: reports.explanation,
  },

  listImages: { method: 'get', path: '/v1/images', tag: 'images', summary: 'List images', result: problems.imageList },
  pullImage: {
    ...{ method: 'post', path: '/v1/images', tag: 'images', summary: 'Make an image from its archive' },
    description: 'Answers when it is there; meanwhile events of kind `image-progress` tell how far it is.',
    ...{ body: problems.pullRequest, result: problems.image, status: 201 },
  },
  removeImage: {
    ...{ method: 'delete', path: '/v1/images/{image}', tag: 'images', summary: 'Remove an image' },
    ...{ parameters: z.object({ image: text(128) }), ...done },
  },

  getCluster: {
    ...{ method: 'get', path: '/v1/cluster', tag: 'cluster', summary: 'Hosts and guests of the cluster' },
    ...{ description: 'As this host knows it. `no-cluster` where it is in none.', result: clusters.clusterReport },
  },
  initCluster: {
    ...{
      method: 'post',
      path: '/v1/cluster/init',
      tag: 'cluster',
      summary: 'Begin a cluster with this host',
      status: 201,
    },
    ...{ body: clusters.initRequest, bodyIsOptional: true, result: clusters.tokenResult },
  },
  joinCluster: {
    ...{ method: 'post', path: '/v1/cluster/join', tag: 'cluster', summary: 'Join the cluster of a token' },
    ...{ body: clusters.joinRequest, result: clusters.tokenResult },
  },
  leaveCluster: {
    ...{ method: 'post', path: '/v1/cluster/leave', tag: 'cluster', summary: 'Leave the cluster' },
    description: 'Answers when this host has given its guests up and nobody waits for it.',
    ...{ body: clusters.leaveRequest, bodyIsOptional: true, ...done },
  },
  getClusterToken: {
    ...{ method: 'post', path: '/v1/cluster/token', tag: 'cluster', summary: 'The token that another host joins with' },
    result: clusters.tokenResult,
  },
  makeCredentials: {
    ...{
      method: 'post',
      path: '/v1/cluster/credentials',
      tag: 'cluster',
      summary: 'A certificate for what is no host',
    },
    ...{ body: clusters.credentialsRequest, result: clusters.credentials },
  },
  drainHost: {
    ...{
      method: 'post',
      path: '/v1/cluster/hosts/{name}/drain',
      tag: 'cluster',
      summary: 'Have a host give its guests up',
    },
    description: 'It takes none until that is undone. Answers at once; guests move a few at a time.',
    ...{ parameters: named, body: clusters.drainRequest, bodyIsOptional: true, result: clusters.clusterReport },
  },
  setHeartbeats: {
    ...{ method: 'put', path: '/v1/cluster/heartbeats', tag: 'cluster', summary: 'Throw the switch of heartbeats' },
    description:
      "Of this host's, until its daemon ends: `direct` has each guest's slave tell its standby's, for comparison.",
    ...{ body: lines.heartbeatsRequest, result: clusters.clusterReport },
  },
  clusterHistory: {
    ...{
      method: 'get',
      path: '/v1/cluster/events',
      tag: 'cluster',
      summary: 'Past events of all hosts of the cluster',
    },
    ...{ result: partitions.clusterHistory },
  },
  drill: {
    ...{ method: 'post', path: '/v1/cluster/drills', tag: 'cluster', summary: 'Fail a guest over, by a double of it' },
    description: 'The guest itself is left alone. Answers when the double has answered, and has ended.',
    ...{ body: clusters.drillRequest, result: clusters.drillResult },
  },

  events: {
    ...{ method: 'get', path: '/v1/events', tag: 'daemon', summary: 'Follow events' },
    description: 'From now on; with `since`, or the header `Last-Event-ID`, what happened behind that event first.',
    query: z.object({ since: whole.exactOptional(), partition: nameText.exactOptional() }),
    ...{ answers: 'events', result: partitions.hostEvent },
  },
  eventHistory: {
    ...{ method: 'get', path: '/v1/events/history', tag: 'daemon', summary: 'Events that were kept, the latest last' },
    query: z.object({
      since: whole.exactOptional(),
      partition: nameText.exactOptional(),
      most: whole.describe('100 by default, 1000 at most: the latest of them.').exactOptional(),
    }),
    result: partitions.eventList,
  },
  getVersion: {
    ...{ method: 'get', path: '/v1/version', tag: 'daemon', summary: 'The daemon', result: problems.version },
  },
  getOpenApi: {
    ...{ method: 'get', path: '/v1/openapi.json', tag: 'daemon', summary: 'This document' },
    result: z.record(z.string(), z.unknown()),
  },
  getHealth: {
    ...{
      method: 'get',
      path: '/healthz',
      tag: 'daemon',
      summary: 'Whether the daemon is alive',
      result: problems.health,
    },
  },
  getReadiness: {
    ...{ method: 'get', path: '/readyz', tag: 'daemon', summary: 'Whether it has adopted what runs' },
    result: problems.health,
  },
  getMetrics: {
    ...{ method: 'get', path: '/metrics', tag: 'daemon', summary: "Metrics in Prometheus's text format" },
    ...{ answers: 'text', media: 'text/plain; version=0.0.4; charset=utf-8' },
  },
} as const satisfies Record<string, Route>;

export type Operation = keyof typeof routes;

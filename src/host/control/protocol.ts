/**
 * What is said on a machine's control socket: JSON-RPC 2.0, one message a line. The machine speaks first:
 *
 *   machine: {"jsonrpc":"2.0","method":"hello","params":{"protocol":1,"name":"web","pid":4711}}
 *   client:  {"jsonrpc":"2.0","id":1,"method":"exec","params":{"stream":1,"argv":["uname"]}}
 *   machine: {"jsonrpc":"2.0","method":"output","params":{"stream":1,"channel":"stdout","data":"TGludXgK"}}
 *   machine: {"jsonrpc":"2.0","id":1,"result":{"code":0}}
 *
 * Bytes travel as base64. A client numbers its streams itself; a stream ends with its request or its connection.
 * Input is a request, answered when the guest has taken it: so a client cannot fill this process's memory.
 * The version is raised when something that was said before changes its meaning; additions do not raise it.
 */
import { PROMOTION_MODES } from '../../machine/index.ts';
import type { ExitStatus, MachineInfo, Switches } from '../machine/machine-api.ts';
import { agentEvents, agentEventsQuery, agentReport, healthReport, intervalMs } from './agent-shape.ts';
import { balloonReport } from './balloon-shape.ts';
import { addressText, explanation, hotRegion, level, promotedSite } from './explanation-shape.ts';
import { leaseAnswer, leaseGrant, leaseReport } from './lease-shape.ts';
import { netChange, netEvents, netReport } from './network-shape.ts';
import { partitionOptions } from './partition-shape.ts';
import { pciReport, slotChange } from './pci-report-shape.ts';
import { mostViolations, protectionChange, protectionReport, violations } from './protection-shape.ts';
import {
  migrateOptions,
  migrationResult,
  promoteOptions,
  promotion,
  replicateOptions,
  replicationReport,
  warmOptions,
  writeRate,
} from './replication-shape.ts';
import {
  data,
  integer,
  limits,
  listOf,
  mapOf,
  number,
  object,
  oneOf,
  optional,
  record,
  type Shape,
  text,
  truth,
} from './shape.ts';

export const protocolVersion = 1;

const streamNumber = integer(0, 2 ** 31 - 1);
const nothing = record({});

const exitStatus: Shape<ExitStatus> = record({
  reason: oneOf('poweroff', 'reboot', 'failure', 'killed', 'migrated', 'error'),
  code: integer(0, 255),
  message: optional(text(limits.messageBytes)),
});

const machineInfo: Shape<MachineInfo> = record({
  name: text(64),
  pid: integer(1, 2 ** 31 - 1),
  state: oneOf('running', 'paused', 'standby', 'ended'),
  cpus: integer(1, 4096),
  memoryBytes: integer(0, Number.MAX_SAFE_INTEGER),
  startedAt: text(64),
  image: optional(text()),
  publish: listOf(text(256), 1024),
  fork: optional(record({ of: text(64), pausedMs: number(0, Number.MAX_SAFE_INTEGER) })),
  agent: optional(agentReport),
  health: optional(healthReport),
  lease: optional(leaseReport),
});

const switches: Shape<Switches> = record({ promotion: optional(oneOf(...PROMOTION_MODES)) });

/** Requests of the client: the shapes of their parameters and of their results. */
export const requests = {
  info: { params: nothing, result: machineInfo },
  stats: { params: nothing, result: object },
  /** What the translator makes of the code at an address (where the hart stood lately, without one). */
  explain: {
    params: record({ hart: integer(0, 4095), pc: optional(addressText), level: optional(level) }),
    result: explanation,
  },
  /** The regions that were entered most. */
  hot: { params: record({ most: integer(1, 1000) }), result: record({ regions: listOf(hotRegion, 1000) }) },
  /** The sensitive instructions that are promoted. */
  sites: { params: record({ most: integer(1, 1000) }), result: record({ sites: listOf(promotedSite, 1000) }) },
  /** Protection tables: domains and rules; a change, answered when it is in force everywhere; the audit log. */
  protection: { params: nothing, result: protectionReport },
  protect: { params: protectionChange, result: nothing },
  violations: { params: mostViolations, result: violations },
  /** Switches that can be thrown while it runs: as they stand; those to throw. */
  switches: { params: nothing, result: switches },
  setSwitches: { params: switches, result: nothing },
  /** The balloon; and how much memory the guest is to make do with. */
  balloon: { params: nothing, result: balloonReport },
  setBalloon: { params: record({ memoryBytes: integer(0, Number.MAX_SAFE_INTEGER) }), result: nothing },
  /** Processors' worth of time that the guest may use at most. */
  setCap: { params: record({ cap: number(0, 32) }), result: nothing },
  /** PCI Express: root ports, what is in their slots; a card put in, or taken out. */
  pci: { params: nothing, result: pciReport },
  changeSlot: { params: slotChange, result: nothing },
  /** Networks: who is mapped to what; a change of that; what happened behind an event's number. */
  net: { params: nothing, result: netReport },
  changeNet: { params: netChange, result: nothing },
  netEvents: { params: record({ since: integer(0, Number.MAX_SAFE_INTEGER) }), result: netEvents },
  /** Frames, as pcapng, as `output` on channel `stdout`, until it is cancelled or the machine ends. */
  capture: {
    params: record({ stream: streamNumber, port: optional(text(160)), snapBytes: optional(integer(1, 262_144)) }),
    result: nothing,
  },
  ready: { params: nothing, result: nothing },
  /** The guest's heart beats at this interval from now on (0: not at all); what happened as its agent tells. */
  heartbeat: { params: record({ intervalMs }), result: nothing },
  agentEvents: { params: agentEventsQuery, result: agentEvents },
  pause: { params: nothing, result: nothing },
  resume: { params: nothing, result: nothing },
  /** A later deadline of a machine that has one: the one in force then, and whether the guest stands still. */
  lease: { params: leaseGrant, result: leaseAnswer },
  stop: { params: record({ graceMs: optional(integer(0, 3_600_000)) }), result: exitStatus },
  kill: { params: nothing, result: exitStatus },
  wait: { params: nothing, result: exitStatus },
  exec: {
    params: record({
      stream: streamNumber,
      argv: listOf(text(limits.dataBytes), 4096),
      environment: optional(mapOf(text(limits.dataBytes), 4096)),
      workingFolder: optional(text()),
    }),
    result: record({ code: integer(0, 255) }),
  },
  /** Bytes for the stdin of an exec; no bytes: end of file. Answered when the guest has taken them. */
  input: { params: record({ stream: streamNumber, data }), result: nothing },
  /** What the console said lately, then what it says from now on, as `output` on channel `console`. */
  attach: { params: record({ stream: streamNumber }), result: nothing },
  /** Keys for the console. */
  type: { params: record({ data }), result: nothing },
  /** What the console said lately. */
  history: { params: nothing, result: record({ data }) },
  /** Another guest in the machine: its name. */
  partition: { params: partitionOptions, result: record({ name: text(64) }) },
  /** A twin: its name, and how long the machine stood still for it. */
  fork: {
    params: record({
      name: optional(text(64)),
      publish: optional(listOf(text(256), 1024)),
      weight: optional(integer(2, 262_144)),
      cap: optional(number(0, 32)),
      pin: optional(listOf(integer(0, 31), 32)),
      quiesce: optional(truth),
    }),
    result: record({ name: text(64), pausedMs: number(0, Number.MAX_SAFE_INTEGER) }),
  },
  /** Hot standby: give the guest one (answered when it is protected), take it away, ask. */
  replicate: { params: replicateOptions, result: nothing },
  unreplicate: { params: nothing, result: nothing },
  replication: { params: nothing, result: replicationReport },
  /** Of a machine that stands by: the guest runs here from now on. */
  promote: { params: promoteOptions, result: promotion },
  /** Warm standby: snapshots into a folder every so often, answered when the first is there; no more. */
  checkpoint: { params: warmOptions, result: nothing },
  endCheckpoints: { params: nothing, result: nothing },
  /** How fast the guest writes to memory. */
  writeRate: { params: record({ overMs: optional(integer(1, 60_000)) }), result: writeRate },
  /** Moves the guest; answered when it runs there. */
  migrate: { params: migrateOptions, result: migrationResult },
  /** Writes a snapshot; files are the machine's process's to find, so their paths are absolute. */
  snapshot: {
    params: record({
      file: text(),
      base: optional(text()),
      stop: optional(truth),
      compress: optional(truth),
      quiesce: optional(truth),
    }),
    result: record({
      id: text(64),
      file: text(),
      sizeBytes: integer(0, Number.MAX_SAFE_INTEGER),
      pages: integer(0, Number.MAX_SAFE_INTEGER),
      pausedMs: number(0, Number.MAX_SAFE_INTEGER),
      quiesced: optional(
        record({ count: integer(0, Number.MAX_SAFE_INTEGER), left: integer(0, Number.MAX_SAFE_INTEGER) }),
      ),
    }),
  },
} as const satisfies Record<string, { params: Shape<unknown>; result: Shape<unknown> }>;

export type Method = keyof typeof requests;
export type Params<M extends Method> = ReturnType<(typeof requests)[M]['params']>;
export type Result<M extends Method> = ReturnType<(typeof requests)[M]['result']>;
/** As it travels: bytes are base64. */
export type Wire<P> = { readonly [K in keyof P]: P[K] extends Uint8Array ? string : P[K] };

/** Notifications: the machine's `hello` and `output`, the client's `cancel` (of an exec or an attachment). */
export const notifications = {
  hello: record({ protocol: integer(1, 1 << 30), name: text(64), pid: integer(1, 2 ** 31 - 1) }),
  output: record({ stream: streamNumber, channel: oneOf('stdout', 'stderr', 'console'), data }),
  cancel: record({ stream: streamNumber }),
} as const satisfies Record<string, Shape<unknown>>;

export function isMethod(name: string): name is Method {
  return Object.hasOwn(requests, name);
}

/** Cuts bytes into pieces that fit a message. */
export function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += limits.dataBytes) yield bytes.subarray(at, at + limits.dataBytes);
}

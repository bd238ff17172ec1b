/** Partitions as people operate them: what was declared, what is wanted, what is. */
import * as z from 'zod';
import { clusterPart } from './cluster.ts';
import { partitionSpec } from './spec.ts';
import { count, moment, nameText, text } from './words.ts';

export const restartPolicy = z
  .strictObject({
    name: z.enum(['no', 'on-failure', 'always', 'unless-stopped']),
    most: z.int().min(1).max(1_000_000).describe('Of `on-failure`: how many restarts in a row.').exactOptional(),
  })
  .meta({
    id: 'RestartPolicy',
    description:
      "Docker's: `no`; `on-failure` restarts what ended with a code other than 0, `most` times in a row; `always` does " +
      'whatever the code, and when the daemon starts; `unless-stopped` too, but for what was stopped.',
  });
export type RestartPolicy = z.infer<typeof restartPolicy>;

export const exitRecord = z
  .object({
    reason: z
      .enum(['poweroff', 'reboot', 'failure', 'killed', 'migrated', 'error', 'lost'])
      .describe('`lost`: its process was gone without a word.'),
    code: z.int().min(0).max(255),
    message: text(1 << 16).exactOptional(),
    at: moment,
  })
  .meta({ id: 'Exit', description: 'How a partition ended.' });
export type ExitRecord = z.infer<typeof exitRecord>;

const agentReport = z
  .object({
    kind: z.enum(['kagemusha', 'qemu']).exactOptional(),
    version: text(64).exactOptional(),
    heartbeat: z.object({
      state: z.enum(['off', 'never-seen', 'alive', 'late', 'silent']),
      intervalMs: count,
      sequence: count.exactOptional(),
      uptimeSeconds: z.number().exactOptional(),
      load: z.number().exactOptional(),
      agoMs: z.number().exactOptional(),
      heard: count,
      missed: count,
    }),
  })
  .meta({ id: 'Agent', description: "The guest's agent, and its heart." });

const healthReport = z
  .object({
    status: z.enum(['starting', 'healthy', 'unhealthy']),
    failingStreak: count,
    log: z.array(z.object({ start: text(64), end: text(64), exitCode: z.int(), output: text(8192) })),
  })
  .meta({ id: 'Health', description: 'What checks of its health came to.' });

const machineReport = z
  .object({
    pid: z.int().min(1),
    cpus: count,
    memoryBytes: count,
    startedAt: moment,
    publish: z.array(text(256)),
    fork: z
      .object({ of: text(64), pausedMs: z.number().min(0) })
      .describe('Of a twin.')
      .exactOptional(),
    agent: agentReport.exactOptional(),
    health: healthReport.exactOptional(),
  })
  .meta({ id: 'Machine', description: 'The process that runs a partition.' });

export const partitionStates = ['created', 'starting', 'running', 'paused', 'restarting', 'exited'] as const;

export const partition = z
  .object({
    name: nameText,
    state: z
      .enum(partitionStates)
      .describe('`created`: never started. `restarting`: waits to be started again, at `restartAt`.'),
    managed: z
      .boolean()
      .describe('Whether it was declared. What was started by other means is only found running, and gone at its end.'),
    spec: partitionSpec.exactOptional(),
    restartPolicy,
    removeAtEnd: z.boolean().describe('It is forgotten when it has ended (`--rm`).').exactOptional(),
    restarts: count.describe('By its policy, since it was last started by hand.'),
    restartAt: moment.exactOptional(),
    createdAt: moment.exactOptional(),
    machine: machineReport.describe('While it runs.').exactOptional(),
    exit: exitRecord.describe('Its latest end.').exactOptional(),
    cluster: clusterPart.exactOptional(),
  })
  .meta({ id: 'Partition', description: 'A partition: a guest, its declaration and its state.' });
export type Partition = z.infer<typeof partition>;

export const partitionList = z.object({ partitions: z.array(partition) }).meta({ id: 'PartitionList' });

export const createRequest = z
  .strictObject({
    name: nameText.describe('A made-up one by default.').exactOptional(),
    spec: partitionSpec,
    restartPolicy: restartPolicy.exactOptional(),
    removeAtEnd: z.boolean().exactOptional(),
    start: z.boolean().describe('Starts it, too. Default: false.').exactOptional(),
  })
  .meta({ id: 'CreateRequest' });
export type CreateRequest = z.infer<typeof createRequest>;

export const declareRequest = z
  .strictObject({ spec: partitionSpec, restartPolicy: restartPolicy.exactOptional() })
  .meta({ id: 'DeclareRequest' });
export type DeclareRequest = z.infer<typeof declareRequest>;

export const declareResult = z
  .object({ change: z.enum(['created', 'changed', 'unchanged']), partition })
  .meta({ id: 'DeclareResult' });

export const updateRequest = z.strictObject({ restartPolicy }).meta({ id: 'UpdateRequest' });

export const stopRequest = z
  .strictObject({
    graceMs: z.int().min(0).max(3_600_000).describe('How long the guest may take. 10 s by default.').exactOptional(),
  })
  .meta({ id: 'StopRequest' });

export const eventKinds = [
  'created',
  'changed',
  'removed',
  'starting',
  'started',
  'start-failed',
  'adopted',
  'paused',
  'resumed',
  'stopping',
  'ended',
  'restart-scheduled',
  'given-up',
  'forked',
  'snapshot',
  'switched',
  'path',
  'cluster',
  'image-progress',
  'image-pulled',
  'image-removed',
  'daemon-started',
  'daemon-stopping',
] as const;

export const hostEvent = z
  .object({
    id: count.describe('Grows; 0 for what is not kept (`path`, `image-progress`).'),
    at: moment,
    kind: z.enum(eventKinds),
    partition: text(64).exactOptional(),
    detail: z.record(z.string(), z.unknown()).describe('What else there is to say, by kind.').exactOptional(),
  })
  .meta({ id: 'Event', description: 'Something that happened.' });
export type HostEvent = z.infer<typeof hostEvent>;
export type EventKind = (typeof eventKinds)[number];

export const eventList = z.object({ events: z.array(hostEvent) }).meta({ id: 'EventList' });

export const clusterHistory = z
  .object({
    events: z
      .array(hostEvent.extend({ host: text(64).describe('Whose daemon told it.') }))
      .describe("By time, as this host's clock would have it. Ids are of each host's own."),
    silent: z.array(text(64)).describe('Hosts that did not answer: what they told is not among it.'),
  })
  .meta({ id: 'ClusterHistory', description: 'Events of kind `cluster`, of all hosts.' });
export type ClusterHistory = z.infer<typeof clusterHistory>;

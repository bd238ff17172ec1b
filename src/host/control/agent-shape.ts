/** The shapes of what is asked of a guest's agent and told of it (agent/), for the protocol and for snapshots. */
import type { AgentEvent, AgentReport, HealthOptions, HealthReport } from '../agent/index.ts';
import type { AgentChoice } from '../machine/machine-api.ts';
import { integer, listOf, number, oneOf, optional, record, type Shape, text, truth } from './shape.ts';

const DAY_MS = 86_400_000;
const LOG_LENGTH = 64;
const OUTPUT = 8192;
const COUNT = Number.MAX_SAFE_INTEGER;

const choice = oneOf('auto', 'kagemusha', 'qemu', 'off');

export const agentOption: Shape<boolean | AgentChoice> = (value, at) =>
  typeof value === 'boolean' ? truth(value, at) : choice(value, at);

const command: Shape<string | readonly string[]> = (value, at) =>
  typeof value === 'string' ? text(1 << 16)(value, at) : listOf(text(1 << 16), 1024)(value, at);

const duration = optional(number(0, DAY_MS));

export const intervalMs = integer(0, DAY_MS);

export const healthOptions: Shape<HealthOptions> = record({
  command,
  intervalMs: duration,
  timeoutMs: duration,
  retries: optional(integer(1, 1000)),
  startPeriodMs: duration,
  startIntervalMs: duration,
});

export const agentReport: Shape<AgentReport> = record({
  kind: optional(oneOf('kagemusha', 'qemu')),
  version: optional(text(64)),
  heartbeat: record({
    state: oneOf('off', 'never-seen', 'alive', 'late', 'silent'),
    intervalMs,
    sequence: optional(integer(0, COUNT)),
    uptimeSeconds: optional(number(0, COUNT)),
    load: optional(number(0, COUNT)),
    agoMs: optional(number(0, COUNT)),
    heard: integer(0, COUNT),
    missed: integer(0, COUNT),
  }),
});

export const healthReport: Shape<HealthReport> = record({
  status: oneOf('starting', 'healthy', 'unhealthy'),
  failingStreak: integer(0, COUNT),
  log: listOf(record({ start: text(64), end: text(64), exitCode: integer(-1, 255), output: text(OUTPUT) }), LOG_LENGTH),
});

const agentEvent: Shape<AgentEvent> = record({
  number: integer(1, COUNT),
  at: text(64),
  kind: oneOf('agent', 'heartbeat', 'health', 'freeze'),
  from: text(64),
  to: text(64),
});

export const agentEvents = record({ events: listOf(agentEvent, 1000) });

/** What is behind an event's number; if there is nothing, waits for it for so long. */
export const agentEventsQuery = record({
  since: integer(0, COUNT),
  waitMs: optional(integer(0, 3_600_000)),
});

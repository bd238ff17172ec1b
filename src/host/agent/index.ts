/** The guest's agents, host side: conversations over ports that carry bytes, and what a host does by them. */
export type { AgentEvent } from './agent-events.ts';
export { Execution } from './execution.ts';
export {
  type Beat,
  encodeRequest,
  limits,
  ProtocolError,
  protocolVersion,
  type Reply,
  ReplyReader,
  type Request,
} from './frames.ts';
export type { AgentKind, Frozen, GuestAgent } from './guest-agent.ts';
export { type AgentReport, type CareOptions, checkHeartbeat, GuestCare, QUIESCE_MS } from './guest-care.ts';
export {
  checkHealthOptions,
  type HealthCheck,
  HealthMonitor,
  type HealthOptions,
  type HealthReport,
  type HealthStatus,
} from './health.ts';
export {
  defaultLimits,
  Heartbeat,
  type HeartbeatLimits,
  type HeartbeatReport,
  type HeartbeatState,
} from './heartbeat.ts';
export {
  type Installable,
  type Installation,
  installAgent,
  installedAgent,
  installedUnit,
  uninstallAgent,
} from './install.ts';
export { KagemushaAgent } from './kagemusha-agent.ts';
export { type HeartClock, PausableClock } from './pausable-clock.ts';
export { QemuAgent, type QemuAgentOptions } from './qga/index.ts';
export { type Command, commandScript, type Word } from './script.ts';
export {
  type AgentClock,
  type AgentInfo,
  type AgentPort,
  AgentSession,
  type AgentSessionOptions,
  type ExecOptions,
  type Result,
} from './session.ts';

/** The door of the cluster: what a daemon runs, and the interfaces that it has to be given. */

export type { ClusterEvent } from './director/desk.ts';
export { type DirectorPorts, HostDirector } from './director/host-director.ts';
export type { HeartbeatCounters, Traffic } from './heartbeat/counters.ts';
export { BEAT_BYTES } from './heartbeat/datagrams.ts';
export type { Master } from './heartbeat/master.ts';
export { type HeartbeatReport, heartbeatReport, type PeerLine } from './heartbeat/report.ts';
export { change, type HostIdentity, isIn, takesGuests } from './membership/membership.ts';
export type * from './model.ts';
export { METHODS } from './model.ts';
export { type Estimate, estimate, misses, price, UNKNOWN_COSTS } from './planner/estimate.ts';
export type * from './ports.ts';
export { DEFAULT_SETTINGS, detectionMs, type Settings } from './settings.ts';
export {
  type ClusterStatus,
  clusterStatus,
  type GuestLine,
  type HostLine,
  type MethodLine,
  STATUS_QUERY,
} from './store/cluster-status.ts';
export type * from './store/cluster-store.ts';
export { MOST_OPERATIONS } from './store/cluster-store.ts';
export { MemoryState } from './store/memory-state.ts';
export { MemoryStore } from './store/memory-store.ts';
export * from './store/records.ts';

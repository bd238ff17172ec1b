/** The door of replication on Node: what a machine sends its guest by, and what receives one. */
export { sourceDisks } from './guest-disks.ts';
export type { GuestState } from './hello.ts';
export {
  MachineReplication,
  type MigrateOptions,
  type ReplicateOptions,
  type ReplicationEvent,
  type ReplicationParts,
  type ReplicationReport,
  type WriteRate,
} from './machine-replication.ts';
export { type MakeUnderstudy, type Promotion, type ReceiveOptions, Receiver } from './receiver.ts';
export { type PromoteOptions, Replica, type Succession, type Understudy } from './replica.ts';
export { WarmCheckpoints, type WarmOptions, type WarmReport } from './warm.ts';

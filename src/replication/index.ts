/** The door of replication: the checkpoint stream of one guest, for hot standby, warm checkpoints and live migration. */

export type { DriveChange } from './disk-lists.ts';
export { applyChanges, type Disk, type DiskChange, type DiskEpoch, JournalDisk } from './journal-disk.ts';
export type { Distribution, ReplicationMeasures } from './measures.ts';
export { badStream, type Message, type Refusal } from './messages.ts';
export { Migration, type MigrationPorts, type MigrationResult, Undecided } from './migration.ts';
export { OutputGate } from './output-gate.ts';
export { jsonOf, Peer, type PeerOptions, SILENCE_MS, type Wire } from './peer.ts';
export { PRE_COPY, type PreCopyLimits } from './pre-copy.ts';
export { Protection, type ProtectionOptions, type ProtectionState } from './protection.ts';
export type { Hold, PageBatch, ReplicationPorts, SourceDisk, SourceGuest } from './source-guest.ts';
export { SourceRounds } from './source-rounds.ts';
export type { StreamCodecs } from './stream.ts';
export { Target, type TargetMachine, type TargetState } from './target.ts';

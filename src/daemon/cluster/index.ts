/**
 * The door of the cluster's part of the daemon. Behind it little is loaded until this host is in a cluster (cluster-door.ts).
 */
export { ClusterDoor, type ClusterDoorOptions } from './cluster-door.ts';
export type { ClusterMachinesEvents, ClusterMachinesParts } from './cluster-machines.ts';
export type { Hands, OpenHands } from './member.ts';
export { noDaemon, OperatedPartitions } from './operated-partitions.ts';
export type { PeerAsk, PeerChannel } from './peer-channel.ts';

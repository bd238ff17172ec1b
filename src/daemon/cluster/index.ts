/** The door of the cluster's part of the daemon. */
export { ClusterMachines, type ClusterMachinesEvents, type ClusterMachinesParts } from './cluster-machines.ts';
export { HostLoad } from './host-load.ts';
export type { PeerAsk, PeerChannel } from './peer-channel.ts';

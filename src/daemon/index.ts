/** The door of the daemon: what operates partitions, alone or for others. */
export { ApiError, Client } from '../client/index.ts';
export type { ImageShelf } from './api/service.ts';
export { BrowserDoor, type BrowserDoorOptions } from './browser-door.ts';
export { Daemon, type DaemonOptions, type TcpOptions } from './daemon.ts';
export type { LocalOptions } from './local.ts';
export { connectDaemon, type ReachedApi, reachApi } from './reach.ts';
export { type CreateRequest, type Partition, type RestartPolicy, restartPolicy } from './schemas/partition.ts';
export { type PartitionSpec, partitionSpec } from './schemas/spec.ts';
export { stateFolder } from './store/index.ts';
export { readToken, selfSignedFiles } from './tls-files.ts';
export type { DaemonAddress } from './transports/node-transport.ts';

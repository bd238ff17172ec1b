/** The door of what a cluster's logic is given on a host: stores, datagrams, a clock. */
export { BootClock } from './boot-clock.ts';
export type { EtcdTls } from './etcd-endpoint.ts';
export { type EtcdCounters, EtcdStore } from './etcd-store.ts';
export { SqliteStore } from './sqlite-store.ts';
export { OVERHEAD_BYTES, type UdpAddress, type UdpCounters, UdpDatagrams, type UdpOptions } from './udp-datagrams.ts';

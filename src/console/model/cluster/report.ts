/** What `GET /v1/cluster` answers, by the names that the models use. */
import type { Cluster, ClusterGuest, ClusterHeartbeats, ClusterHost, ClusterMethod } from '../../../client/index.ts';

export type ClusterReport = Cluster;
export type HostLine = ClusterHost;
export type GuestLine = ClusterGuest;
export type MethodLine = ClusterMethod;
export type HeartbeatReport = ClusterHeartbeats;
export type PeerLine = HeartbeatReport['peers'][number];
export type Association = GuestLine['associations'][number];
export type Method = Association['method'];

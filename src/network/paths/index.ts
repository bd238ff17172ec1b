/** The door of the paths: uplinks, virtual interfaces, and the table that maps one to the other. */

export { checksumOffset, layersOf } from '../../base/frame-layers.ts';
export type { CaptureOptions } from './capture.ts';
export type { Condition } from './choose.ts';
export type { MappingCounters, UplinkCounters } from './counters.ts';
export { PATH_EVENTS, type PathEvent, type PathEventKind } from './events.ts';
export type { GuestAddress } from './guest-addresses.ts';
export { NetworkPaths, type PathOptions } from './network-paths.ts';
export type { MonitorSettings } from './path-monitor.ts';
export { LONGEST_SNAP_BYTES } from './pcapng.ts';
export type * from './ports.ts';
export type { InterfaceReport, NetReport, PathStats, UplinkReport } from './report.ts';

/** What there is to tell of paths, as plain data: for `kage net ls` and `kage stats`. */
import { formatIpv4, formatMac } from '../addresses.ts';
import type { Condition } from './choose.ts';
import type { MappingCounters, UplinkCounters } from './counters.ts';
import type { PathEvents } from './events.ts';
import type { MonitorCounters } from './path-monitor.ts';
import type { Failback, Probing } from './ports.ts';
import type { Uplink } from './uplink.ts';
import type { VirtualInterface } from './virtual-interface.ts';
import type { SwitchCounters, VirtualSwitch } from './virtual-switch.ts';

export interface InterfaceReport {
  readonly name: string;
  readonly network: string;
  /** None: those that it sends from. */
  readonly mac?: string;
  /** The preferred one first. */
  readonly uplinks: readonly string[];
  /** None: the guest has no carrier. */
  readonly inForce?: string;
  /** Milliseconds since 1970. */
  readonly sinceWallMs: number;
  readonly why: string;
  readonly failback: Failback;
  readonly linkUp: boolean;
  /** Addresses that were learned of the guest, and are announced. */
  readonly addresses: number;
  readonly counters: MappingCounters;
}

export interface UplinkReport {
  readonly name: string;
  readonly kind: string;
  readonly network: string;
  readonly condition: Condition;
  readonly probing: Probing;
  readonly targets: readonly string[];
  readonly mtuBytes: number;
  /** Interfaces that have it in force. */
  readonly interfaces: readonly string[];
  readonly counters: UplinkCounters;
}

export interface NetReport {
  readonly failover: boolean;
  readonly interfaces: readonly InterfaceReport[];
  readonly uplinks: readonly UplinkReport[];
}

export interface NetworkStats {
  readonly switch: SwitchCounters;
  readonly learned: { readonly local: number; readonly remote: number; readonly evicted: number };
  readonly probes: MonitorCounters;
}

export interface PathStats {
  readonly failover: boolean;
  readonly mappings: Readonly<Record<string, MappingCounters>>;
  readonly uplinks: Readonly<Record<string, UplinkCounters>>;
  readonly networks: Readonly<Record<string, NetworkStats>>;
  readonly events: Readonly<Record<string, number>>;
}

export function netReport(
  failover: boolean,
  interfaces: Iterable<VirtualInterface>,
  uplinks: Iterable<Uplink>,
): NetReport {
  return {
    failover,
    interfaces: [...interfaces].map(({ name, network, mac, row, linkUp, addresses }) => ({
      name,
      network,
      ...(mac === undefined ? {} : { mac: formatMac(mac) }),
      uplinks: row.uplinks.map((uplink) => uplink.name),
      ...(row.inForce === undefined ? {} : { inForce: row.inForce.name }),
      sinceWallMs: row.sinceWallMs,
      why: row.why,
      failback: row.failback,
      linkUp: linkUp === true,
      addresses: addresses.size,
      counters: { ...row.counters },
    })),
    uplinks: [...uplinks].map(({ name, kind, network, health, probing, targets, mtuBytes, carried, counters }) => ({
      ...{ name, kind, network, probing, mtuBytes },
      condition: health.condition,
      targets: targets.map(formatIpv4),
      interfaces: [...carried].map((one) => one.name),
      counters: { ...counters },
    })),
  };
}

export function pathStats(
  { failover, interfaces, uplinks }: NetReport,
  switches: ReadonlyMap<string, VirtualSwitch>,
  events: PathEvents,
): PathStats {
  return {
    failover,
    mappings: Object.fromEntries(interfaces.map(({ name, counters }) => [name, counters])),
    uplinks: Object.fromEntries(uplinks.map(({ name, counters }) => [name, counters])),
    networks: Object.fromEntries(
      [...switches].map(([name, { counters, learned, monitor }]) => [
        name,
        { switch: { ...counters }, learned, probes: { ...monitor.counters } },
      ]),
    ),
    events: events.counts(),
  };
}

/** What heartbeats cost, by kind: between hosts, from slaves to their master, and to slaves. */
import type { DatagramKind } from './datagrams.ts';

export interface Traffic {
  packets: number;
  bytes: number;
}

export interface HeartbeatCounters {
  readonly sent: Record<DatagramKind, Traffic>;
  readonly received: Record<DatagramKind, Traffic>;
  /** Intervals that have passed. */
  intervals: number;
  /** Datagrams that were not ours. */
  broken: number;
  /** Beats that slaves gave their master; they stay on the host. */
  localBeats: number;
  /** Orders to slaves, of active guests and of standbys. */
  ordersToActive: number;
  ordersToStandby: number;
  /** Heartbeats that reached a standby's slave: none but with `--heartbeats direct`. */
  beatsToStandby: number;
  suspicions: number;
}

export function newHeartbeatCounters(): HeartbeatCounters {
  const traffic = (): Record<DatagramKind, Traffic> => ({
    beat: { packets: 0, bytes: 0 },
    pull: { packets: 0, bytes: 0 },
    details: { packets: 0, bytes: 0 },
    direct: { packets: 0, bytes: 0 },
  });
  const slaves = { localBeats: 0, ordersToActive: 0, ordersToStandby: 0, beatsToStandby: 0 };
  return { sent: traffic(), received: traffic(), intervals: 0, broken: 0, ...slaves, suspicions: 0 };
}

export function count(traffic: Traffic, bytes: number): void {
  traffic.packets += 1;
  traffic.bytes += bytes;
}

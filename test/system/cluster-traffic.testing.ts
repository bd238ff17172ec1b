/** What hosts say to each other, as long as all is well. */
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError } from '../../src/base/errors.ts';
import type { ClusterHost } from './cluster-host.testing.ts';

export interface Heartbeats {
  readonly perSecond: number;
  /** On the wire. */
  readonly bytesEach: number;
  /** That reached slaves of standbys. */
  readonly toStandbys: number;
}

/** Heartbeats that hosts sent to each other meanwhile, by their daemons' own count, which has to be the kernel's. */
export async function heartbeatsOf(hosts: readonly ClusterHost[], forMs: number): Promise<Heartbeats> {
  const look = async (): Promise<number[]> => {
    const all = await Promise.all(
      hosts.map(async (host) => {
        const count = await host.metrics();
        const value = (name: string): number => count.get(`kagemusha_cluster_${name}`) ?? 0;
        const sent = (name: string): number => value(`heartbeat_${name}_total{direction="sent"}`);
        return [sent('packets'), sent('bytes'), host.datagrams().sent, value('standby_heartbeats_total')];
      }),
    );
    return [0, 1, 2, 3].map((i) => all.reduce((sum, one) => sum + (one[i] ?? 0), 0));
  };
  const began = performance.now();
  const before = await look();
  await sleep(forMs);
  const after = await look();
  const seconds = (performance.now() - began) / 1000;
  const [packets = 0, bytes = 0, byKernel = 0, toStandbys = 0] = after.map((value, i) => value - (before[i] ?? 0));
  // Between the two looks at a host one more may leave.
  if (Math.abs(packets - byKernel) > 2 * hosts.length)
    throw new HostError('miscounted', `${packets} heartbeats were counted, and the kernel sent ${byKernel} datagrams`);
  return { perSecond: packets / seconds, bytesEach: bytes / packets, toStandbys };
}

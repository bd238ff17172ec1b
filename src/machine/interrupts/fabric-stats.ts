/** The counters of a machine's interrupt fabric, as plain data: what `kage stats` shows of it. May be read while it runs. */
import { type InterruptPort, requesterName } from '../../devices/index.ts';
import type { InterruptService } from '../../hypervisor/index.ts';

/** Of a function. Latencies are from its transaction to the delivery, of the oldest where several were delivered at once. */
export interface RequesterStats {
  /** What it sent: rising pins and messages; of these, those that found themselves waiting already. */
  readonly interrupts: number;
  readonly merged: number;
  readonly delivered: number;
  /** For nobody, for no interrupt file, without a place, or no interrupt at all. */
  readonly dropped: number;
  /** How often the VMM asked it; 0 with the relay. */
  readonly polls: number;
  /** How often it had to wait, as it interrupted too often. */
  readonly deferrals: number;
  /** Interrupts in the last second or so. */
  readonly perSecond: number;
  /** Least upper bounds in microseconds; absent: nothing was delivered. */
  readonly latencyUs?: { readonly half: number; readonly most99: number; readonly most: number };
}

export interface FabricStats {
  readonly relay: 'on' | 'off';
  readonly interrupts: number;
  /** How often the VMM asked a function, and how often it would have had to without the relay. */
  readonly polls: number;
  readonly pollsAvoided: number;
  /** Messages of ports that were looked at; of these, those whose cause had been taken already. */
  readonly messages: number;
  readonly empty: number;
  /** Transactions of requesters that no port knows. */
  readonly unknown: number;
  /** By place, as the partition's fabric numbers it: `01:00.0`; with the partition's number where it is not asked for one. */
  readonly requesters: Readonly<Record<string, RequesterStats>>;
}

export function fabricStats(
  service: InterruptService,
  ports: readonly InterruptPort[],
  now: number,
  partition: number | undefined,
): FabricStats {
  const requesters: Record<string, RequesterStats> = {};
  for (const { port, first } of service.placed) {
    for (let record = 0; record < port.shape.functions; record++) {
      const requester = port.records.requesterOf(record);
      if (requester === undefined) continue;
      const segment = Math.floor(requester / 0x1_0000);
      if (partition !== undefined && segment !== partition) continue;
      const name = requesterName(requester % 0x1_0000);
      requesters[partition === undefined ? `${segment}/${name}` : name] = {
        ...service.counters(first + record, now),
        ...port.records.counters(record),
        dropped: service.counters(first + record, now).dropped + port.records.counters(record).dropped,
      };
    }
  }
  return {
    relay: ports.some(({ relay }) => relay !== undefined) ? 'on' : 'off',
    interrupts: Object.values(requesters).reduce((sum, { interrupts }) => sum + interrupts, 0),
    ...service.totals(),
    unknown: ports.reduce((sum, port) => sum + port.unknown, 0),
    requesters: Object.fromEntries(Object.entries(requesters).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

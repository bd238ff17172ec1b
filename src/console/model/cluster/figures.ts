/** What a cluster's heartbeats counted, as samples that charts and figures read (figures.ts). */
import type { ChartRow } from '../charts.ts';
import { levelSeries, meanRate, numbersIn, rateSeries, type Sample } from '../figures.ts';
import { count, perSecond } from '../format.ts';
import type { ClusterReport } from './report.ts';

export function clusterSample({ guests, heartbeats }: ClusterReport, atMs: number): Sample {
  const values = numbersIn(heartbeats?.counters, 'heartbeats');
  values.set('guests', guests.length);
  for (const { name, associations, methods, missed } of guests) {
    const inForce = methods.find(({ method }) => method === associations[0]?.method);
    if (inForce === undefined) continue;
    const { price, recoveryMs, memoryBytes, diskBytes, bytesPerS } = inForce;
    for (const [what, value] of Object.entries({
      price,
      recoveryS: recoveryMs / 1000,
      memoryBytes,
      diskBytes,
      bytesPerS,
    }))
      values.set(`guests/${name}/${what}`, value);
    values.set(`guests/${name}/missed`, missed.length);
  }
  if (heartbeats === undefined) return { atMs, values };
  for (const way of ['sent', 'received'] as const) {
    const all = Object.values(heartbeats.counters[way]);
    values.set(
      `heartbeats.${way}`,
      all.reduce((sum, { packets }) => sum + packets, 0),
    );
    values.set(
      `heartbeats.${way}Bytes`,
      all.reduce((sum, { bytes }) => sum + bytes, 0),
    );
  }
  values.set('slaves', heartbeats.slaves);
  return { atMs, values };
}

/** With figures of that guest below `guest.`, whatever its name is. */
export function samplesOf(samples: readonly Sample[], guest: string): Sample[] {
  const prefix = `guests/${guest}/`;
  return samples.map(({ atMs, values }) => {
    const own = [...values].filter(([path]) => path.startsWith(prefix));
    const named = own.map(([path, value]) => [`guest.${path.slice(prefix.length)}`, value] as const);
    return { atMs, values: new Map([...values, ...named]) };
  });
}

const RATE_MS = 5000;

/** Between hosts, over the last seconds; undefined until there were two polls. */
export function heartbeatRates(samples: readonly Sample[]): {
  readonly sentPerS: number | undefined;
  readonly receivedPerS: number | undefined;
} {
  const fromMs = (samples.at(-1)?.atMs ?? 0) - RATE_MS;
  return {
    sentPerS: meanRate(samples, 'heartbeats.sent', fromMs),
    receivedPerS: meanRate(samples, 'heartbeats.received', fromMs),
  };
}

export const heartbeatCharts: readonly ChartRow[] = [
  {
    id: 'between-hosts',
    title: 'Packets between hosts',
    hint: "This host's; as many with a thousand guests.",
    format: perSecond,
    series: (samples) => [
      rateSeries(samples, 'heartbeats.sent', 'sent'),
      rateSeries(samples, 'heartbeats.received', 'received'),
    ],
  },
  {
    id: 'within-host',
    title: "Slaves' beats",
    hint: 'They stay on their host, and grow with its guests.',
    format: perSecond,
    series: (samples) => [rateSeries(samples, 'heartbeats.localBeats', 'beats')],
  },
  {
    id: 'slaves',
    title: 'Guests',
    hint: 'In the cluster, and those with a slave on this host.',
    format: count,
    series: (samples) => [levelSeries(samples, 'guests', 'in the cluster'), levelSeries(samples, 'slaves', 'here')],
  },
];

/** Metrics of this host's part of the cluster. */
import { metricText, type Sample } from '../api/metric-text.ts';
import type { ClusterMember, MemberState } from './member.ts';

const STATES: readonly MemberState[] = ['joining', 'in', 'leaving', 'left', 'replaced'];
const one = (value: number): Sample[] => [{ labels: {}, value }];

export function clusterMetrics(member: ClusterMember): string {
  const { director, datagramCounters, state, takeovers } = member;
  const { mirror } = member.view;
  const guests = member.view.lines();
  const slaves = director?.master.counters;
  const traffic = (sent: number, received: number): Sample[] => [
    { labels: { direction: 'sent' }, value: sent },
    { labels: { direction: 'received' }, value: received },
  ];
  const datagrams = datagramCounters;
  return [
    metricText('cluster_state', 'gauge', "This host's stay in the cluster: 1 at the state it is in", [
      ...STATES.map((name) => ({ labels: { state: name }, value: name === state ? 1 : 0 })),
    ]),
    metricText('cluster_lease_left_seconds', 'gauge', "Until this host's lease ends", one(member.leaseLeftMs / 1000)),
    metricText(
      'cluster_is_leader',
      'gauge',
      'Whether this host plans for all',
      one(director?.leader === undefined ? 0 : 1),
    ),
    metricText(
      'cluster_store_heard',
      'gauge',
      'Whether changes of the store are heard of',
      one(mirror.problem === undefined ? 1 : 0),
    ),
    ...(datagrams === undefined
      ? []
      : [
          metricText(
            'cluster_heartbeat_packets_total',
            'counter',
            'Datagrams between hosts',
            traffic(datagrams.sentPackets, datagrams.receivedPackets),
          ),
          metricText(
            'cluster_heartbeat_bytes_total',
            'counter',
            'Their bytes on the wire',
            traffic(datagrams.sentBytes, datagrams.receivedBytes),
          ),
          metricText(
            'cluster_datagrams_refused_total',
            'counter',
            'Datagrams of nobody that is known',
            one(datagrams.refused),
          ),
        ]),
    ...(slaves === undefined
      ? []
      : [
          metricText('cluster_suspicions_total', 'counter', 'Times that a host was suspected', one(slaves.suspicions)),
          metricText('cluster_slave_beats_total', 'counter', 'Beats of guests here', one(slaves.localBeats)),
          metricText('cluster_slave_orders_total', 'counter', 'What slaves were told', [
            { labels: { role: 'active' }, value: slaves.ordersToActive },
            { labels: { role: 'standby' }, value: slaves.ordersToStandby },
          ]),
          metricText(
            'cluster_standby_heartbeats_total',
            'counter',
            "Heartbeats that reached a standby's slave",
            one(slaves.beatsToStandby),
          ),
        ]),
    metricText('cluster_takeovers_total', 'counter', 'Guests that came here from another host', [
      ...(['cold', 'warm', 'hot', 'pair'] as const).map((method) => ({
        labels: { method },
        value: takeovers.get(method) ?? 0,
      })),
    ]),
    metricText('cluster_guests', 'gauge', 'Guests of the cluster by state', [
      ...(['running', 'moving', 'waiting', 'stopped'] as const).map((of) => ({
        labels: { state: of },
        value: guests.filter((guest) => guest.state === of).length,
      })),
    ]),
    metricText(
      'cluster_guests_missing',
      'gauge',
      'Guests with a requirement that nothing meets',
      one(guests.filter(({ missed }) => missed.length > 0).length),
    ),
  ].join('');
}

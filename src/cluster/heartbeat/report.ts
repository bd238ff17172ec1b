/** What a master has to tell people: its counters, and what it knows of its peers. */
import type { HeartbeatCounters } from './counters.ts';
import type { Master } from './master.ts';
import type { Peer } from './peer.ts';

export interface HeartbeatReport {
  readonly mode: 'constant' | 'direct';
  /** Between beats to each peer. */
  readonly beatMs: number;
  /** Slaves of active guests and of standbys on this host. */
  readonly slaves: number;
  readonly counters: HeartbeatCounters;
  readonly peers: readonly PeerLine[];
}

export interface PeerLine {
  readonly host: string;
  /** Since its last beat; time in which this host stood still itself does not count. */
  readonly silentMs: number;
  readonly isSuspected: boolean;
  /** What it said last of its guests and of its lease; undefined: it was not heard yet. */
  readonly last: { readonly guests: number; readonly notWell: number; readonly leaseLeftMs: number } | undefined;
}

export function heartbeatReport(master: Master): HeartbeatReport {
  const { beatMs } = master.settings;
  return {
    ...{ mode: master.heartbeats, beatMs, slaves: master.slaves.count },
    counters: master.counters,
    peers: [...master.peers].map(peerLine),
  };
}

function peerLine({ host, silentMs, isSuspected, last }: Peer): PeerLine {
  const said =
    last === undefined
      ? undefined
      : { guests: last.guests, notWell: last.notWell, leaseLeftMs: Math.max(0, last.leaseLeftMs) };
  return { host, silentMs: Math.max(0, Math.round(silentMs)), isSuspected, last: said };
}

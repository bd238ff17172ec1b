/**
 * Counters of the user-mode network: plain numbers in groups, so that `stats()` is a copy and the metrics derive
 * their names from the keys. Guests can only make them grow; nothing is ever logged per frame.
 */

export function newNetworkCounters() {
  return {
    /** The link to the guest: `in` comes from the guest. */
    link: {
      framesIn: 0,
      bytesIn: 0,
      framesOut: 0,
      bytesOut: 0,
      droppedShort: 0,
      droppedLong: 0,
      droppedIpv6: 0,
      droppedOtherType: 0,
      droppedOtherMac: 0,
      /** Frames for a guest that was not ready, beyond the queue. */
      droppedNotReady: 0,
      queuedNotReady: 0,
    },
    arp: {
      requestsIn: 0,
      repliesIn: 0,
      requestsOut: 0,
      repliesOut: 0,
      malformed: 0,
      spoofed: 0,
      unresolved: 0,
      evicted: 0,
    },
    ipv4: {
      packetsIn: 0,
      malformed: 0,
      spoofedSource: 0,
      badDestination: 0,
      ttlExpired: 0,
      unknownProtocol: 0,
      fragmentsIn: 0,
      reassembled: 0,
      reassemblyDropped: 0,
      fragmentsOut: 0,
      restricted: 0,
    },
    icmp: {
      echoIn: 0,
      echoReplies: 0,
      echoForwarded: 0,
      echoDropped: 0,
      unreachableOut: 0,
      timeExceededOut: 0,
      malformed: 0,
      ignored: 0,
    },
    dhcp: {
      discovers: 0,
      requests: 0,
      offers: 0,
      acks: 0,
      naks: 0,
      releases: 0,
      declines: 0,
      informs: 0,
      malformed: 0,
      exhausted: 0,
    },
    dns: {
      queries: 0,
      answeredFromHosts: 0,
      forwarded: 0,
      answered: 0,
      serverFailures: 0,
      noServer: 0,
      timedOut: 0,
      malformed: 0,
      refused: 0,
      overLimit: 0,
      badResponses: 0,
    },
    udp: {
      datagramsOut: 0,
      datagramsIn: 0,
      bytesOut: 0,
      bytesIn: 0,
      malformed: 0,
      badChecksum: 0,
      flowsOpened: 0,
      flowsExpired: 0,
      flowsEvicted: 0,
      flowsFailed: 0,
      /** Datagrams from hosts that the guest never addressed. */
      unsolicited: 0,
      undeliverable: 0,
    },
    tcp: {
      segmentsIn: 0,
      segmentsOut: 0,
      bytesToHost: 0,
      bytesToGuest: 0,
      malformed: 0,
      badChecksum: 0,
      opened: 0,
      accepted: 0,
      established: 0,
      refused: 0,
      unreachable: 0,
      resetByGuest: 0,
      resetByHost: 0,
      closed: 0,
      evicted: 0,
      timedOut: 0,
      /** Connections refused because buffers or the table were used up. */
      overLimit: 0,
      retransmits: 0,
      fastRetransmits: 0,
      windowProbes: 0,
      duplicateAcks: 0,
      outOfOrder: 0,
      outOfOrderDropped: 0,
      outOfWindow: 0,
      challengeAcks: 0,
      resetsOut: 0,
      unknownConnection: 0,
    },
    publish: { listening: 0, failed: 0, tcpConnections: 0, tcpRejected: 0, udpDatagrams: 0, udpRejected: 0 },
    /** Gauges: what stands at this moment. */
    now: { tcpConnections: 0, udpFlows: 0, bufferedBytes: 0, publishedPorts: 0, dnsQueries: 0, leases: 0 },
  };
}

/** The plain object that `stats()` returns. */
export type NetworkCounters = ReturnType<typeof newNetworkCounters>;

/** A copy that does not change any more. */
export function copyCounters(counters: NetworkCounters): NetworkCounters {
  const copy = newNetworkCounters();
  assignCounters(copy, counters);
  return copy;
}

/** Overwrites `into` by every number that `from` has under the same name; others stay. */
export function assignCounters(into: NetworkCounters, from: object): void {
  for (const [group, values] of Object.entries(into) as [string, Record<string, number>][]) {
    const saved: unknown = (from as Record<string, unknown>)[group];
    if (typeof saved !== 'object' || saved === null) continue;
    for (const name of Object.keys(values)) {
      const value: unknown = (saved as Record<string, unknown>)[name];
      if (typeof value === 'number' && Number.isFinite(value)) values[name] = value;
    }
  }
}

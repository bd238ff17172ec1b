/**
 * What happened in the cluster, as all its hosts told it: each keeps its own events, and is asked for them over the peers' channel.
 * Their clocks differ; a host's events are shifted by what its clock was ahead when it answered, so that all stand in this
 * host's time, to half of what the answer took.
 */
import * as z from 'zod';
import { type ClusterHistory, type HostEvent, hostEvent } from '../schemas/partition.ts';
import type { Store } from '../store/index.ts';
import type { PeerChannel } from './peer-channel.ts';

const KIND = 'history';
/** Of each host; an answer has at most a mebibyte. */
const MOST = 1000;
/** A host that is gone is known to be by then, and the page waits. */
const PATIENCE_MS = 1500;

const answer = z.object({ now: z.number(), events: z.array(z.unknown()) });
type Told = ClusterHistory['events'][number];

/** Peers are told what this host keeps. */
export function serveHistory(channel: PeerChannel, store: Store): void {
  channel.serve(KIND, async () => ({ now: Date.now(), events: own(store) }));
}

export interface HistoryParts {
  readonly self: string;
  /** Others that are in the cluster. */
  readonly hosts: readonly string[];
  readonly store: Store;
  readonly channel: PeerChannel;
}

export async function clusterHistory(
  { self, hosts, store, channel }: HistoryParts,
  signal: AbortSignal,
): Promise<ClusterHistory> {
  const silent: string[] = [];
  const limit = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
  const theirs = await Promise.all(
    hosts.map(async (host): Promise<Told[]> => {
      const askedMs = Date.now();
      try {
        const { now, events } = answer.parse(await channel.ask(host, KIND, self, {}, limit));
        return shifted(host, events, (askedMs + Date.now()) / 2 - now);
      } catch {
        silent.push(host);
        return [];
      }
    }),
  );
  signal.throwIfAborted();
  const all = [...own(store).map((event) => ({ ...event, host: self })), ...theirs.flat()];
  return { events: all.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)), silent: silent.sort() };
}

function own(store: Store): HostEvent[] {
  return store.events({ kind: 'cluster', most: MOST });
}

/** What a host of another version tells, and is none of ours, is passed by. */
function shifted(host: string, events: readonly unknown[], byMs: number): Told[] {
  return events.slice(-MOST).flatMap((one) => {
    const read = hostEvent.safeParse(one);
    if (!read.success || read.data.kind !== 'cluster') return [];
    return [{ ...read.data, host, at: new Date(Date.parse(read.data.at) + byMs).toISOString() }];
  });
}

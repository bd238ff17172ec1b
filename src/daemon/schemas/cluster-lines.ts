/** Parts of a cluster's report: what methods would give a guest and cost, and what its hosts' hearts counted. */
import * as z from 'zod';
import { count, text } from './words.ts';

const method = z.enum(['cold', 'warm', 'hot', 'pair']);
export const association = z.object({ host: text(64), method });

export const requirements = z
  .object({
    recoveryTimeMs: z.number(),
    dataLossMs: z.number().describe('Without it its memory may be lost, but not its disk.').exactOptional(),
    performanceFloor: z.number(),
    priority: z.number(),
  })
  .meta({ id: 'ClusterRequirements', description: 'What a guest needs, defaults included.' });

export const methodLine = z
  .object({
    method,
    isAllowed: z.boolean().describe('It can be used with that method, and is not fixed to another.'),
    recoveryMs: z.number().describe("From a host's death to the guest's answer."),
    lossMs: z.number().describe('How much of its work is lost at most; without it: its memory.').exactOptional(),
    speed: z.number().describe('The part of its speed that is left while nothing fails.'),
    everyMs: z.number().describe('Between checkpoints; 0: there are none.'),
    memoryBytes: z.number().describe('Held on the other host; so are disk and cores.'),
    diskBytes: z.number(),
    cores: z.number(),
    bytesPerS: z.number().describe('Between hosts.'),
    price: z.number().describe('Of all that, to compare: a core is 1, a GiB of memory too.'),
    missed: z.array(text()).describe('Requirements that it would not meet.'),
  })
  .meta({
    id: 'ClusterMethod',
    description: 'What a method of failover would give a guest, and take, by figures of now.',
  });

const traffic = z.object({ packets: count, bytes: count });
const byKind = z.object({ beat: traffic, pull: traffic, details: traffic, direct: traffic });

export const heartbeatMode = z.enum(['constant', 'direct']);
export const heartbeatReport = z
  .object({
    mode: heartbeatMode,
    beatMs: count.describe('Between beats to each peer.'),
    slaves: count.describe('On this host.'),
    counters: z.object({
      ...{ sent: byKind, received: byKind, intervals: count },
      broken: count.describe('Datagrams that were none of the cluster.'),
      localBeats: count.describe('That slaves gave their master; they stay on the host.'),
      ...{ ordersToActive: count, ordersToStandby: count },
      beatsToStandby: count.describe("That reached standbys' slaves: none but with `direct`."),
      suspicions: count,
    }),
    peers: z.array(
      z.object({
        host: text(64),
        silentMs: count.describe('Since its last beat.'),
        isSuspected: z.boolean(),
        last: z
          .object({ guests: count, notWell: count, leaseLeftMs: count })
          .describe('What it said; not there: it was not heard yet.')
          .exactOptional(),
      }),
    ),
  })
  .meta({ id: 'ClusterHeartbeats', description: "What this host's master counted, and its peers." });

export const heartbeatsRequest = z
  .strictObject({ mode: heartbeatMode })
  .meta({ id: 'ClusterHeartbeatsRequest', description: "The switch of constant heartbeats, of this host's." });

/** Time, checksums and packing, as replication takes them. */
import type { ReplicationPorts, StreamCodecs } from '../../replication/index.ts';
import { codecs, packed } from '../snapshots/index.ts';

export const nodePorts: ReplicationPorts = {
  nowMs: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

export const streamCodecs: StreamCodecs = { crc32: codecs.crc32, unzstd: codecs.unzstd, pack: packed };

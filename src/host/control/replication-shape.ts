/** Replication on the control socket: what is asked for, and what is told of it. */
import type { Distribution, ReplicationMeasures } from '../../replication/index.ts';
import type { MigrationResult, Promotion, ReplicationReport, WriteRate } from '../machine/machine-api.ts';
import type { WarmReport } from '../replication/index.ts';
import { lease } from './lease-shape.ts';
import { integer, listOf, number, oneOf, optional, record, type Shape, text, truth } from './shape.ts';

/** Milliseconds, bytes, pages a second: nothing is below none of it, and parts count. */
const quantity = number(0, Number.MAX_SAFE_INTEGER);
const count = integer(0, Number.MAX_SAFE_INTEGER);
const connection = {
  to: text(512),
  compress: optional(truth),
  tls: optional(text()),
  silenceMs: optional(integer(100, 600_000)),
};

export const replicateOptions = record({
  ...connection,
  epochMs: optional(integer(1, 60_000)),
  eager: optional(truth),
  onLoss: optional(oneOf('go-on', 'wait')),
  mostHeldBytes: optional(integer(1 << 16, 2 ** 32)),
});

export const migrateOptions = record({
  ...connection,
  downtimeMs: optional(integer(1, 60_000)),
  throttle: optional(truth),
});

const distribution: Shape<Distribution> = record({ p50: quantity, p99: quantity, most: quantity });

const measures: Shape<ReplicationMeasures> = record({
  checkpoints: count,
  pages: count,
  bytes: count,
  dirtyPagesPerSecond: quantity,
  pagesEach: distribution,
  bytesEach: distribution,
  pauseMs: distribution,
  ackMs: distribution,
  heldPeakBytes: quantity,
  stalls: count,
  early: count,
});

const warm: Shape<WarmReport> = record({
  folder: text(),
  taken: count,
  failed: count,
  file: optional(text()),
  base: optional(text()),
  takenAtMs: optional(quantity),
  pausedMs: optional(quantity),
  sizeBytes: optional(count),
  why: optional(text()),
});

export const replicationReport: Shape<ReplicationReport> = record({
  role: oneOf('none', 'active', 'standby', 'source', 'target'),
  state: text(64),
  peer: optional(text(512)),
  address: optional(text(512)),
  epoch: count,
  measures: optional(measures),
  warm: optional(warm),
  events: listOf(record({ atMs: quantity, what: text(64), why: text(4096) }), 1000),
});

export const warmOptions = record({
  folder: text(),
  everyMs: integer(100, 86_400_000),
  keep: optional(integer(1, 1000)),
});

export const writeRate: Shape<WriteRate> = record({ pagesPerSecond: quantity, pauseMs: quantity });
export const promotion: Shape<Promotion> = record({ epoch: count, tookMs: quantity });
export const promoteOptions = record({
  lease: optional(lease),
  files: optional(listOf(record({ drive: integer(0, 63), file: text() }), 64)),
});

export const migrationResult: Shape<MigrationResult> = record({
  downtimeMs: quantity,
  tookMs: quantity,
  rounds: count,
  pages: count,
  bytes: count,
  throttles: count,
  why: text(512),
});

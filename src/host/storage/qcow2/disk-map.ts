/**
 * A qcow2 image's disk as stretches that are alike: which part of it lies within one L2 table, which clusters lie in a row
 * in the file, which can be written where they are.
 */
import type { Cluster } from './entries.ts';
import type { Metadata } from './metadata.ts';
import type { Table } from './table-cache.ts';

/** A part of the disk that lies within one L2 table. */
export interface Segment {
  readonly index: number;
  readonly at: number;
  readonly end: number;
}

/** Clusters of one kind in a row; `cluster` is the first one. */
export interface Stretch {
  readonly cluster: Cluster;
  readonly from: number;
  readonly to: number;
}

export class DiskMap {
  readonly clusterBytes: number;
  readonly #metadata: Metadata;

  constructor(metadata: Metadata) {
    this.#metadata = metadata;
    this.clusterBytes = metadata.header.clusterBytes;
  }

  segments(offset: number, end: number): Segment[] {
    const tableSpan = this.#metadata.entriesPerTable * this.clusterBytes;
    const segments: Segment[] = [];
    for (let at = offset; at < end; ) {
      const index = Math.floor(at / tableSpan);
      const stop = Math.min(end, (index + 1) * tableSpan);
      segments.push({ index, at, end: stop });
      at = stop;
    }
    return segments;
  }

  /** Stretches of the disk that are alike; data only as long as it lies in a row. Within one table. */
  stretches(table: Table, at: number, end: number): Stretch[] {
    const stretches: Stretch[] = [];
    let last: Stretch | undefined;
    for (let from = at; from < end; ) {
      const to = Math.min(end, this.clusterStart(from) + this.clusterBytes);
      const cluster = this.#metadata.cluster(table, this.slotOf(from));
      if (last !== undefined && this.#goesOn(last, cluster)) {
        last = { ...last, to };
        stretches[stretches.length - 1] = last;
      } else {
        last = { cluster, from, to };
        stretches.push(last);
      }
      from = to;
    }
    return stretches;
  }

  /** What the clusters from `start` to `stop` refer to, in the file. */
  referencesFrom(table: Table, start: number, stop: number): number[] {
    const references: number[] = [];
    for (let at = start; at < stop; at += this.clusterBytes) {
      references.push(...this.#metadata.referencesOf(this.#metadata.cluster(table, this.slotOf(at))));
    }
    return references;
  }

  /** The whole clusters of the range; the disk's last one is whole up to its end. */
  wholeClusters(offset: number, end: number): { readonly start: number; readonly end: number } {
    const start = Math.ceil(offset / this.clusterBytes) * this.clusterBytes;
    return { start, end: end === this.#metadata.header.sizeBytes ? end : this.clusterStart(end) };
  }

  /** Which entry of its table a place of the disk has. */
  slotOf(offset: number): number {
    return Math.floor(offset / this.clusterBytes) % this.#metadata.entriesPerTable;
  }

  clusterStart(offset: number): number {
    return offset - (offset % this.clusterBytes);
  }

  #goesOn({ cluster, from, to }: Stretch, next: Cluster): boolean {
    if (cluster.kind !== next.kind || cluster.kind === 'compressed') return false;
    if (cluster.kind !== 'data' || next.kind !== 'data') return true;
    return cluster.copied === next.copied && cluster.at + (to - this.clusterStart(from)) === next.at;
  }
}

export function isInPlace({ cluster }: Stretch): boolean {
  return cluster.kind === 'data' && cluster.copied;
}

/** What is to get new places, joined where it lies side by side. */
export function newRuns(stretches: readonly Stretch[]): { from: number; to: number }[] {
  const runs: { from: number; to: number }[] = [];
  for (const stretch of stretches) {
    if (isInPlace(stretch)) continue;
    const last = runs.at(-1);
    if (last !== undefined && last.to === stretch.from) last.to = stretch.to;
    else runs.push({ from: stretch.from, to: stretch.to });
  }
  return runs;
}

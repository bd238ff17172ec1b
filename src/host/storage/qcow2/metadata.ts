/**
 * What an image's tables say, in memory: which cluster of the file is which of the guest's (L1, L2), who refers to which
 * (refcount-map.ts). Reading loads tables as they are needed. Changes stay in memory until they are committed
 * (commit.ts), and no table is ever written where it lies: so an image is changed in place at two spots alone, the
 * guest's own data and the header.
 *
 * The image may be hostile. Where tables lie is known, and what its entries call data may not lie there: else a guest
 * could write the header of its own image, and name a file of the host's as the one below.
 */
import { HostError } from '../../../base/errors.ts';
import { Mutex } from '../mutex.ts';
import { type Cluster, clusterAt, placeAt } from './entries.ts';
import type { Qcow2Header } from './header.ts';
import type { ImageFile } from './image-file.ts';
import { RefcountMap } from './refcount-map.ts';
import { type Table, TableCache } from './table-cache.ts';

const L2_CACHE_BYTES = 8 << 20;

/** Clusters in a row, numbers of the file's. */
export interface Run {
  readonly first: number;
  readonly count: number;
}

export interface Tables {
  readonly l1: Uint8Array;
  /** Whole clusters. */
  readonly refcountTable: Uint8Array;
  /** Where the snapshots' table and their L1 tables lie. */
  readonly snapshots: readonly Run[];
}

export class Metadata {
  readonly header: Qcow2Header;
  readonly l1: DataView;
  readonly l2: TableCache;
  readonly refcounts: RefcountMap;
  /** Whoever changes references is alone with it. */
  readonly changes = new Mutex();
  readonly #file: ImageFile;
  /** Clusters of L2 tables and refcount blocks, of this state and of the one on the medium. */
  readonly #places = new Set<number>();
  /** Of the other tables, likewise. */
  readonly #runs: Run[];
  #failure: Error | undefined;

  constructor(header: Qcow2Header, tables: Tables, file: ImageFile) {
    this.header = header;
    this.#file = file;
    const { l1, refcountTable, snapshots } = tables;
    this.l1 = new DataView(l1.buffer, l1.byteOffset, l1.length);
    const load = (at: number, into: Uint8Array): Promise<void> => this.#load(at, into);
    this.l2 = new TableCache(header.clusterBytes, L2_CACHE_BYTES, async (index, into) => {
      const at = placeAt(this.l1, index);
      if (at !== 0) await load(at, into);
    });
    this.refcounts = new RefcountMap(header, refcountTable, load, {
      isMetadata: (cluster) => this.isMetadata(cluster),
      fileClusters: () => Math.ceil(file.sizeBytes / header.clusterBytes),
    });
    this.#runs = [this.runAt(header.l1At, l1.length), this.runAt(header.refcountTableAt, refcountTable.length)];
    this.#runs.push({ first: 0, count: 1 }, ...snapshots);
    for (const table of [this.l1, new DataView(refcountTable.buffer, refcountTable.byteOffset, refcountTable.length)]) {
      for (let slot = 0; slot * 8 + 8 <= table.byteLength; slot++) this.addPlace(placeAt(table, slot));
    }
  }

  /** Entries of an L2 table. */
  get entriesPerTable(): number {
    return this.header.clusterBytes / 8;
  }

  /** Why nothing can be written any more. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Memory for changes is used up: a commit is due. */
  get isFull(): boolean {
    return this.l2.isFull || this.refcounts.isFull;
  }

  /** From here on nothing is written: what the medium holds stays as it was committed last. */
  fail(error: unknown): HostError {
    const failure =
      error instanceof HostError
        ? error
        : new HostError('disk-failed', 'the tables of the image failed', { cause: error });
    this.#failure ??= failure;
    return failure;
  }

  runAt(at: number, sizeBytes: number): Run {
    const { clusterBytes } = this.header;
    return { first: Math.floor(at / clusterBytes), count: Math.ceil(sizeBytes / clusterBytes) };
  }

  /** What a slot of a guest's table says; throws HostError `disk-corrupt` where that cannot be. */
  cluster(table: Table, slot: number): Cluster {
    const { version, clusterBits, clusterBytes } = this.header;
    const cluster = clusterAt(table.view, slot, version, clusterBits);
    if (cluster.kind === 'unallocated' || (cluster.kind === 'zero' && cluster.at === 0)) return cluster;
    if (cluster.at >= this.#file.sizeBytes) throw corrupt(`a cluster at ${cluster.at}, behind the end of the file`);
    if (cluster.kind !== 'compressed' && cluster.at % clusterBytes !== 0) throw corrupt(`a cluster at ${cluster.at}`);
    return cluster;
  }

  /** Whether tables, or the header, lie in this cluster of the file. */
  isMetadata(cluster: number): boolean {
    return (
      this.#places.has(cluster) || this.#runs.some(({ first, count }) => cluster >= first && cluster < first + count)
    );
  }

  addPlace(at: number): void {
    if (at !== 0) this.#places.add(Math.floor(at / this.header.clusterBytes));
  }

  removePlaces(places: readonly number[]): void {
    for (const at of places) this.#places.delete(at / this.header.clusterBytes);
  }

  addRun(run: Run): void {
    this.#runs.push(run);
  }

  removeRuns(runs: readonly Run[]): void {
    for (const { first } of runs) {
      const index = this.#runs.findIndex((run) => run.first === first);
      if (index >= 0) this.#runs.splice(index, 1);
    }
  }

  /** The clusters of the file that a guest's cluster refers to. */
  referencesOf(cluster: Cluster): number[] {
    if (cluster.kind === 'unallocated' || cluster.at === 0) return [];
    const { first, count } =
      cluster.kind === 'compressed'
        ? this.#compressedRun(cluster.at, cluster.sizeBytes)
        : this.runAt(cluster.at, this.header.clusterBytes);
    return Array.from({ length: count }, (_, i) => first + i);
  }

  /**
   * Changes a guest's table: `apply` writes its entries, which from now on refer to the clusters of `takes`, reserved
   * before, and no longer to those of `drops`.
   */
  change(table: Table, takes: readonly number[], drops: readonly number[], apply: () => void): Promise<void> {
    return this.changes.run(async () => {
      if (this.#failure !== undefined) throw this.#failure;
      const { refcounts } = this;
      const blocks = await refcounts.pinFor([...takes, ...drops]);
      try {
        this.#checkDrops(drops);
        for (const cluster of takes) refcounts.take(cluster);
        apply();
        this.l2.markDirty(table);
        for (const cluster of drops) refcounts.drop(cluster);
      } finally {
        refcounts.unpin(blocks);
      }
    });
  }

  #checkDrops(drops: readonly number[]): void {
    const wanted = new Map<number, number>();
    for (const cluster of drops) wanted.set(cluster, (wanted.get(cluster) ?? 0) + 1);
    for (const [cluster, count] of wanted) {
      if (this.refcounts.countOf(cluster) < count || this.isMetadata(cluster)) {
        throw this.fail(corrupt(`cluster ${cluster} of the file is referred to more often than its refcount says`));
      }
    }
  }

  #compressedRun(at: number, sizeBytes: number): Run {
    const { clusterBytes } = this.header;
    const first = Math.floor(at / clusterBytes);
    return { first, count: Math.floor((at + sizeBytes - 1) / clusterBytes) - first + 1 };
  }

  async #load(at: number, into: Uint8Array): Promise<void> {
    if (at % this.header.clusterBytes !== 0 || at >= this.#file.sizeBytes) throw corrupt(`a table at ${at}`);
    await this.#file.read(at, [into]);
  }
}

export function corrupt(what: string): HostError {
  return new HostError('disk-corrupt', `the qcow2 image is damaged: ${what}`);
}

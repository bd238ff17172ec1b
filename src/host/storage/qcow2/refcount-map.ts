/**
 * Who refers to which cluster of the file how often, and which clusters are free. Refcounts change in memory alone;
 * commit.ts writes them. A cluster that is given out has no refcount until somebody refers to it (`take`), and one that
 * nobody refers to any more (`drop`) is given out again only after that state is on the medium and nobody reads or
 * writes there any longer (`release`).
 *
 *     [0, cursor)     looked through: what is free of it is in the extents, given out, or waits to be released
 *     [cursor, ...)   free where the refcount is 0; there is no end
 */
import { HostError } from '../../../base/errors.ts';
import { Mutex } from '../mutex.ts';
import { placeAt, setPlace } from './entries.ts';
import { type Extent, FreeExtents } from './free-extents.ts';
import { refcountAt, refcountsPerBlock, setRefcount } from './refcounts.ts';
import { type Table, TableCache } from './table-cache.ts';

const BLOCK_CACHE_BYTES = 4 << 20;
/** So far behind the end of the file, what is given out and not yet written may reach. */
const BEYOND_MOST = 1 << 20;
/** While more wait to be released, a commit is due. */
const DROPPED_MOST = 1 << 15;

export interface RefcountShape {
  readonly clusterBytes: number;
  readonly refcountOrder: number;
}

/** What the map is told of the rest of the image. */
export interface Surroundings {
  /** Whether a table, or the header, lies in the cluster. */
  isMetadata(cluster: number): boolean;
  /** How many clusters the file has now. */
  fileClusters(): number;
}

export class RefcountMap {
  readonly blocks: TableCache;
  readonly perBlock: number;
  readonly #order: number;
  readonly #clusterBytes: number;
  readonly #isMetadata: Surroundings['isMetadata'];
  readonly #fileClusters: Surroundings['fileClusters'];
  /** The refcount table: the blocks' places on the medium. */
  #table: DataView;
  readonly #free = new FreeExtents();
  /**
   * Where tables lay before the last commit. The next one's go there, and nothing else does: on a full disk, too, an image
   * can still change its state, and give back what the guest discards.
   */
  readonly #forTables = new FreeExtents();
  readonly #looking = new Mutex();
  #cursor = 0;
  /** Without references since the last commit began, or since one that is under way. */
  readonly #dropped = new Set<number>();
  #sinceCommit: number[] = [];

  constructor(
    shape: RefcountShape,
    table: Uint8Array,
    load: (at: number, into: Uint8Array) => Promise<void>,
    { isMetadata, fileClusters }: Surroundings,
  ) {
    this.#fileClusters = fileClusters;
    this.#order = shape.refcountOrder;
    this.#clusterBytes = shape.clusterBytes;
    this.#isMetadata = isMetadata;
    this.perBlock = refcountsPerBlock(shape.clusterBytes, shape.refcountOrder);
    this.#table = viewOf(table);
    this.blocks = new TableCache(shape.clusterBytes, BLOCK_CACHE_BYTES, async (index, into) => {
      const at = this.blockPlace(index);
      if (at !== 0) await load(at, into);
    });
  }

  /** The refcount table, whole clusters. */
  get table(): Uint8Array {
    return new Uint8Array(this.#table.buffer, this.#table.byteOffset, this.#table.byteLength);
  }

  /** Where a block lies, or 0: all its refcounts are 0. */
  blockPlace(index: number): number {
    return index * 8 < this.#table.byteLength ? placeAt(this.#table, index) : 0;
  }

  setBlockPlace(index: number, at: number): void {
    if (index * 8 >= this.#table.byteLength) this.#grow(index);
    setPlace(this.#table, index, at);
  }

  /** Clusters that a table has that can name the block `index`. */
  tableClusters(index: number): number {
    return Math.max(this.#table.byteLength / this.#clusterBytes, Math.ceil(((index + 1) * 8) / this.#clusterBytes));
  }

  blockOf(cluster: number): number {
    return Math.floor(cluster / this.perBlock);
  }

  /** A commit is due: changed blocks and dropped clusters are kept until then. */
  get isFull(): boolean {
    return this.blocks.isFull || this.#sinceCommit.length >= DROPPED_MOST;
  }

  /** Up to `count` free clusters in a row, at least one. They are the caller's until taken or given back. */
  reserveSome(count: number): Promise<Extent> {
    return this.#looking.run(async () => this.#free.takeSome(count) ?? (await this.#look(count)));
  }

  /** So many free clusters in a row, for tables. */
  reserveRun(count: number): Promise<number> {
    return this.#looking.run(async () => {
      for (;;) {
        const extent = this.#forTables.takeRun(count) ?? this.#free.takeRun(count);
        if (extent !== undefined) return extent.first;
        const found = await this.#look(count);
        if (found.count === count) return found.first;
        // What follows it may make it long enough.
        this.#putBack(found);
      }
    });
  }

  giveBack(extent: Extent): void {
    this.#putBack(extent);
  }

  /** Pins the blocks of the clusters, for `take` and `drop`. */
  async pinFor(clusters: Iterable<number>): Promise<Table[]> {
    const indexes = new Set<number>();
    for (const cluster of clusters) indexes.add(this.blockOf(cluster));
    const tables: Table[] = [];
    try {
      for (const index of indexes) tables.push(await this.blocks.pin(index));
      return tables;
    } catch (error) {
      this.unpin(tables);
      throw error;
    }
  }

  unpin(tables: readonly Table[]): void {
    for (const table of tables) this.blocks.unpin(table);
  }

  /** A reserved cluster is referred to once. Its block is pinned. */
  take(cluster: number): void {
    this.#set(cluster, 1);
  }

  /** Undoes `take`. */
  untake(cluster: number): void {
    this.#set(cluster, 0);
    this.#putBack({ first: cluster, count: 1 });
  }

  /** How often the cluster is referred to. Its block is pinned. */
  countOf(cluster: number): number {
    const block = this.#block(cluster);
    return refcountAt(block.view, cluster % this.perBlock, this.#order);
  }

  /** One reference less; there is one, and the block is pinned. */
  drop(cluster: number): void {
    const count = this.countOf(cluster) - 1;
    this.#set(cluster, count);
    if (count > 0) return;
    this.#dropped.add(cluster);
    this.#sinceCommit.push(cluster);
  }

  /** Sets what a check has found; nothing was given out yet. */
  repair(cluster: number, count: number): void {
    this.#set(cluster, count);
  }

  /** What was dropped until now, for `release`. */
  takeDropped(): number[] {
    const dropped = this.#sinceCommit;
    this.#sinceCommit = [];
    return dropped;
  }

  /** The commit came to nothing: they wait for the next one. */
  putDropped(clusters: readonly number[]): void {
    this.#sinceCommit.push(...clusters);
  }

  /** `tables`: those of them, and others, where tables lay. */
  release(clusters: readonly number[], tables: ReadonlySet<number>): void {
    for (let rest = this.#forTables.takeSome(1); rest !== undefined; rest = this.#forTables.takeSome(1))
      this.#putBack(rest);
    for (const cluster of clusters) {
      this.#dropped.delete(cluster);
      // Beyond, it will be found.
      if (cluster >= this.#cursor) continue;
      if (!tables.has(cluster) || !this.#forTables.add(cluster, 1)) this.#putBack({ first: cluster, count: 1 });
    }
  }

  #putBack({ first, count }: Extent): void {
    // Without room for it, it is lost until the image is opened again.
    this.#free.add(first, count);
  }

  /** From the cursor on. */
  async #look(count: number): Promise<Extent> {
    for (;;) {
      if (this.#cursor > this.#fileClusters() + BEYOND_MOST) {
        throw new HostError('disk-corrupt', 'refcounts say that much is used behind the end of the file');
      }
      const index = this.blockOf(this.#cursor);
      const block = await this.blocks.pin(index);
      const end = (index + 1) * this.perBlock;
      try {
        while (this.#cursor < end && !this.#isFree(block, this.#cursor)) this.#cursor++;
        if (this.#cursor === end) continue;
        const first = this.#cursor;
        while (this.#cursor < end && this.#cursor - first < count && this.#isFree(block, this.#cursor)) this.#cursor++;
        return { first, count: this.#cursor - first };
      } finally {
        this.blocks.unpin(block);
      }
    }
  }

  #isFree(block: Table, cluster: number): boolean {
    if (refcountAt(block.view, cluster % this.perBlock, this.#order) !== 0 || this.#dropped.has(cluster)) return false;
    if (this.#isMetadata(cluster)) {
      throw new HostError('disk-corrupt', `cluster ${cluster} has a refcount of 0 and holds metadata`);
    }
    return true;
  }

  #block(cluster: number): Table {
    const block = this.blocks.peek(this.blockOf(cluster));
    if (block === undefined) throw new Error(`the refcounts of cluster ${cluster} are not there`);
    return block;
  }

  #set(cluster: number, count: number): void {
    const block = this.#block(cluster);
    setRefcount(block.view, cluster % this.perBlock, this.#order, count);
    this.blocks.markDirty(block);
  }

  #grow(index: number): void {
    const bytes = new Uint8Array(this.tableClusters(index) * this.#clusterBytes);
    bytes.set(this.table);
    this.#table = viewOf(bytes);
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

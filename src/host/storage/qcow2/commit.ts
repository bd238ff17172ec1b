/**
 * How an image goes from one state to the next. Changed tables get new places, with them the tables that name those, up
 * to the L1 table and the refcount table; the header names both, in one sector:
 *
 *     write tables to free clusters -> fdatasync (data and tables) -> write the header's sector -> fdatasync
 *
 * Whatever moment the host fails at, the medium holds the old state whole or the new one: no leak, no wrong refcount, no
 * repair. It takes that a sector is written whole or not at all. What the old state refers to is used again only when
 * the new one is on the medium.
 *
 * Refcounts of the new places lie in blocks that move themselves: blocks are given places until no further one changes.
 */
import { placeAt, setOwned } from './entries.ts';
import { FIELD, HEADER_SECTOR_BYTES, INCOMPATIBLE } from './header.ts';
import type { ImageFile } from './image-file.ts';
import { corrupt, type Metadata, type Run } from './metadata.ts';
import type { Table } from './table-cache.ts';

interface Piece {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** A commit on its way. */
interface Draft {
  readonly pieces: Piece[];
  readonly sector: Uint8Array;
  readonly l2: readonly Table[];
  readonly blocks: readonly Table[];
  /** What no longer counts as a table's place when this is done. */
  readonly leftPlaces: number[];
  readonly leftRuns: Run[];
  readonly dropped: number[];
}

export class Commits {
  readonly #metadata: Metadata;
  readonly #file: ImageFile;
  /** The header's sector as it was found. */
  readonly #sector: Uint8Array;
  #l1: Run;
  #refcountTable: Run;
  /** Of commits that came to nothing: their places may be what the medium holds. */
  #leftPlaces: number[] = [];
  #leftRuns: Run[] = [];

  /** `start`: the file's beginning, a sector at least. */
  constructor(metadata: Metadata, file: ImageFile, start: Uint8Array) {
    this.#metadata = metadata;
    this.#file = file;
    this.#sector = start.slice(0, HEADER_SECTOR_BYTES);
    const { header, l1, refcounts } = metadata;
    this.#l1 = metadata.runAt(header.l1At, l1.byteLength);
    this.#refcountTable = metadata.runAt(header.refcountTableAt, refcounts.table.length);
  }

  /**
   * What was changed before is on the medium when this is done. Not while another one runs. `settled`: when all is over
   * that runs on places of the file now.
   */
  async commit(settled: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const metadata = this.#metadata;
    if (metadata.failure !== undefined) throw metadata.failure;
    const draft = await metadata.changes.run(() => this.#draft());
    if (draft === undefined) return await this.#file.sync();
    try {
      for (const { at, bytes } of draft.pieces) await this.#file.write(at, [bytes]);
      await this.#file.sync();
      await this.#file.write(0, [draft.sector]);
      await this.#file.sync();
    } catch (error) {
      this.#again(draft);
      throw error;
    }
    this.#done(draft, settled);
  }

  async #draft(): Promise<Draft | undefined> {
    const { l2, refcounts } = this.#metadata;
    if (l2.dirty.size === 0 && refcounts.blocks.dirty.size === 0) return undefined;
    try {
      return await this.#place();
    } catch (error) {
      // Some refcounts are changed already, to no end: nothing good would be committed after this.
      throw this.#metadata.fail(error);
    }
  }

  /** Gives everything that is changed its place. Nobody else changes anything meanwhile. */
  async #place(): Promise<Draft> {
    const metadata = this.#metadata;
    const { l2, refcounts, l1 } = metadata;
    const { clusterBytes } = metadata.header;
    const leftPlaces: number[] = [];
    const tables = [...l2.dirty];
    const places = new Map<Table, number>();
    const move = async (table: Table, from: number): Promise<void> => {
      places.set(table, await this.#take(1));
      if (from === 0) return;
      leftPlaces.push(from);
      await this.#leave(metadata.runAt(from, clusterBytes));
    };
    for (const table of tables) await move(table, placeAt(l1, table.index));
    const l1Run = { first: await this.#take(this.#l1.count), count: this.#l1.count };
    await this.#leave(this.#l1);
    await this.#leave(this.#refcountTable);
    let tableRun: Run = { first: 0, count: 0 };
    for (let isStable = false; !isStable; ) {
      // Goes on to those that change meanwhile.
      for (const block of refcounts.blocks.dirty) {
        if (!places.has(block)) await move(block, refcounts.blockPlace(block.index));
      }
      const last = Math.max(...[...refcounts.blocks.dirty].map((block) => block.index));
      const count = refcounts.tableClusters(last);
      isStable = count === tableRun.count;
      if (isStable) break;
      for (let i = 0; i < tableRun.count; i++) refcounts.untake(tableRun.first + i);
      tableRun = { first: await this.#take(count), count };
    }
    return this.#freeze(places, tables, l1Run, tableRun, leftPlaces);
  }

  /** Takes `count` free clusters in a row; the first one. */
  async #take(count: number): Promise<number> {
    const { refcounts } = this.#metadata;
    const first = await refcounts.reserveRun(count);
    await this.#withBlocks({ first, count }, (cluster) => refcounts.take(cluster));
    return first;
  }

  async #leave(run: Run): Promise<void> {
    const { refcounts } = this.#metadata;
    await this.#withBlocks(run, (cluster) => {
      if (refcounts.countOf(cluster) === 0) throw corrupt(`a table in cluster ${cluster}, whose refcount is 0`);
      refcounts.drop(cluster);
    });
  }

  async #withBlocks({ first, count }: Run, each: (cluster: number) => void): Promise<void> {
    const { refcounts } = this.#metadata;
    const clusters = Array.from({ length: count }, (_, i) => first + i);
    const blocks = await refcounts.pinFor(clusters);
    try {
      clusters.forEach(each);
    } finally {
      refcounts.unpin(blocks);
    }
  }

  /** From here on all of it is decided: copies of what is to be written. */
  #freeze(
    places: ReadonlyMap<Table, number>,
    l2: readonly Table[],
    l1Run: Run,
    tableRun: Run,
    leftPlaces: number[],
  ): Draft {
    const metadata = this.#metadata;
    const { refcounts, l1 } = metadata;
    const { clusterBytes } = metadata.header;
    const blocks = [...refcounts.blocks.dirty];
    const pieces: Piece[] = [];
    for (const [table, cluster] of places) {
      const at = cluster * clusterBytes;
      if (blocks.includes(table)) refcounts.setBlockPlace(table.index, at);
      else setOwned(l1, table.index, at);
      metadata.addPlace(at);
      pieces.push({ at, bytes: table.bytes.slice() });
    }
    pieces.push({ at: l1Run.first * clusterBytes, bytes: bytesOf(l1).slice() });
    pieces.push({ at: tableRun.first * clusterBytes, bytes: refcounts.table.slice() });
    for (const table of l2) this.#hold(metadata.l2, table);
    for (const block of blocks) this.#hold(refcounts.blocks, block);
    const leftRuns = [this.#l1, this.#refcountTable];
    this.#l1 = l1Run;
    this.#refcountTable = tableRun;
    metadata.addRun(l1Run);
    metadata.addRun(tableRun);
    const sector = this.#sectorFor(l1Run.first * clusterBytes, tableRun.first * clusterBytes, tableRun.count);
    return { pieces, sector, l2, blocks, leftPlaces, leftRuns, dropped: refcounts.takeDropped() };
  }

  /** Clean, but not to be read again before it is written. */
  #hold(cache: Metadata['l2'], table: Table): void {
    cache.markClean(table);
    table.pins++;
  }

  #sectorFor(l1At: number, refcountTableAt: number, refcountTableClusters: number): Uint8Array {
    const sector = this.#sector.slice();
    const data = new DataView(sector.buffer);
    data.setBigUint64(FIELD.l1At, BigInt(l1At));
    data.setBigUint64(FIELD.refcountTableAt, BigInt(refcountTableAt));
    data.setUint32(FIELD.refcountTableClusters, refcountTableClusters);
    if (this.#metadata.header.version === 3) {
      const incompatible = data.getBigUint64(FIELD.incompatible);
      data.setBigUint64(FIELD.incompatible, incompatible & ~BigInt(INCOMPATIBLE.dirty));
      // What these speak of is not kept up by us.
      data.setBigUint64(FIELD.autoclear, 0n);
    }
    return sector;
  }

  #done(draft: Draft, settled: () => Promise<void>): void {
    const metadata = this.#metadata;
    this.#release(draft);
    const places = [...draft.leftPlaces, ...this.#leftPlaces];
    const runs = [...draft.leftRuns, ...this.#leftRuns];
    metadata.removePlaces(places);
    metadata.removeRuns(runs);
    this.#leftPlaces = [];
    this.#leftRuns = [];
    const tables = new Set(places.map((at) => at / metadata.header.clusterBytes));
    for (const { first, count } of runs) for (let i = 0; i < count; i++) tables.add(first + i);
    void settled().then(() => metadata.refcounts.release(draft.dropped, tables));
  }

  /** It came to nothing, or nobody knows: all of it is written again, elsewhere. */
  #again(draft: Draft): void {
    const { l2, refcounts } = this.#metadata;
    this.#release(draft);
    for (const table of draft.l2) l2.markDirty(table);
    for (const block of draft.blocks) refcounts.blocks.markDirty(block);
    this.#leftPlaces.push(...draft.leftPlaces);
    this.#leftRuns.push(...draft.leftRuns);
    refcounts.putDropped(draft.dropped);
  }

  #release(draft: Draft): void {
    const { l2, refcounts } = this.#metadata;
    for (const table of draft.l2) l2.unpin(table);
    refcounts.unpin(draft.blocks);
  }
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

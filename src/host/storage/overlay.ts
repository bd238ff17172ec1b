/**
 * A disk over another: reads see the base until a cluster is written, writes go to a file of their own, and the base
 * is never written. Layout in overlay-format.ts.
 *
 * Order on the medium: a cluster's state reaches the map only after its data. Writes put data into the file and
 * change the map in memory; flush does
 *
 *     copy of the changed map pages -> fdatasync (the data) -> write the copies -> fdatasync (the map)
 *
 * After a crash a cluster is as its state on the medium says: what was flushed is there, what was written since may
 * be there or not, as with any disk.
 *
 * A cluster that is not yet data is first filled up around the written bytes, so the change of its state belongs to
 * one writer at a time (`#claim`). A cluster that is data already is written in place by anybody.
 */
import { assert } from '../../base/assert.ts';
import { type BlockBackend, totalBytes } from '../../devices/index.ts';
import { readBase } from './base-reads.ts';
import { ClusterClaims } from './cluster-claims.ts';
import { CLUSTER, clusterCount, dataAt, MAP_AT, MAP_PAGE_BYTES, type OverlayShape } from './overlay-format.ts';
import { SharedFlush } from './shared-flush.ts';
import { cut, type StorageFile } from './storage-file.ts';

export interface OverlayOptions {
  /** Nothing needs to survive: flush does nothing. */
  readonly temporary?: boolean;
}

export class Overlay implements BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly = false;
  readonly #shape: OverlayShape;
  readonly #base: BlockBackend;
  readonly #file: StorageFile;
  readonly #dataAt: number;
  readonly #temporary: boolean;
  /** State by cluster; whole pages. */
  readonly #map: Uint8Array;
  #dirtyPages = new Set<number>();
  readonly #claims = new ClusterClaims();
  readonly #flushes = new SharedFlush(() => this.#flush());

  /** `map` is the file's, in whole pages, and is taken over. The base is not smaller than it was, nor written. */
  constructor(
    shape: OverlayShape,
    base: BlockBackend,
    file: StorageFile,
    map: Uint8Array,
    options: OverlayOptions = {},
  ) {
    assert(map.length === dataAt(shape) - MAP_AT, 'the map has another size than the disk asks for');
    this.sizeBytes = shape.sizeBytes;
    this.#shape = shape;
    this.#base = base;
    this.#file = file;
    this.#dataAt = dataAt(shape);
    this.#map = map;
    this.#temporary = options.temporary ?? false;
  }

  /** Clusters whose data is in the file, in bytes. */
  get allocatedBytes(): number {
    let clusters = 0;
    for (const state of this.#map) if (state === CLUSTER.DATA) clusters++;
    return clusters * this.#shape.clusterBytes;
  }

  get clusterBytes(): number {
    return this.#shape.clusterBytes;
  }

  /** Clusters that are not the base's, in rising order: data here, or zeros. While nobody writes. */
  *changes(): Generator<{ readonly cluster: number; readonly isZero: boolean }> {
    for (let cluster = 0; cluster < clusterCount(this.#shape); cluster++) {
      const state = this.#map[cluster];
      if (state !== CLUSTER.BASE) yield { cluster, isZero: state === CLUSTER.ZERO };
    }
  }

  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    const end = offset + totalBytes(into);
    const pending: (Promise<void> | void)[] = [];
    for (let at = offset; at < end; ) {
      const state = this.#stateAt(at);
      let runEnd = this.#clusterEnd(at);
      while (runEnd < end && this.#stateAt(runEnd) === state) runEnd = this.#clusterEnd(runEnd);
      runEnd = Math.min(runEnd, end);
      pending.push(this.#readRun(state, at, cut(into, at - offset, runEnd - at)));
      at = runEnd;
    }
    await Promise.all(pending);
  }

  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    const end = offset + totalBytes(from);
    if (this.#isAllData(offset, end)) return this.#file.write(this.#dataAt + offset, from);
    const release = await this.#claim(offset, end);
    try {
      const prefix = await this.#fill(this.#clusterStart(offset), offset);
      const suffix = await this.#fill(end, Math.min(this.#clusterEnd(end - 1), this.sizeBytes));
      await this.#file.write(this.#dataAt + offset - prefix.length, [prefix, ...from, suffix].filter(isNotEmpty));
      this.#setStates(this.#clusterStart(offset), end, CLUSTER.DATA);
    } finally {
      release();
    }
  }

  flush(): Promise<void> {
    return this.#temporary ? Promise.resolve() : this.#flushes.run();
  }

  /** Whole clusters of our own become zeros; the rest stays as it is. */
  discard(offset: number, sizeBytes: number): void {
    const end = Math.min(this.#clusterStart(offset + sizeBytes), offset + sizeBytes);
    for (let at = this.#clusterEnd(offset - 1); at < end; at += this.#shape.clusterBytes) {
      const changing = this.#claims.has(at / this.#shape.clusterBytes);
      if (this.#stateAt(at) === CLUSTER.DATA && !changing) this.#setStates(at, at + 1, CLUSTER.ZERO);
    }
  }

  async writeZeroes(offset: number, sizeBytes: number): Promise<void> {
    const end = offset + sizeBytes;
    const wholeStart = Math.min(this.#clusterEnd(offset - 1), end);
    const wholeEnd = end === this.sizeBytes ? end : Math.max(this.#clusterStart(end), wholeStart);
    await this.#zeroWithin(offset, wholeStart);
    if (wholeStart < wholeEnd) {
      const release = await this.#claim(wholeStart, wholeEnd);
      this.#setStates(wholeStart, wholeEnd, CLUSTER.ZERO);
      release();
    }
    await this.#zeroWithin(Math.max(wholeEnd, wholeStart), end);
  }

  /** Flushes and closes the file; the base is the caller's. */
  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.#file.close();
    }
  }

  /** Zeros within one cluster. */
  async #zeroWithin(offset: number, end: number): Promise<void> {
    if (offset >= end || this.#stateAt(offset) === CLUSTER.ZERO) return;
    await this.write(offset, [new Uint8Array(end - offset)]);
  }

  async #flush(): Promise<void> {
    const pages = this.#dirtyPages;
    this.#dirtyPages = new Set();
    // Copied before the data is synced: a state that changes from now on speaks of data that may come too late.
    const copies = [...pages].map((page) => ({
      at: MAP_AT + page * MAP_PAGE_BYTES,
      bytes: this.#map.slice(page * MAP_PAGE_BYTES, (page + 1) * MAP_PAGE_BYTES),
    }));
    try {
      await this.#file.sync();
      if (copies.length === 0) return;
      for (const { at, bytes } of copies) await this.#file.write(at, [bytes]);
      await this.#file.sync();
    } catch (error) {
      for (const page of pages) this.#dirtyPages.add(page);
      throw error;
    }
  }

  #readRun(state: number, at: number, into: readonly Uint8Array[]): Promise<void> | void {
    if (state === CLUSTER.DATA) return this.#file.read(this.#dataAt + at, into);
    if (state === CLUSTER.BASE) return readBase(this.#base, at, into);
    for (const piece of into) piece.fill(0);
  }

  /** What belongs between `start` and `end`, parts of a cluster that is to become data; empty when it is already. */
  async #fill(start: number, end: number): Promise<Uint8Array> {
    const inside = start < end && this.#stateAt(start) !== CLUSTER.DATA;
    const bytes = new Uint8Array(inside ? end - start : 0);
    if (inside) await this.#readRun(this.#stateAt(start), start, [bytes]);
    return bytes;
  }

  #claim(offset: number, end: number): Promise<() => void> {
    const { clusterBytes } = this.#shape;
    return this.#claims.claim(Math.floor(offset / clusterBytes), Math.floor((end - 1) / clusterBytes));
  }

  #isAllData(offset: number, end: number): boolean {
    for (let at = offset; at < end; at = this.#clusterEnd(at)) if (this.#stateAt(at) !== CLUSTER.DATA) return false;
    return true;
  }

  #setStates(offset: number, end: number, state: number): void {
    const { clusterBytes } = this.#shape;
    const last = Math.floor((end - 1) / clusterBytes);
    for (let cluster = Math.floor(offset / clusterBytes); cluster <= last; cluster++) {
      if (this.#map[cluster] === state) continue;
      this.#map[cluster] = state;
      this.#dirtyPages.add(Math.floor(cluster / MAP_PAGE_BYTES));
    }
  }

  #stateAt(offset: number): number {
    return this.#map[Math.floor(offset / this.#shape.clusterBytes)] as number;
  }

  #clusterStart(offset: number): number {
    return offset - (offset % this.#shape.clusterBytes);
  }

  #clusterEnd(offset: number): number {
    return (Math.floor(offset / this.#shape.clusterBytes) + 1) * this.#shape.clusterBytes;
  }
}

/** The map's entries must be states; a file with others is damaged. */
export function isValidMap(map: Uint8Array, shape: OverlayShape): boolean {
  return map.subarray(0, clusterCount(shape)).every((state) => state <= CLUSTER.ZERO);
}

function isNotEmpty(piece: Uint8Array): boolean {
  return piece.length > 0;
}

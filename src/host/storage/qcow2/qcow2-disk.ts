/**
 * A disk in a qcow2 image: the guest's clusters are found through tables, what is not allocated is the backing file's, or
 * zeros. Clusters that nobody else refers to are written in place; others, and compressed ones, get a new place, filled up
 * around the written bytes, and the tables hear of it only when the data is there. On the medium all that begins to
 * count at the next flush (commit.ts).
 *
 * Who changes what a guest's cluster is has claimed it. Reads and writes in place need no claim: a place is used for
 * something else only when all that ran there is over.
 */
import { type BlockBackend, totalBytes } from '../../../devices/index.ts';
import { readBase } from '../base-reads.ts';
import { ClusterClaims } from '../cluster-claims.ts';
import { SharedFlush } from '../shared-flush.ts';
import { cut } from '../storage-file.ts';
import type { Commits } from './commit.ts';
import { DiskMap, isInPlace, newRuns, type Segment, type Stretch } from './disk-map.ts';
import { setOwned, setUnallocated, setZero } from './entries.ts';
import type { Extent } from './free-extents.ts';
import type { ImageFile } from './image-file.ts';
import { corrupt, type Metadata } from './metadata.ts';
import type { Table } from './table-cache.ts';
import { UnpackedClusters } from './unpacked-clusters.ts';

/** A range of zeros changes so many clusters at a time, so that memory for what is freed stays bounded. */
const ZEROED_CLUSTERS = 1 << 13;

export interface Qcow2Parts {
  readonly metadata: Metadata;
  readonly file: ImageFile;
  readonly commits: Commits;
  readonly readOnly: boolean;
  /** What lies below; the caller's. */
  readonly backing?: BlockBackend;
  /** Little is read and written at once, on the caller's thread, where tables and file are fast. Default false. */
  readonly quick?: boolean;
}

export class Qcow2Disk implements BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly #metadata: Metadata;
  readonly #file: ImageFile;
  readonly #backing: BlockBackend | undefined;
  readonly #clusterBytes: number;
  readonly #quick: boolean;
  readonly #claims = new ClusterClaims();
  /** Transfers that run on places of the file. */
  readonly #transfers = new Set<Promise<unknown>>();
  readonly #flushes: SharedFlush;
  readonly #map: DiskMap;
  readonly #unpacked: UnpackedClusters;

  constructor({ metadata, file, commits, readOnly, backing, quick }: Qcow2Parts) {
    this.#quick = quick ?? false;
    this.#metadata = metadata;
    this.#file = file;
    this.#backing = backing;
    this.sizeBytes = metadata.header.sizeBytes;
    this.#clusterBytes = metadata.header.clusterBytes;
    this.#map = new DiskMap(metadata);
    this.#unpacked = new UnpackedClusters(metadata.header, file);
    this.readOnly = readOnly;
    const settled = async (): Promise<void> => void (await Promise.allSettled(this.#transfers));
    this.#flushes = new SharedFlush(() => commits.commit(settled));
  }

  read(offset: number, into: readonly Uint8Array[]): Promise<void> | void {
    if (this.#quick && this.#readNow(offset, into)) return;
    return this.#readLater(offset, into);
  }

  write(offset: number, from: readonly Uint8Array[]): Promise<void> | void {
    if (this.#quick && this.#writeNow(offset, from)) return;
    return this.#writeLater(offset, from);
  }

  async #readLater(offset: number, into: readonly Uint8Array[]): Promise<void> {
    const parts = this.#map.segments(offset, offset + totalBytes(into)).map(async (segment) => {
      await this.#readSegment(segment, cut(into, segment.at - offset, segment.end - segment.at));
    });
    await Promise.all(parts);
  }

  async #writeLater(offset: number, from: readonly Uint8Array[]): Promise<void> {
    const parts = this.#map.segments(offset, offset + totalBytes(from)).map(async (segment) => {
      await this.#writeSegment(segment, cut(from, segment.at - offset, segment.end - segment.at));
    });
    await allDone(parts);
    await this.#keepBounds();
  }

  /** Reads at once what lies in one piece, by tables that are there; false: nothing came of it. */
  #readNow(offset: number, into: readonly Uint8Array[]): boolean {
    const place = this.#placeNow(offset, totalBytes(into), false);
    return place !== undefined && this.#file.readNow(place, into);
  }

  #writeNow(offset: number, from: readonly Uint8Array[]): boolean {
    if (this.#metadata.failure !== undefined) return false;
    const place = this.#placeNow(offset, totalBytes(from), true);
    return place !== undefined && this.#file.writeNow(place, from);
  }

  /** Where the range lies in the file, if it is one stretch of data, and all that must be known is in memory. */
  #placeNow(offset: number, sizeBytes: number, inPlace: boolean): number | undefined {
    const [segment, ...others] = this.#map.segments(offset, offset + sizeBytes);
    const table = segment === undefined || others.length > 0 ? undefined : this.#metadata.l2.peek(segment.index);
    if (segment === undefined || table === undefined) return undefined;
    const [stretch, ...more] = this.#map.stretches(table, segment.at, segment.end);
    if (stretch === undefined || more.length > 0 || stretch.cluster.kind !== 'data') return undefined;
    const { at, copied } = stretch.cluster;
    if (inPlace && (!copied || this.#isTable(at, offset % this.#clusterBytes, sizeBytes))) return undefined;
    return at + (offset % this.#clusterBytes);
  }

  flush(): Promise<void> {
    return this.readOnly ? Promise.resolve() : this.#flushes.run();
  }

  /** Whole clusters that are allocated become zeros, their places free; the rest stays as it is. */
  async discard(offset: number, sizeBytes: number): Promise<void> {
    // Without zero clusters, what lies below would come to light again.
    if (this.#metadata.header.version === 2 && this.#backing !== undefined) return;
    await this.#zeroWhole(offset, offset + sizeBytes, false);
  }

  async writeZeroes(offset: number, sizeBytes: number): Promise<void> {
    const end = offset + sizeBytes;
    const { start: wholeStart, end: wholeEnd } = this.#map.wholeClusters(offset, end);
    const hasZeroClusters = this.#metadata.header.version === 3 || this.#backing === undefined;
    if (!hasZeroClusters || wholeStart >= wholeEnd) return await this.#writeZeroBytes(offset, end);
    await this.#writeZeroBytes(offset, wholeStart);
    await this.#zeroWhole(wholeStart, wholeEnd, true);
    await this.#writeZeroBytes(wholeEnd, end);
  }

  /** Gives every cluster a place, without writing there: what the file holds reads as zeros. For a new image. */
  async preallocate(): Promise<void> {
    for (const segment of this.#map.segments(0, this.sizeBytes)) {
      const table = await this.#metadata.l2.pin(segment.index);
      try {
        const extents = await this.#reserve(Math.ceil((segment.end - segment.at) / this.#clusterBytes));
        await this.#link(table, this.#map.slotOf(segment.at), extents, []);
        const last = Math.max(...extents.map(({ first, count }) => first + count));
        await this.#file.write(last * this.#clusterBytes - 512, [new Uint8Array(512)]);
      } finally {
        this.#metadata.l2.unpin(table);
      }
      await this.#keepBounds();
    }
  }

  /** Flushes and closes the image's file; what lies below is the caller's. */
  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.#file.close();
    }
  }

  /** Memory for changes is bounded: when it is used up, they are written. */
  async #keepBounds(): Promise<void> {
    if (this.#metadata.isFull) await this.flush();
  }

  async #readSegment(segment: Segment, into: readonly Uint8Array[]): Promise<void> {
    const table = await this.#metadata.l2.pin(segment.index);
    const pending: (Promise<void> | void)[] = [];
    try {
      for (const stretch of this.#map.stretches(table, segment.at, segment.end)) {
        pending.push(this.#readStretch(stretch, cut(into, stretch.from - segment.at, stretch.to - stretch.from)));
      }
    } finally {
      this.#metadata.l2.unpin(table);
      await allDone(pending);
    }
  }

  #readStretch({ cluster, from }: Stretch, into: readonly Uint8Array[]): Promise<void> | void {
    switch (cluster.kind) {
      case 'data':
        return this.#track(this.#file.read(cluster.at + (from % this.#clusterBytes), into));
      case 'compressed':
        return this.#track(this.#unpacked.read(cluster, from % this.#clusterBytes, into));
      case 'unallocated':
        if (this.#backing !== undefined) return readBase(this.#backing, from, into);
    }
    for (const piece of into) piece.fill(0);
  }

  async #writeSegment(segment: Segment, from: readonly Uint8Array[]): Promise<void> {
    const { l2 } = this.#metadata;
    const table = await l2.pin(segment.index);
    try {
      const { at, end } = segment;
      const stretches = this.#map.stretches(table, at, end);
      if (stretches.every(isInPlace)) return await this.#writeInPlace(stretches, at, from);
      const release = await this.#claim(at, end);
      try {
        await this.#writeClaimed(table, at, end, from);
      } finally {
        release();
      }
    } finally {
      l2.unpin(table);
    }
  }

  async #writeInPlace(stretches: readonly Stretch[], offset: number, from: readonly Uint8Array[]): Promise<void> {
    if (this.#metadata.failure !== undefined) throw this.#metadata.failure;
    const pending: Promise<void>[] = [];
    for (const { cluster, from: at, to } of stretches) {
      if (cluster.kind !== 'data') continue;
      const place = cluster.at + (at % this.#clusterBytes);
      if (this.#isTable(cluster.at, at % this.#clusterBytes, to - at)) {
        throw this.#metadata.fail(corrupt(`data at ${cluster.at}, where tables lie`));
      }
      pending.push(this.#track(this.#file.write(place, cut(from, at - offset, to - at))));
    }
    await allDone(pending);
  }

  /** The guest may write what its tables call its own, but no tables. `place`: of the first cluster. */
  #isTable(place: number, within: number, sizeBytes: number): boolean {
    const { first, count } = this.#metadata.runAt(place, within + sizeBytes);
    for (let cluster = first; cluster < first + count; cluster++) if (this.#metadata.isMetadata(cluster)) return true;
    return false;
  }

  async #writeClaimed(table: Table, at: number, end: number, from: readonly Uint8Array[]): Promise<void> {
    const stretches = this.#map.stretches(table, at, end);
    const inPlace = stretches.filter(isInPlace);
    const pending = [this.#writeInPlace(inPlace, at, from)];
    for (const run of newRuns(stretches)) {
      pending.push(this.#writeNew(table, run.from, run.to, cut(from, run.from - at, run.to - run.from)));
    }
    await allDone(pending);
  }

  /** Gives the clusters from `at` to `end` new places, and writes them there whole. */
  async #writeNew(table: Table, at: number, end: number, from: readonly Uint8Array[]): Promise<void> {
    const start = this.#map.clusterStart(at);
    const stop = this.#map.clusterStart(end - 1) + this.#clusterBytes;
    const [before, behind] = await Promise.all([this.#contentOf(start, at), this.#contentOf(end, stop)]);
    const whole = [before, ...from, behind].filter((piece) => piece.length > 0);
    const extents = await this.#reserve((stop - start) / this.#clusterBytes);
    try {
      let done = 0;
      const pending: Promise<void>[] = [];
      for (const { first, count } of extents) {
        const size = count * this.#clusterBytes;
        pending.push(this.#track(this.#file.write(first * this.#clusterBytes, cut(whole, done, size))));
        done += size;
      }
      await allDone(pending);
      const drops = this.#map.referencesFrom(table, start, stop);
      await this.#link(table, this.#map.slotOf(start), extents, drops);
    } catch (error) {
      for (const extent of extents) this.#metadata.refcounts.giveBack(extent);
      throw error;
    }
  }

  async #link(table: Table, firstSlot: number, extents: readonly Extent[], drops: readonly number[]): Promise<void> {
    const takes = extents.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
    await this.#metadata.change(table, takes, drops, () => {
      takes.forEach((cluster, i) => setOwned(table.view, firstSlot + i, cluster * this.#clusterBytes));
    });
  }

  async #reserve(count: number): Promise<Extent[]> {
    const { refcounts } = this.#metadata;
    const extents: Extent[] = [];
    try {
      for (let left = count; left > 0; ) {
        const extent = await refcounts.reserveSome(left);
        extents.push(extent);
        left -= extent.count;
      }
      return extents;
    } catch (error) {
      for (const extent of extents) refcounts.giveBack(extent);
      throw error;
    }
  }

  /** What the disk holds between `start` and `end`, which may lie behind its end; both within one cluster. */
  async #contentOf(start: number, end: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(end - start);
    const there = Math.min(end, this.sizeBytes) - start;
    if (there > 0) await this.read(start, [bytes.subarray(0, there)]);
    return bytes;
  }

  /** Zeros within a cluster or two; where the disk reads as zeros, nothing is written. */
  async #writeZeroBytes(offset: number, end: number): Promise<void> {
    for (let at = offset; at < end; ) {
      const stop = Math.min(end, this.#map.clusterStart(at) + this.#clusterBytes);
      const now = new Uint8Array(stop - at);
      await this.read(at, [now]);
      if (now.some((byte) => byte !== 0)) await this.write(at, [now.fill(0)]);
      at = stop;
    }
  }

  /** `all`: those that are the backing file's, too. */
  async #zeroWhole(offset: number, end: number, all: boolean): Promise<void> {
    const whole = this.#map.wholeClusters(offset, end);
    const step = ZEROED_CLUSTERS * this.#clusterBytes;
    for (const segment of this.#map.segments(whole.start, whole.end)) {
      for (let at = segment.at; at < segment.end; at += step) {
        await this.#zeroClusters(segment.index, at, Math.min(segment.end, at + step), all);
        await this.#keepBounds();
      }
    }
  }

  async #zeroClusters(index: number, at: number, end: number, all: boolean): Promise<void> {
    const { l2, header } = this.#metadata;
    const table = await l2.pin(index);
    const release = await this.#claim(at, end);
    try {
      const slots: number[] = [];
      const drops: number[] = [];
      for (let start = at; start < end; start += this.#clusterBytes) {
        const slot = this.#map.slotOf(start);
        const cluster = this.#metadata.cluster(table, slot);
        if (cluster.kind === 'unallocated' && !(all && this.#backing !== undefined)) continue;
        if (cluster.kind === 'zero' && cluster.at === 0) continue;
        slots.push(slot);
        drops.push(...this.#metadata.referencesOf(cluster));
      }
      if (slots.length === 0) return;
      await this.#metadata.change(table, [], drops, () => {
        for (const slot of slots) {
          if (header.version === 2) setUnallocated(table.view, slot);
          else setZero(table.view, slot, 0);
        }
      });
    } finally {
      release();
      l2.unpin(table);
    }
  }

  #claim(at: number, end: number): Promise<() => void> {
    return this.#claims.claim(Math.floor(at / this.#clusterBytes), Math.floor((end - 1) / this.#clusterBytes));
  }

  #track<T>(transfer: Promise<T>): Promise<T> {
    const over = transfer.catch(() => undefined);
    this.#transfers.add(over);
    void over.then(() => this.#transfers.delete(over));
    return transfer;
  }
}

/** Waits for all of them, also when one fails: whoever is told of it finds nothing under way. Throws the first failure. */
async function allDone(pending: readonly (Promise<void> | void)[]): Promise<void> {
  for (const result of await Promise.allSettled(pending)) {
    if (result.status === 'rejected') throw result.reason;
  }
}

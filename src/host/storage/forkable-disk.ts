/**
 * A disk whose content at some moments goes on to be read, while it is written: twins' disks are layers over such a
 * moment. The disk itself stays what it is, a file of the operator's perhaps, and is always up to date; before a cluster
 * is written, what was there is saved in the layer of the latest moment that twins have.
 *
 *   twin 1's writes      twin 2's writes
 *         |                    |
 *   moment 1 ----------> moment 2 ----------> the disk
 *   (saved since)        (saved since)
 *
 * What moment 1 has not saved was not written before moment 2, so it is looked for there. A moment is given up when no
 * twin, and no older moment, is left that reads through it. Layers are temporary files.
 */
import { type BlockBackend, totalBytes } from '../../devices/index.ts';
import type { Overlay } from './overlay.ts';
import { openTemporaryOverlay } from './overlay-file.ts';

interface Moment {
  readonly layer: Overlay;
  /** The next younger one. */
  next: Moment | undefined;
  twins: number;
}

/** A twin's disk on its way: prepared while the disk is in use, and then bound to a moment at which it is not. */
export interface DiskTwin {
  /** What the twin reads and writes, from `freeze` on. */
  readonly backend: BlockBackend;
  /** The disk's content is now what the twin begins with. Nothing is under way on it. */
  freeze(): void;
  close(): Promise<void>;
}

export class ForkableDisk implements BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly = false;
  readonly discard?: (offset: number, sizeBytes: number) => Promise<void> | void;
  readonly writeZeroes?: (offset: number, sizeBytes: number) => Promise<void> | void;
  readonly #disk: BlockBackend;
  readonly #closeDisk: () => Promise<void>;
  /** Oldest first. */
  readonly #moments: Moment[] = [];
  /** Clusters that are being saved, by number, for the latest moment. */
  readonly #saving = new Map<number, Promise<void>>();
  /** Reads of twins that are under way on the disk itself. */
  readonly #reads = new Set<{ readonly from: number; readonly to: number; readonly over: Promise<unknown> }>();
  #isWritten = true;
  #isClosed = false;

  /** Takes the disk over; `close` is called when neither it nor any twin needs it. */
  constructor(disk: BlockBackend, close: () => Promise<void>) {
    this.sizeBytes = disk.sizeBytes;
    this.#disk = disk;
    this.#closeDisk = close;
    const { discard, writeZeroes } = disk;
    if (discard) this.discard = (offset, size) => this.#change(offset, size, () => discard.call(disk, offset, size));
    if (writeZeroes)
      this.writeZeroes = (offset, size) => this.#change(offset, size, () => writeZeroes.call(disk, offset, size));
  }

  read(offset: number, into: readonly Uint8Array[]): Promise<void> | void {
    return this.#disk.read(offset, into);
  }

  write(offset: number, from: readonly Uint8Array[]): Promise<void> | void {
    return this.#change(offset, totalBytes(from), () => this.#disk.write(offset, from));
  }

  flush(): Promise<void> | void {
    return this.#disk.flush();
  }

  /** A disk for a twin, in a file without a name. Throws OperatorError where there is no room for one. */
  async prepareTwin(): Promise<DiskTwin> {
    const fresh: Moment = { layer: await this.#openLayer(() => fresh), next: undefined, twins: 0 };
    let moment = fresh;
    const base = {
      ...{ sizeBytes: this.sizeBytes, readOnly: true, path: 'the disk of the original', identity: '' },
      read: (offset: number, into: readonly Uint8Array[]) => moment.layer.read(offset, into),
      write: () => Promise.reject(new Error('the base of a layer is not written')),
      flush: () => {},
    };
    const own = await openTemporaryOverlay(base);
    let isFrozen = false;
    return {
      backend: own.disk,
      freeze: () => {
        isFrozen = true;
        moment = this.#takeMoment(fresh);
        moment.twins++;
      },
      close: async () => {
        await own.close();
        if (moment !== fresh || !isFrozen) await fresh.layer.close();
        if (!isFrozen) return;
        moment.twins--;
        await this.#giveUp();
      },
    };
  }

  /** The disk is used no more; twins may go on. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#moments.length === 0) await this.#closeDisk();
  }

  /** The latest moment, if nothing was written since, or a new one. */
  #takeMoment(fresh: Moment): Moment {
    const last = this.#moments.at(-1);
    if (last !== undefined && !this.#isWritten) return last;
    if (last !== undefined) last.next = fresh;
    this.#moments.push(fresh);
    this.#saving.clear();
    this.#isWritten = false;
    return fresh;
  }

  async #giveUp(): Promise<void> {
    while (this.#moments[0]?.twins === 0) await this.#moments.shift()?.layer.close();
    if (this.#isClosed && this.#moments.length === 0) await this.#closeDisk();
  }

  async #openLayer(own: () => Moment): Promise<Overlay> {
    const { disk } = await openTemporaryOverlay({
      ...{ sizeBytes: this.sizeBytes, readOnly: true, path: 'the disk of the original', identity: '' },
      read: (offset: number, into: readonly Uint8Array[]) => {
        const { next } = own();
        return next === undefined ? this.#readDisk(offset, into) : next.layer.read(offset, into);
      },
      write: () => Promise.reject(new Error('the base of a layer is not written')),
      flush: () => {},
    });
    return disk;
  }

  /** For a twin: whoever writes there waits until it is over. */
  #readDisk(offset: number, into: readonly Uint8Array[]): Promise<void> | void {
    const result = this.#disk.read(offset, into);
    if (result === undefined) return;
    const read = { from: offset, to: offset + totalBytes(into), over: result.catch(() => undefined) };
    this.#reads.add(read);
    void read.over.then(() => this.#reads.delete(read));
    return result;
  }

  #change(offset: number, sizeBytes: number, change: () => Promise<void> | void): Promise<void> | void {
    const moment = this.#moments.at(-1);
    this.#isWritten = true;
    return moment === undefined ? change() : this.#saveThen(moment, offset, offset + sizeBytes, change);
  }

  async #saveThen(moment: Moment, from: number, to: number, change: () => Promise<void> | void): Promise<void> {
    const { clusterBytes } = moment.layer;
    const saved: Promise<void>[] = [];
    for (let cluster = Math.floor(from / clusterBytes); cluster * clusterBytes < to; cluster++) {
      const saving = this.#saving.get(cluster) ?? this.#save(moment, cluster * clusterBytes);
      this.#saving.set(cluster, saving);
      saved.push(saving);
    }
    await Promise.all(saved);
    for (;;) {
      const reads = [...this.#reads].filter((read) => read.from < to && read.to > from);
      if (reads.length === 0) break;
      await Promise.all(reads.map((read) => read.over));
    }
    await change();
  }

  async #save({ layer }: Moment, offset: number): Promise<void> {
    const bytes = new Uint8Array(Math.min(layer.clusterBytes, this.sizeBytes - offset));
    await this.#disk.read(offset, [bytes]);
    await layer.write(offset, [bytes]);
  }
}

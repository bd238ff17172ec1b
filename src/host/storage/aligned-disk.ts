/**
 * A disk of 512-byte sectors over one whose blocks are larger: what lies at the edges is read, changed and written back,
 * by one writer at a time.
 */
import { assert } from '../../base/assert.ts';
import { type BlockBackend, totalBytes } from '../../devices/index.ts';
import { ClusterClaims } from './cluster-claims.ts';

export class AlignedDisk implements BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly discard?: (offset: number, sizeBytes: number) => Promise<void> | void;
  readonly #disk: BlockBackend;
  readonly #blockBytes: number;
  readonly #claims = new ClusterClaims();

  /** `blockBytes`: a power of two that the disk's size is a multiple of. */
  constructor(disk: BlockBackend, blockBytes: number) {
    assert(disk.sizeBytes % blockBytes === 0, 'a disk is made of whole blocks');
    this.#disk = disk;
    this.#blockBytes = blockBytes;
    this.sizeBytes = disk.sizeBytes;
    this.readOnly = disk.readOnly;
    const { discard } = disk;
    if (discard !== undefined) {
      this.discard = (offset, sizeBytes) => {
        const start = this.#blockEnd(offset);
        const end = this.#blockStart(offset + sizeBytes);
        if (start < end) return discard.call(disk, start, end - start);
      };
    }
  }

  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    const end = offset + totalBytes(into);
    const before = new Uint8Array(offset - this.#blockStart(offset));
    const behind = new Uint8Array(this.#blockEnd(end) - end);
    await this.#disk.read(
      offset - before.length,
      [before, ...into, behind].filter((piece) => piece.length > 0),
    );
  }

  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    const end = offset + totalBytes(from);
    const start = this.#blockStart(offset);
    const stop = this.#blockEnd(end);
    const release = await this.#claims.claim(start / this.#blockBytes, stop / this.#blockBytes - 1);
    try {
      const before = await this.#edge(start, 0, offset - start);
      const behind = await this.#edge(this.#blockStart(end), end % this.#blockBytes, stop - end);
      await this.#disk.write(
        start,
        [before, ...from, behind].filter((piece) => piece.length > 0),
      );
    } finally {
      release();
    }
  }

  flush(): Promise<void> | void {
    return this.#disk.flush();
  }

  async writeZeroes(offset: number, sizeBytes: number): Promise<void> {
    const end = offset + sizeBytes;
    const start = Math.min(this.#blockEnd(offset), end);
    const stop = Math.max(this.#blockStart(end), start);
    if (offset < start) await this.write(offset, [new Uint8Array(start - offset)]);
    if (start < stop) await this.#zeroBlocks(start, stop);
    if (stop < end) await this.write(stop, [new Uint8Array(end - stop)]);
  }

  async #zeroBlocks(start: number, stop: number): Promise<void> {
    const release = await this.#claims.claim(start / this.#blockBytes, stop / this.#blockBytes - 1);
    try {
      if (this.#disk.writeZeroes === undefined) await this.#disk.write(start, [new Uint8Array(stop - start)]);
      else await this.#disk.writeZeroes(start, stop - start);
    } finally {
      release();
    }
  }

  /** `count` bytes of the block at `start`, from `at` on; nothing is read for none. */
  async #edge(start: number, at: number, count: number): Promise<Uint8Array> {
    if (count === 0) return new Uint8Array();
    const block = new Uint8Array(this.#blockBytes);
    await this.#disk.read(start, [block]);
    return block.subarray(at, at + count);
  }

  #blockStart(offset: number): number {
    return offset - (offset % this.#blockBytes);
  }

  #blockEnd(offset: number): number {
    return Math.ceil(offset / this.#blockBytes) * this.#blockBytes;
  }
}

/**
 * A file whose host may crash: what was written since the last sync is on the medium in part only, sector by sector,
 * in no order. `crash` gives the file as it is found afterwards.
 */
import assert from 'node:assert/strict';
import type { Random } from '../../devices/virtio/random.testing.ts';
import type { StorageFile } from './storage-file.ts';

const SECTOR_BYTES = 512;

export class CrashFile implements StorageFile {
  readonly log: string[] = [];
  /** Lets the next operations of this kind fail. */
  failing: 'write' | 'sync' | undefined;
  /** Called when a write or a sync has been done. */
  onOperation: () => void = () => {};
  #closed = false;
  readonly #now: Uint8Array;
  readonly #synced: Uint8Array;
  /** Sectors written since the last sync, each with every content it had. */
  readonly #unsynced = new Map<number, Uint8Array[]>();
  /** Lets operations take their turn later, so that they overlap. */
  readonly #pause: () => Promise<void>;

  constructor(content: Uint8Array, pause: () => Promise<void> = () => Promise.resolve()) {
    assert.equal(content.length % SECTOR_BYTES, 0);
    this.#now = content.slice();
    this.#synced = content.slice();
    this.#pause = pause;
  }

  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    await this.#pause();
    for (const piece of into) {
      assert.ok(offset + piece.length <= this.#now.length, 'a read beyond the end');
      piece.set(this.#now.subarray(offset, offset + piece.length));
      offset += piece.length;
    }
  }

  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    assert.ok(!this.#closed);
    const start = offset;
    await this.#pause();
    if (this.failing === 'write') throw new Error('no space left');
    for (const piece of from) {
      assert.ok(offset + piece.length <= this.#now.length, 'a write beyond the end');
      this.#now.set(piece, offset);
      offset += piece.length;
    }
    this.log.push(`write ${start}+${offset - start}`);
    for (let sector = Math.floor(start / SECTOR_BYTES); sector * SECTOR_BYTES < offset; sector++) {
      const versions = this.#unsynced.get(sector) ?? [];
      versions.push(this.#now.slice(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES));
      this.#unsynced.set(sector, versions);
    }
    this.onOperation();
  }

  async sync(): Promise<void> {
    // What is written while the sync runs may miss it.
    const before = this.#now.slice();
    const covered = [...this.#unsynced.entries()].map(([sector, versions]) => [sector, versions.length] as const);
    await this.#pause();
    if (this.failing === 'sync') throw new Error('medium error');
    for (const [sector, count] of covered) {
      const at = sector * SECTOR_BYTES;
      this.#synced.set(before.subarray(at, at + SECTOR_BYTES), at);
      const versions = this.#unsynced.get(sector) ?? [];
      versions.splice(0, count);
      if (versions.length === 0) this.#unsynced.delete(sector);
    }
    this.log.push('sync');
    this.onOperation();
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  /** The medium after a crash now; with `kept`, that all or nothing of what was not synced has reached it. */
  crash(random: Random, kept?: 'all' | 'nothing'): Uint8Array {
    const medium = this.#synced.slice();
    if (kept === 'nothing') return medium;
    for (const [sector, versions] of this.#unsynced) {
      const choice = kept === 'all' ? versions.length - 1 : random.below(versions.length + 1);
      const version = versions[choice];
      if (version !== undefined) medium.set(version, sector * SECTOR_BYTES);
    }
    return medium;
  }
}

/**
 * A disk in memory, for tests, for browsers and for scratch disks. Only pages that were written take room; a page
 * that is discarded or zeroed gives it back. Everything completes at once.
 */
import { assert } from '../../base/assert.ts';
import { type BlockBackend, SECTOR_BYTES, totalBytes } from './block-backend.ts';

const PAGE_BYTES = 1 << 16;

export interface MemoryBackendOptions {
  readonly readOnly?: boolean;
  /** What the disk holds at first; copied. */
  readonly content?: Uint8Array;
}

export class MemoryBackend implements BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly #pages = new Map<number, Uint8Array>();

  /** `sizeBytes` is a multiple of 512. */
  constructor(sizeBytes: number, options: MemoryBackendOptions = {}) {
    assert(sizeBytes % SECTOR_BYTES === 0, 'a disk is made of whole sectors');
    this.sizeBytes = sizeBytes;
    this.readOnly = options.readOnly ?? false;
    if (options.content !== undefined) this.#store(0, [options.content]);
  }

  /** Bytes of memory that hold content. */
  get allocatedBytes(): number {
    return this.#pages.size * PAGE_BYTES;
  }

  read(offset: number, into: readonly Uint8Array[]): void {
    this.#check(offset, totalBytes(into));
    for (const piece of into) {
      for (let done = 0; done < piece.length; ) {
        const within = offset % PAGE_BYTES;
        const take = Math.min(PAGE_BYTES - within, piece.length - done);
        const page = this.#pages.get((offset - within) / PAGE_BYTES);
        if (page === undefined) piece.fill(0, done, done + take);
        else piece.set(page.subarray(within, within + take), done);
        done += take;
        offset += take;
      }
    }
  }

  write(offset: number, from: readonly Uint8Array[]): void {
    this.#check(offset, totalBytes(from));
    assert(!this.readOnly, 'a write reached a read-only disk');
    this.#store(offset, from);
  }

  flush(): void {}

  discard(offset: number, sizeBytes: number): void {
    this.writeZeroes(offset, sizeBytes);
  }

  writeZeroes(offset: number, sizeBytes: number): void {
    this.#check(offset, sizeBytes);
    assert(!this.readOnly, 'a write reached a read-only disk');
    for (const end = offset + sizeBytes; offset < end; ) {
      const within = offset % PAGE_BYTES;
      const take = Math.min(PAGE_BYTES - within, end - offset);
      const index = (offset - within) / PAGE_BYTES;
      if (take === PAGE_BYTES) this.#pages.delete(index);
      else this.#pages.get(index)?.fill(0, within, within + take);
      offset += take;
    }
  }

  #store(offset: number, from: readonly Uint8Array[]): void {
    for (const piece of from) {
      for (let done = 0; done < piece.length; ) {
        const within = offset % PAGE_BYTES;
        const take = Math.min(PAGE_BYTES - within, piece.length - done);
        const index = (offset - within) / PAGE_BYTES;
        let page = this.#pages.get(index);
        if (page === undefined) {
          page = new Uint8Array(PAGE_BYTES);
          this.#pages.set(index, page);
        }
        page.set(piece.subarray(done, done + take), within);
        done += take;
        offset += take;
      }
    }
  }

  #check(offset: number, sizeBytes: number): void {
    assert(offset >= 0 && offset + sizeBytes <= this.sizeBytes, 'an access beyond the end of the disk');
  }
}

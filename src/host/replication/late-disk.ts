/**
 * A disk of two hosts: the machine that stands by has the device, and opens the disk itself when it runs. It says of it what
 * the source said.
 */

import { must } from '../../base/assert.ts';
import type { BlockBackend } from '../../devices/index.ts';
import type { OpenDisk } from '../storage/index.ts';

export class LateDisk implements BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly = false;
  readonly discard?: (offset: number, sizeBytes: number) => Promise<void> | void;
  readonly writeZeroes?: (offset: number, sizeBytes: number) => Promise<void> | void;
  #disk: OpenDisk | undefined;

  constructor(sizeBytes: number, offers: { readonly discards: boolean; readonly zeroes: boolean }) {
    this.sizeBytes = sizeBytes;
    if (offers.discards) this.discard = (offset, size) => this.#opened.discard?.(offset, size);
    if (offers.zeroes) this.writeZeroes = (offset, size) => this.#opened.writeZeroes?.(offset, size);
  }

  /** Nobody asks before. */
  open(disk: OpenDisk): void {
    this.#disk = disk;
  }

  /** As the opened disk has it. */
  get disk(): OpenDisk | undefined {
    return this.#disk;
  }

  read(offset: number, into: readonly Uint8Array[]): Promise<void> | void {
    return this.#opened.read(offset, into);
  }

  write(offset: number, from: readonly Uint8Array[]): Promise<void> | void {
    return this.#opened.write(offset, from);
  }

  flush(): Promise<void> | void {
    return this.#opened.flush();
  }

  get #opened(): BlockBackend {
    return must(this.#disk, 'a disk of two hosts is used where the guest runs').backend;
  }
}

/** An image's file: what was never written reads as zeros, also behind its end, and writing makes it longer. */
import { totalBytes } from '../../../devices/index.ts';
import { cut, type StorageFile } from '../storage-file.ts';

export class ImageFile {
  readonly #file: StorageFile;
  #sizeBytes: number;

  constructor(file: StorageFile, sizeBytes: number) {
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  /** Up to where something was written. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    const size = totalBytes(into);
    const there = Math.max(0, Math.min(size, this.#sizeBytes - offset));
    for (const piece of cut(into, there, size - there)) piece.fill(0);
    if (there > 0) await this.#file.read(offset, there === size ? into : cut(into, 0, there));
  }

  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    await this.#file.write(offset, from);
    this.#sizeBytes = Math.max(this.#sizeBytes, offset + totalBytes(from));
  }

  /** As StorageFile.readNow. */
  readNow(offset: number, into: readonly Uint8Array[]): boolean {
    if (offset + totalBytes(into) > this.#sizeBytes) return false;
    return this.#file.readNow?.(offset, into) ?? false;
  }

  /** As StorageFile.writeNow, within the file. */
  writeNow(offset: number, from: readonly Uint8Array[]): boolean {
    if (offset + totalBytes(from) > this.#sizeBytes) return false;
    return this.#file.writeNow?.(offset, from) ?? false;
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

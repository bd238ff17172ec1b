/**
 * What a block device stands on: sectors somewhere. Implementations: memory (memory-backend.ts), and for Node a raw
 * file and a copy-on-write overlay (src/host/storage/). One shared suite runs against each
 * (block-backend.testing.ts).
 */

export const SECTOR_BYTES = 512;

/**
 * Offsets and sizes are multiples of SECTOR_BYTES, within `sizeBytes`. Several operations may be under way at once;
 * those that overlap may take effect in any order. A method that returns nothing has done its work; one that returns
 * a promise borrows its buffers until that settles, and rejects with the host's error. A read fills all of `into`.
 */
export interface BlockBackend {
  /** A multiple of SECTOR_BYTES. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  read(offset: number, into: readonly Uint8Array[]): Promise<void> | void;
  write(offset: number, from: readonly Uint8Array[]): Promise<void> | void;
  /** What was written before this call survives a crash of the host once it is done. */
  flush(): Promise<void> | void;
  /** The range's content is no longer needed; it reads as zeros, or as before where that is cheaper. */
  discard?(offset: number, sizeBytes: number): Promise<void> | void;
  /** The range reads as zeros from now on. */
  writeZeroes?(offset: number, sizeBytes: number): Promise<void> | void;
}

/**
 * A disk as a thread has it that does requests at once: what is under it answers fast now, in the page cache say. The same
 * content as the backend's. False: nothing came of it, and the backend is to be asked, errors included; what was to be
 * filled may have been, in part.
 */
export interface QuickDisk {
  read(offset: number, into: readonly Uint8Array[]): boolean;
  write(offset: number, from: readonly Uint8Array[]): boolean;
  flush(): boolean;
}

/** The sum of the pieces' lengths. */
export function totalBytes(pieces: readonly Uint8Array[]): number {
  let total = 0;
  for (const piece of pieces) total += piece.length;
  return total;
}

/**
 * A file as disks use it: whole pieces at an offset, and the two calls that order what reaches the medium. Reads and
 * writes go on until all is transferred. The overlay works over this interface, so that its tests can crash a file
 * between any two operations.
 */
import type { FileHandle } from 'node:fs/promises';
import { HostError } from '../../base/errors.ts';
import { QuickFile } from './quick-file.ts';

export interface StorageFile {
  /** Fills all of `into`; rejects at the end of the file. */
  read(offset: number, into: readonly Uint8Array[]): Promise<void>;
  write(offset: number, from: readonly Uint8Array[]): Promise<void>;
  /** Little, at once, as long as the file answers fast; false: nothing came of it, ask `read`, for errors too. */
  readNow?(offset: number, into: readonly Uint8Array[]): boolean;
  /** The same for writing. */
  writeNow?(offset: number, from: readonly Uint8Array[]): boolean;
  /** What was written before survives a crash of the host. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** The host's IOV_MAX is 1024; Node passes the list on as it is. */
const PIECES_MAX = 512;

export class NodeFile implements StorageFile {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #quick: QuickFile;
  #syncFailure: HostError | undefined;

  /** Takes the handle over; `path` is for messages. */
  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
    this.#quick = new QuickFile(() => this.#handle.fd);
  }

  async read(offset: number, into: readonly Uint8Array[]): Promise<void> {
    for (let left = into; left.length > 0; ) {
      const { bytesRead } = await this.#handle.readv(left.slice(0, PIECES_MAX), offset);
      if (bytesRead === 0) {
        throw new HostError('disk-truncated', `${this.#path} ended at ${offset}: has somebody shortened it?`);
      }
      offset += bytesRead;
      left = behind(left, bytesRead);
    }
  }

  async write(offset: number, from: readonly Uint8Array[]): Promise<void> {
    for (let left = from; left.length > 0; ) {
      const { bytesWritten } = await this.#handle.writev(left.slice(0, PIECES_MAX), offset);
      if (bytesWritten === 0) throw new HostError('disk-full', `${this.#path} took nothing at ${offset}`);
      offset += bytesWritten;
      left = behind(left, bytesWritten);
    }
  }

  readNow(offset: number, into: readonly Uint8Array[]): boolean {
    return this.#quick.read(offset, into);
  }

  writeNow(offset: number, from: readonly Uint8Array[]): boolean {
    return this.#quick.write(offset, from);
  }

  /**
   * Once it has failed it fails for good: the system may have dropped what it could not write, and its next answer would
   * not speak of that any more.
   */
  async sync(): Promise<void> {
    if (this.#syncFailure !== undefined) throw this.#syncFailure;
    try {
      await this.#handle.datasync();
    } catch (error) {
      this.#syncFailure = new HostError('disk-sync', `${this.#path} did not reach the medium`, { cause: error });
      throw this.#syncFailure;
    }
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** The pieces without their first `count` bytes and without empty ones. */
export function behind(pieces: readonly Uint8Array[], count: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  for (const piece of pieces) {
    if (count >= piece.length) count -= piece.length;
    else {
      rest.push(count === 0 ? piece : piece.subarray(count));
      count = 0;
    }
  }
  return rest;
}

/** Borrowed views of `count` bytes of the pieces from byte `at` on. */
export function cut(pieces: readonly Uint8Array[], at: number, count: number): Uint8Array[] {
  const part: Uint8Array[] = [];
  for (const piece of pieces) {
    if (count === 0) break;
    if (at >= piece.length) {
      at -= piece.length;
      continue;
    }
    const take = Math.min(piece.length - at, count);
    part.push(piece.subarray(at, at + take));
    count -= take;
    at = 0;
  }
  return part;
}

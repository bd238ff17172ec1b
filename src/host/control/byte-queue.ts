/**
 * Bytes on their way from a connection to a reader that takes them when it can: a piece is acknowledged when it is
 * taken, so that the writer's pace follows the reader's. One reader.
 */
import { HostError } from '../../base/errors.ts';

const mostPieces = 64;

interface Piece {
  readonly bytes: Uint8Array;
  taken(): void;
  dropped(error: unknown): void;
}

export class ByteQueue implements AsyncIterable<Uint8Array> {
  #pieces: Piece[] = [];
  #isEnded = false;
  #isClosed = false;
  #wake: (() => void) | undefined;

  /** Resolves when the reader has taken the bytes; rejects when it will not. */
  async push(bytes: Uint8Array): Promise<void> {
    if (this.#isEnded || this.#isClosed) throw new HostError('input-closed', 'the input is closed');
    if (this.#pieces.length >= mostPieces) throw new HostError('input-full', 'too much input waits to be taken');
    await new Promise<void>((taken, dropped) => {
      this.#pieces.push({ bytes, taken, dropped });
      this.#wake?.();
    });
  }

  /** The reader finds the end behind what was pushed. */
  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  /** Drops what waits: there is no reader any more. */
  close(): void {
    this.#isClosed = true;
    for (const { dropped } of this.#pieces.splice(0)) dropped(new HostError('input-closed', 'the input is closed'));
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    while (!this.#isClosed) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        piece.taken();
        yield piece.bytes;
      } else if (this.#isEnded) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

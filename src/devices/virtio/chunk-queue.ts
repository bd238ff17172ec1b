/** Bytes that wait, in the pieces in which they came. */
export class ChunkQueue {
  readonly #chunks: Uint8Array[] = [];
  /** Bytes of the first piece that were taken. */
  #taken = 0;
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Appends a copy. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.push(bytes.slice());
    this.#sizeBytes += bytes.length;
  }

  /** Moves bytes into `into`, at most its length; how many. */
  take(into: Uint8Array): number {
    let done = 0;
    for (let first = this.#chunks[0]; first !== undefined && done < into.length; first = this.#chunks[0]) {
      const piece = first.subarray(this.#taken, this.#taken + into.length - done);
      into.set(piece, done);
      done += piece.length;
      this.#taken += piece.length;
      if (this.#taken < first.length) break;
      this.#chunks.shift();
      this.#taken = 0;
    }
    this.#sizeBytes -= done;
    return done;
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#taken = 0;
    this.#sizeBytes = 0;
  }
}

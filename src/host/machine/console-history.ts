/** The last bytes that a console said, for whoever comes later: `kage logs`, and a terminal that attaches. */

export class ConsoleHistory {
  readonly #limitBytes: number;
  #chunks: Uint8Array[] = [];
  #sizeBytes = 0;

  constructor(limitBytes = 256 << 10) {
    this.#limitBytes = limitBytes;
  }

  /** Keeps a copy. */
  push(bytes: Uint8Array): void {
    this.#chunks.push(bytes.slice(-this.#limitBytes));
    this.#sizeBytes += Math.min(bytes.length, this.#limitBytes);
    // Joined now and then, so that many small writes neither cost a join each nor pile up.
    if (this.#sizeBytes > 2 * this.#limitBytes || this.#chunks.length > 4096) this.#chunks = [this.bytes()];
    if (this.#chunks.length === 1) this.#sizeBytes = this.#chunks[0]?.length ?? 0;
  }

  /** At most the limit's count of bytes, the latest. */
  bytes(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#chunks).subarray(-this.#limitBytes));
  }
}

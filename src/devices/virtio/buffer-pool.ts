/**
 * Buffers in one piece, for messages that a server reads and writes: of powers of two, so that those of a kind serve each
 * other's turns. (Disks have pieces, piece-pool.ts.)
 */

const LEAST_BITS = 12;
/** Bytes that are kept while nobody uses them. */
const KEPT_BYTES_MAX = 8 << 20;

export class BufferPool {
  /** By the power of two. */
  readonly #free: readonly Uint8Array[][] = Array.from({ length: 32 }, () => []);
  #keptBytes = 0;

  /** A buffer of `sizeBytes`; its content is arbitrary. */
  take(sizeBytes: number): Uint8Array {
    const bits = bitsOf(sizeBytes);
    const whole = this.#free[bits]?.pop();
    if (whole === undefined) return new Uint8Array(2 ** bits).subarray(0, sizeBytes);
    this.#keptBytes -= whole.length;
    return whole.subarray(0, sizeBytes);
  }

  /** Takes back what `take` gave; nobody may use it any more. */
  give(buffer: Uint8Array): void {
    const whole = new Uint8Array(buffer.buffer as ArrayBuffer);
    if (this.#keptBytes + whole.length > KEPT_BYTES_MAX) return;
    this.#keptBytes += whole.length;
    this.#free[bitsOf(whole.length)]?.push(whole);
  }
}

function bitsOf(sizeBytes: number): number {
  return Math.max(LEAST_BITS, 32 - Math.clz32(sizeBytes - 1));
}

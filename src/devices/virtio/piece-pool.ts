/**
 * Buffers between guest memory and the host's files. Data is copied through them for three reasons: what the guest
 * changes after its request has no effect on it; guest memory changes only when a request completes, at a moment
 * that the machine chooses; and no view of guest memory outlives the call that checked the device's rights to it.
 * The cost is one copy, some 0.1 ms a MiB; the pool saves allocating and zeroing them.
 */

export const PIECE_BYTES = 1 << 16;
const KEPT_PIECES_MAX = 256;

export class PiecePool {
  readonly #free: Uint8Array[] = [];

  /** Buffers for `sizeBytes` in all, each of PIECE_BYTES but the last. Their content is arbitrary. */
  take(sizeBytes: number): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    for (let left = sizeBytes; left > 0; left -= PIECE_BYTES) {
      const whole = this.#free.pop() ?? new Uint8Array(PIECE_BYTES);
      pieces.push(left < PIECE_BYTES ? whole.subarray(0, left) : whole);
    }
    return pieces;
  }

  /** Takes back what `take` gave; nobody may use it any more. */
  give(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      if (this.#free.length >= KEPT_PIECES_MAX) return;
      this.#free.push(piece.length === PIECE_BYTES ? piece : new Uint8Array(piece.buffer as ArrayBuffer));
    }
  }
}

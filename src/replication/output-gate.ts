/**
 * Output commit: what a guest tells the world leaves when the checkpoint behind it is safe elsewhere, and not before. So
 * whoever takes over from a checkpoint knows everything that anybody was told.
 *
 *   guest --send--> | this epoch | epoch 7 | epoch 6 | --commit(6)--> world
 *                                ^ mark: a checkpoint was taken here
 *
 * While the gate is open, nothing waits. It never drops and never reorders; who fills it watches `heldBytes`, and has the
 * guest stand still rather than let it grow.
 */
interface Held {
  readonly bytes: number;
  readonly leave: () => void;
}

export class OutputGate {
  readonly #epochs: { readonly number: number; readonly held: Held[] }[] = [];
  #isClosed = false;
  #heldBytes = 0;
  /** Pieces of output that waited, and the most bytes that did at a time. */
  heldPieces = 0;
  peakBytes = 0;
  /** Told when something begins to wait, with how much waits by then. */
  onHeld: ((bytes: number) => void) | undefined;

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Something waits of the epoch that goes on. */
  get hasFresh(): boolean {
    return (this.#epochs.at(-1)?.held.length ?? 0) > 0;
  }

  /** From now on output waits. Epochs count from `number`. */
  close(number: number): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#epochs.push({ number, held: [] });
  }

  /** Whatever waits leaves, in its order, and nothing waits any more. */
  open(): void {
    if (!this.#isClosed) return;
    // What leaves may bring about more: it comes behind, in the epoch that is last.
    for (let epoch = this.#epochs[0]; epoch !== undefined; epoch = this.#epochs[0]) {
      this.#leave(epoch.held);
      this.#epochs.shift();
    }
    this.#isClosed = false;
  }

  /** `leave` is called at once, or when its epoch is safe; what it needs until then is its own. */
  send(bytes: number, leave: () => void): void {
    const now = this.#epochs.at(-1);
    if (!this.#isClosed || now === undefined) {
      leave();
      return;
    }
    now.held.push({ bytes, leave });
    this.heldPieces++;
    this.#heldBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.#heldBytes);
    this.onHeld?.(this.#heldBytes);
  }

  /** A checkpoint was taken: output from here on is of the next epoch. The number of the one that ends. */
  mark(): number {
    const number = this.#epochs.at(-1)?.number ?? 0;
    this.#epochs.push({ number: number + 1, held: [] });
    return number;
  }

  /** Epochs up to that one are safe. */
  commit(number: number): void {
    // The last one is still going on.
    while (this.#epochs.length > 1 && (this.#epochs[0]?.number ?? 0) <= number)
      this.#leave(this.#epochs.shift()?.held ?? []);
  }

  #leave(held: readonly Held[]): void {
    for (const { bytes, leave } of held) {
      this.#heldBytes -= bytes;
      leave();
    }
  }
}

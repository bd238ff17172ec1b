/**
 * Frames on a stream of bytes, as QEMU's `-netdev stream` and passt have them: before each its length in four bytes, most
 * significant first.
 */
// hot: a frame that lies whole in a chunk is lent from it, not copied

export const PREFIX_BYTES = 4;
/** QEMU's own bound (NET_BUFSIZE): who says more has lost the thread. */
const LONGEST_BYTES = 4096 + 65_536;

/** A copy of the frame behind its length. */
export function prefixed(frame: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PREFIX_BYTES + frame.length);
  new DataView(bytes.buffer).setUint32(0, frame.length);
  bytes.set(frame, PREFIX_BYTES);
  return bytes;
}

export class FrameDecoder {
  readonly #frame: (frame: Uint8Array) => void;
  /** What has come of a prefix or a frame whose rest is to come. */
  readonly #kept = new Uint8Array(PREFIX_BYTES + LONGEST_BYTES);
  #keptBytes = 0;

  /** `frame` gets each frame, lent for the call. */
  constructor(frame: (frame: Uint8Array) => void) {
    this.#frame = frame;
  }

  /** False when the stream makes no sense any more: nothing can be read of it again. */
  push(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.length || this.#isWhole()) {
      if (this.#keptBytes === 0) {
        const used = this.#lend(chunk, at);
        if (used < 0) return false;
        at += used;
        if (at === chunk.length) return true;
      }
      at += this.#keep(chunk, at);
      const length = this.#keptLength();
      if (length !== undefined && length > LONGEST_BYTES) return false;
      if (!this.#isWhole()) continue;
      const end = this.#keptBytes;
      this.#keptBytes = 0;
      this.#frame(this.#kept.subarray(PREFIX_BYTES, end));
    }
    return true;
  }

  /** Hands out the frames that lie whole in the chunk; how many bytes they were, or -1. */
  #lend(chunk: Uint8Array, from: number): number {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    let at = from;
    while (chunk.length - at >= PREFIX_BYTES) {
      const length = view.getUint32(at);
      if (length > LONGEST_BYTES) return -1;
      const end = at + PREFIX_BYTES + length;
      if (end > chunk.length) break;
      this.#frame(chunk.subarray(at + PREFIX_BYTES, end));
      at = end;
    }
    return at - from;
  }

  /** Keeps what is still wanted of the frame that has begun; how many bytes that took. */
  #keep(chunk: Uint8Array, at: number): number {
    const length = this.#keptLength();
    const want = length === undefined ? PREFIX_BYTES : PREFIX_BYTES + length;
    const part = chunk.subarray(at, at + want - this.#keptBytes);
    this.#kept.set(part, this.#keptBytes);
    this.#keptBytes += part.length;
    return part.length;
  }

  #keptLength(): number | undefined {
    return this.#keptBytes < PREFIX_BYTES ? undefined : new DataView(this.#kept.buffer).getUint32(0);
  }

  #isWhole(): boolean {
    const length = this.#keptLength();
    return length !== undefined && this.#keptBytes === PREFIX_BYTES + length;
  }
}

/**
 * Two uplinks of one segment both see what is sent to everybody. Only the uplink in force delivers; where that changes
 * while such a frame is under way, it would come once by the old one and once by the new one. Here frames that came
 * lately are remembered by a digest, with the uplink that they came by: the same bytes by another uplink are a
 * duplicate for an interface that was mapped to that one when they came. The same bytes by the same uplink are not:
 * hosts repeat themselves.
 */
const REMEMBERED = 128;
const WINDOW_MS = 500;

export class EchoFilter<U> {
  readonly #digests = new Float64Array(REMEMBERED);
  readonly #atMs = new Float64Array(REMEMBERED).fill(Number.NEGATIVE_INFINITY);
  readonly #uplinks: (U | undefined)[] = Array.from({ length: REMEMBERED });
  #next = 0;

  /** When the frame came by another uplink, a moment ago; undefined when it did not. It is remembered in any case. */
  seenMs(frame: Uint8Array, uplink: U, nowMs: number): number | undefined {
    const digest = digestOf(frame);
    let seen: number | undefined;
    for (let i = 0; i < REMEMBERED; i += 1) {
      if (this.#digests[i] !== digest || this.#uplinks[i] === uplink) continue;
      const atMs = this.#atMs[i] ?? 0;
      if (nowMs - atMs <= WINDOW_MS && atMs > (seen ?? 0)) seen = atMs;
    }
    this.#digests[this.#next] = digest;
    this.#atMs[this.#next] = nowMs;
    this.#uplinks[this.#next] = uplink;
    this.#next = (this.#next + 1) % REMEMBERED;
    return seen;
  }

  /** Nothing of an uplink that is gone is kept. */
  forget(uplink: U): void {
    this.#uplinks.forEach((one, i) => {
      if (one === uplink) this.#uplinks[i] = undefined;
    });
  }
}

/** 53 bits out of two FNV-1a sums over all bytes: frames of one length that differ have other digests, nearly always. */
function digestOf(frame: Uint8Array): number {
  let one = 0x811c9dc5;
  let other = 0x9dc5811c;
  for (let i = 0; i < frame.length; i += 1) {
    const byte = frame[i] ?? 0;
    one = Math.imul(one ^ byte, 0x01000193);
    other = Math.imul(other ^ byte, 0x85ebca6b) ^ (other >>> 13);
  }
  return (one >>> 11) * 2 ** 32 + (other >>> 0);
}

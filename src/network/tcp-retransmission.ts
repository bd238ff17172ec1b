/**
 * The retransmission timeout (RFC 6298) of one connection: smoothed round-trip time, its variance, and exponential
 * backoff. One segment is timed at a time, and never one that was sent twice (Karn's algorithm).
 */
const FIRST_RTO_MS = 1000;
/** RFC 6298 (2.4) asks for 1 s; every stack in use takes 200 ms, and the link is a virtual one. */
const MIN_RTO_MS = 200;
const MAX_RTO_MS = 60_000;

export class RetransmissionTimeout {
  #smoothedMs = 0;
  #varianceMs = 0;
  #rtoMs = FIRST_RTO_MS;
  #backoff = 0;

  /** The timeout now, backoff included. */
  get timeoutMs(): number {
    return Math.min(this.#rtoMs * 2 ** this.#backoff, MAX_RTO_MS);
  }

  /** Takes a measured round trip. */
  sample(roundTripMs: number): void {
    if (this.#smoothedMs === 0) {
      this.#smoothedMs = Math.max(roundTripMs, 1);
      this.#varianceMs = roundTripMs / 2;
    } else {
      this.#varianceMs += (Math.abs(this.#smoothedMs - roundTripMs) - this.#varianceMs) / 4;
      this.#smoothedMs += (roundTripMs - this.#smoothedMs) / 8;
    }
    this.#rtoMs = Math.max(MIN_RTO_MS, this.#smoothedMs + Math.max(1, 4 * this.#varianceMs));
  }

  /** After a timeout: the next one comes twice as late. */
  backOff(): void {
    if (this.timeoutMs < MAX_RTO_MS) this.#backoff += 1;
  }

  /** After news from the peer: no backoff any more. */
  reset(): void {
    this.#backoff = 0;
  }
}

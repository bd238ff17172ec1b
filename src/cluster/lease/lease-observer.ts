/**
 * The observer's side of other hosts' leases. It counts from when it first saw the current value, by linearizable reads of
 * its own, and only the time between reads that worked: while it cannot read, nobody can expire for it, and after an
 * outage of the store everybody has the whole time again in effect.
 *
 *     reads:   r1 r2 r3 r3 r3 x  x  x  r3 r3 r3 r3
 *     counted:       0  .5 1              1  1.5 2    (x: failed)
 *
 * What was seen is not enough to act: who acts compares the revision that has expired, in the same transaction.
 */
import type { LeaseRecord } from '../model.ts';
import type { Settings } from '../settings.ts';

interface Seen {
  readonly lease: LeaseRecord;
  readonly revision: number;
  countedMs: number;
  lastReadMs: number;
}

export class LeaseObserver {
  readonly #settings: Pick<Settings, 'marginMs' | 'longestGapMs'>;
  readonly #seen = new Map<string, Seen>();

  constructor(settings: Pick<Settings, 'marginMs' | 'longestGapMs'>) {
    this.#settings = settings;
  }

  /** A linearizable read, answered at `nowMs`, showed this; it was sent at `sentMs`. */
  saw(host: string, lease: LeaseRecord | undefined, revision: number, sentMs: number, nowMs: number): void {
    const before = this.#seen.get(host);
    if (lease === undefined) {
      this.#seen.delete(host);
      return;
    }
    if (before === undefined || before.revision !== revision) {
      this.#seen.set(host, { lease, revision, countedMs: 0, lastReadMs: nowMs });
      return;
    }
    // From answer to the next request's sending: less than what has passed, whatever the store's delays are.
    const gapMs = sentMs - before.lastReadMs;
    if (gapMs > 0 && gapMs <= this.#settings.longestGapMs) before.countedMs += gapMs;
    if (gapMs > 0) before.lastReadMs = sentMs;
  }

  /** A read failed: the time until the next one that works does not count. */
  interrupt(): void {
    for (const seen of this.#seen.values()) seen.lastReadMs = Number.NEGATIVE_INFINITY;
  }

  /** Who is not looked at any more is forgotten: time that nobody watched does not count. */
  keepOnly(hosts: ReadonlySet<string>): void {
    for (const host of this.#seen.keys()) if (!hosts.has(host)) this.#seen.delete(host);
  }

  /** The revision that has expired, if the lease has, `longerMs` ago at least. */
  expired(host: string, longerMs = 0): number | undefined {
    const seen = this.#seen.get(host);
    if (seen === undefined || seen.lease.state !== 'held') return undefined;
    return seen.countedMs >= seen.lease.durationMs + this.#settings.marginMs + longerMs ? seen.revision : undefined;
  }

  /** For how long it has been seen unchanged. */
  unchangedMs(host: string): number {
    return this.#seen.get(host)?.countedMs ?? 0;
  }

  /** What is left until it expires, if it stays as it is and reads go on working; undefined: nothing to wait for. */
  leftMs(host: string, nowMs: number): number | undefined {
    const seen = this.#seen.get(host);
    if (seen === undefined || seen.lease.state !== 'held') return undefined;
    const openMs = Number.isFinite(seen.lastReadMs) ? nowMs - seen.lastReadMs : 0;
    return seen.lease.durationMs + this.#settings.marginMs - seen.countedMs - openMs;
  }

  lease(host: string): LeaseRecord | undefined {
    return this.#seen.get(host)?.lease;
  }

  isSeen(host: string): boolean {
    return this.#seen.has(host);
  }
}

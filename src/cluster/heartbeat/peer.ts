/**
 * One peer, as a master knows it: whether it was heard lately, and what it says of its guests. Silence counts only
 * while the listener itself was awake: after a stall of its own there are beats that wait to be read.
 */
import type { Datagram } from './datagrams.ts';
import { Digest, type GuestDetail } from './digest.ts';

/** A pull that brought nothing is tried again after so many beats. */
const PULL_AGAIN_BEATS = 4;

export class Peer {
  readonly host: string;
  silentMs = 0;
  isSuspected = false;
  /** Undefined until it was heard. */
  last: Datagram | undefined;
  /** Of the digest that it said last, when all parts have come. */
  details: readonly GuestDetail[] = [];
  /** Of a host without guests, of which there is nothing to ask. */
  #known: { readonly high: number; readonly low: number } = { high: 0, low: 0 };
  #parts: (readonly GuestDetail[])[] = [];
  #beatsSincePull = PULL_AGAIN_BEATS;

  constructor(host: string) {
    this.host = host;
  }

  /** True when it was suspected, and is not any more. `sinceTickMs`: how long ago the listener last counted silence. */
  heard(datagram: Datagram, sinceTickMs: number): boolean {
    const { last } = this;
    const isOld = last !== undefined && last.incarnation === datagram.incarnation && datagram.sequence <= last.sequence;
    if (isOld || (last !== undefined && datagram.incarnation < last.incarnation)) return false;
    this.last = datagram;
    this.silentMs = -sinceTickMs;
    const wasSuspected = this.isSuspected;
    this.isSuspected = false;
    return wasSuspected;
  }

  /** Its guests' states have changed, and nobody is asked already. */
  wantsDetails(): boolean {
    const { last } = this;
    if (last === undefined || isSame(last.digest, this.#known)) return false;
    if (this.#beatsSincePull < PULL_AGAIN_BEATS) {
      this.#beatsSincePull += 1;
      return false;
    }
    this.#beatsSincePull = 0;
    return true;
  }

  /** True when these are all, and are what the digest says. */
  took({ part, parts, details, digest }: Datagram): boolean {
    if (part === 0 || this.#parts.length !== parts) this.#parts = Array.from({ length: parts }, () => []);
    this.#parts[part] = details;
    const all = this.#parts.flat();
    if (!isSame(Digest.of(all), digest)) return false;
    this.details = all;
    this.#known = digest;
    this.#parts = [];
    this.#beatsSincePull = PULL_AGAIN_BEATS;
    return true;
  }
}

function isSame(a: { high: number; low: number }, b: { high: number; low: number }): boolean {
  return a.high === b.high && a.low === b.low;
}

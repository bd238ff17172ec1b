/**
 * Where hardware addresses are: learned from the source of frames, by VLAN, forgotten when not heard of for some time
 * (IEEE 802.1Q, section 8.8). Bounded, and for each place apart, so that one guest that makes addresses up pushes out
 * its own alone.
 */
import type { Mac } from '../addresses.ts';

export interface Forwarding<P> {
  readonly mac: Mac;
  readonly vlan: number;
  place: P;
  heardMs: number;
}

export interface ForwardingLimits {
  /** Addresses at one place, and at all together. */
  readonly perPlace: number;
  readonly total: number;
  readonly ageMs: number;
}

export const FORWARDING_LIMITS: ForwardingLimits = { perPlace: 256, total: 4096, ageMs: 300_000 };
/** Entries that a new one looks at to find one that is too old. */
const SWEPT = 4;

export class ForwardingTable<P> {
  readonly #limits: ForwardingLimits;
  /** By VLAN; each in the order of learning. */
  readonly #vlans = new Map<number, Map<Mac, Forwarding<P>>>();
  readonly #counts = new Map<P, number>();
  #size = 0;
  #evicted = 0;
  #moved = 0;

  constructor(limits: ForwardingLimits = FORWARDING_LIMITS) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#size;
  }

  /** Entries that made room for others, and those whose place changed. */
  get evicted(): number {
    return this.#evicted;
  }

  get moved(): number {
    return this.#moved;
  }

  /** Where the address is; undefined when nobody knows, or knew too long ago. */
  find(mac: Mac, vlan: number, nowMs: number): P | undefined {
    const entry = this.#vlans.get(vlan)?.get(mac);
    if (entry === undefined) return undefined;
    if (nowMs - entry.heardMs <= this.#limits.ageMs) return entry.place;
    this.#drop(entry);
    return undefined;
  }

  /** When the address was heard of last. */
  heardMs(mac: Mac, vlan: number): number | undefined {
    return this.#vlans.get(vlan)?.get(mac)?.heardMs;
  }

  learn(mac: Mac, vlan: number, place: P, nowMs: number): void {
    const known = this.#vlans.get(vlan)?.get(mac);
    if (known?.place === place) {
      known.heardMs = nowMs;
      return;
    }
    if (known !== undefined) {
      this.#moved += 1;
      this.#drop(known);
    }
    this.#makeRoom(place, nowMs);
    let addresses = this.#vlans.get(vlan);
    if (addresses === undefined) {
      addresses = new Map();
      this.#vlans.set(vlan, addresses);
    }
    addresses.set(mac, { mac, vlan, place, heardMs: nowMs });
    this.#counts.set(place, (this.#counts.get(place) ?? 0) + 1);
    this.#size += 1;
  }

  forget(mac: Mac, vlan: number): void {
    const entry = this.#vlans.get(vlan)?.get(mac);
    if (entry !== undefined) this.#drop(entry);
  }

  /** Of a place that is gone. */
  forgetPlace(place: P): void {
    for (const entry of [...this.entries()]) if (entry.place === place) this.#drop(entry);
  }

  *entries(): Generator<Forwarding<P>> {
    for (const addresses of this.#vlans.values()) yield* addresses.values();
  }

  #makeRoom(place: P, nowMs: number): void {
    let looked = 0;
    for (const entry of this.entries()) {
      if (looked === SWEPT) break;
      looked += 1;
      if (nowMs - entry.heardMs > this.#limits.ageMs) this.#drop(entry);
    }
    if ((this.#counts.get(place) ?? 0) >= this.#limits.perPlace) this.#evict((entry) => entry.place === place);
    else if (this.#size >= this.#limits.total) this.#evict(() => true);
  }

  #evict(isCandidate: (entry: Forwarding<P>) => boolean): void {
    for (const entry of this.entries()) {
      if (!isCandidate(entry)) continue;
      this.#drop(entry);
      this.#evicted += 1;
      return;
    }
  }

  #drop(entry: Forwarding<P>): void {
    const addresses = this.#vlans.get(entry.vlan);
    addresses?.delete(entry.mac);
    if (addresses?.size === 0) this.#vlans.delete(entry.vlan);
    const count = (this.#counts.get(entry.place) ?? 1) - 1;
    if (count === 0) this.#counts.delete(entry.place);
    else this.#counts.set(entry.place, count);
    this.#size -= 1;
  }
}

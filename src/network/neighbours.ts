/**
 * Which hardware address a guest's IPv4 address has, learned from what guests send, and the packets that wait for
 * an answer to an ARP request. Both are bounded: the oldest entry goes first. Entries do not age; a guest that
 * changes its hardware address is learned anew from its first frame.
 */
import type { Ipv4, Mac } from './addresses.ts';

/** Frames kept for one unresolved address (RFC 1122, 2.3.2.2, asks for at least the latest one). */
const PENDING_FRAMES = 4;
const PENDING_ADDRESSES = 16;

export class Neighbours {
  readonly #limit: number;
  readonly #macs = new Map<Ipv4, Mac>();
  readonly #pending = new Map<Ipv4, Uint8Array[]>();
  #evicted = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Entries that had to make room for others. */
  get evicted(): number {
    return this.#evicted;
  }

  lookup(address: Ipv4): Mac | undefined {
    return this.#macs.get(address);
  }

  /** Records the address; returns the frames that waited for it, which the caller addresses and sends. */
  learn(address: Ipv4, mac: Mac): readonly Uint8Array[] {
    if (this.#macs.get(address) === mac) return [];
    if (!this.#macs.has(address) && this.#macs.size >= this.#limit) {
      for (const oldest of this.#macs.keys()) {
        this.#macs.delete(oldest);
        this.#evicted += 1;
        break;
      }
    }
    this.#macs.set(address, mac);
    const frames = this.#pending.get(address) ?? [];
    this.#pending.delete(address);
    return frames;
  }

  /** Keeps a frame (now owned by the table) for an unresolved address; false when an older one had to go. */
  keep(address: Ipv4, frame: Uint8Array): boolean {
    let frames = this.#pending.get(address);
    let dropped = false;
    if (frames === undefined) {
      if (this.#pending.size >= PENDING_ADDRESSES) {
        for (const oldest of this.#pending.keys()) {
          this.#pending.delete(oldest);
          dropped = true;
          break;
        }
      }
      frames = [];
      this.#pending.set(address, frames);
    }
    frames.push(frame);
    if (frames.length > PENDING_FRAMES) {
      frames.shift();
      dropped = true;
    }
    return !dropped;
  }

  save(): [Ipv4, Mac][] {
    return [...this.#macs];
  }

  /** Replaces the entries; packets that waited are forgotten. */
  restore(saved: readonly (readonly [Ipv4, Mac])[]): void {
    this.#macs.clear();
    this.#pending.clear();
    for (const [address, mac] of saved.slice(0, this.#limit)) this.#macs.set(address, mac);
  }
}

/**
 * The TCP connections by their four numbers. Keyed by the pair of ports, since a string or bigint key per segment
 * would cost more than the rest of the lookup; entries that share both ports are told apart by their addresses. The
 * last one found is tried first.
 */
// hot: one lookup per segment
import type { ConnectionTuple } from './tcp-output.ts';

export class ConnectionTable<T extends ConnectionTuple> {
  readonly #byPorts = new Map<number, T[]>();
  #last: T | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  find(guest: number, guestPort: number, remote: number, remotePort: number): T | undefined {
    const last = this.#last;
    if (last !== undefined && matches(last, guest, guestPort, remote, remotePort)) return last;
    const chain = this.#byPorts.get(guestPort * 65536 + remotePort);
    if (chain === undefined) return undefined;
    for (const entry of chain) {
      if (!matches(entry, guest, guestPort, remote, remotePort)) continue;
      this.#last = entry;
      return entry;
    }
    return undefined;
  }

  add(entry: T): void {
    const key = entry.guestPort * 65536 + entry.remotePort;
    const chain = this.#byPorts.get(key);
    if (chain === undefined) this.#byPorts.set(key, [entry]);
    else chain.push(entry);
    this.#size += 1;
  }

  /** Takes an entry out; nothing happens when it is not in. */
  remove(entry: T): void {
    const key = entry.guestPort * 65536 + entry.remotePort;
    const chain = this.#byPorts.get(key);
    const index = chain?.indexOf(entry) ?? -1;
    if (chain === undefined || index < 0) return;
    chain.splice(index, 1);
    if (chain.length === 0) this.#byPorts.delete(key);
    if (this.#last === entry) this.#last = undefined;
    this.#size -= 1;
  }

  *[Symbol.iterator](): Generator<T> {
    for (const chain of this.#byPorts.values()) yield* chain;
  }
}

function matches(t: ConnectionTuple, guest: number, guestPort: number, remote: number, remotePort: number): boolean {
  return t.guestPort === guestPort && t.remotePort === remotePort && t.remote === remote && t.guest === guest;
}

/**
 * Who are whose peers: hosts stand on a ring in the order of their names' hashes, and each has the nearest few on both
 * sides. So a host has as many peers in a cluster of a thousand as in one of ten, being peers is mutual, and a host that comes or goes
 * changes its neighbours' peers alone.
 */
import { hashOf } from './hash.ts';

export class Ring {
  readonly #hosts: readonly string[];

  constructor(hosts: Iterable<string>) {
    this.#hosts = [...hosts]
      .map((host) => ({ host, place: hashOf(host) }))
      .sort((a, b) => a.place - b.place || (a.host < b.host ? -1 : 1))
      .map(({ host }) => host);
  }

  /** The nearest first, one side and the other by turns; all others where there are not more. */
  peersOf(host: string, eachSide: number): string[] {
    const at = this.#hosts.indexOf(host);
    const count = this.#hosts.length;
    const peers = new Set<string>();
    for (let step = 1; at >= 0 && step <= eachSide && step < count; step += 1)
      for (const index of [at + step, at - step]) {
        const peer = this.#hosts[(index + count) % count];
        if (peer !== undefined && peer !== host) peers.add(peer);
      }
    return [...peers];
  }
}

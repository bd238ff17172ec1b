/**
 * What a master says of all its guests in eight bytes: the exclusive or of a hash for each guest's name, generation and
 * condition. A guest that changes costs two hashes, however many there are; two masters' digests are equal when what they
 * know of the guests is.
 */
import { hashOf } from './hash.ts';

/** In the order of the numbers in details. */
export const CONDITIONS = ['starting', 'well', 'application-failed', 'silent', 'gone'] as const;
export type Condition = (typeof CONDITIONS)[number];

export interface GuestDetail {
  readonly guest: string;
  readonly generation: number;
  readonly condition: Condition;
}

export class Digest {
  high = 0;
  low = 0;

  /** Adds one that is not in it, or takes one out that is. */
  toggle({ guest, generation, condition }: GuestDetail): void {
    const word = CONDITIONS.indexOf(condition) + CONDITIONS.length * generation;
    this.high = (this.high ^ hashOf(guest, word)) >>> 0;
    this.low = (this.low ^ hashOf(guest, ~word)) >>> 0;
  }

  static of(details: Iterable<GuestDetail>): Digest {
    const digest = new Digest();
    for (const one of details) digest.toggle(one);
    return digest;
  }
}

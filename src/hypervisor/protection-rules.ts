/**
 * What an operator took from a partition's domains, by guest-physical page: disjoint, sorted ranges, each with the denied
 * rights of all domains in one number, four bits a domain. They hold for whatever frame a page has, or gets later.
 */
import { OperatorError } from '../base/errors.ts';

/** Ranges at a time. */
export const MOST_RANGES = 256;
/** Domains of a partition: its programs, devices in slots, 64 functions of PCI Express. A multiple of 16. */
export const MOST_DOMAINS = 80;
/** Words of 64 bits that denied rights take. */
export const DENIED_WORDS = MOST_DOMAINS / 16;

/** Pages from `first` up to, not including, `end`. */
export interface PageRange {
  readonly first: number;
  readonly end: number;
}

export interface DeniedRange extends PageRange {
  /** Denied rights (bits of RIGHT) of domain n in bits 4n to 4n + 2. */
  readonly denied: bigint;
}

/** The bits of `rights` in the nibbles of these domains. */
export function nibbles(domains: readonly number[], rights: number): bigint {
  return domains.reduce((word, domain) => word | (BigInt(rights) << BigInt(4 * domain)), 0n);
}

/** Such a number from its words, the lowest first, and back. */
export function ofWords(words: Iterable<bigint>): bigint {
  let [all, shift] = [0n, 0n];
  for (const word of words) {
    all |= word << shift;
    shift += 64n;
  }
  return all;
}

export function toWords(denied: bigint): bigint[] {
  return Array.from({ length: DENIED_WORDS }, (_, i) => BigInt.asUintN(64, denied >> BigInt(64 * i)));
}

/** What is denied to one domain. */
export function deniedTo(denied: bigint, domain: number): number {
  return Number((denied >> BigInt(4 * domain)) & 7n);
}

/**
 * The ranges with `bits` denied as well (or no more) from `first` up to `end`. Throws OperatorError where they become too
 * many to keep.
 */
export function changed(
  ranges: readonly DeniedRange[],
  { first, end }: PageRange,
  bits: bigint,
  isAllowed: boolean,
): readonly DeniedRange[] {
  const borders = new Set([first, end]);
  for (const range of ranges) borders.add(range.first).add(range.end);
  const sorted = [...borders].sort((a, b) => a - b);
  const out: DeniedRange[] = [];
  let next = 0;
  for (let i = 0; i + 1 < sorted.length; i++) {
    const piece = { first: sorted[i] ?? 0, end: sorted[i + 1] ?? 0 };
    while ((ranges[next]?.end ?? Number.POSITIVE_INFINITY) <= piece.first) next++;
    const before = ranges[next];
    const had = before !== undefined && before.first <= piece.first ? before.denied : 0n;
    const isInside = piece.first >= first && piece.end <= end;
    const denied = isInside ? (isAllowed ? had & ~bits : had | bits) : had;
    const last = out.at(-1);
    if (denied === 0n) continue;
    if (last?.end === piece.first && last.denied === denied) out[out.length - 1] = { ...last, end: piece.end };
    else out.push({ ...piece, denied });
  }
  if (out.length > MOST_RANGES)
    throw new OperatorError(
      'too-many-rules',
      `more than ${MOST_RANGES} ranges with rules of their own are not possible`,
      'Take rights from larger ranges, or give some back with --allow',
    );
  return out;
}

/** Ranges of denied rights against a model of single pages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  changed,
  DENIED_WORDS,
  type DeniedRange,
  deniedTo,
  MOST_DOMAINS,
  nibbles,
  ofWords,
  toWords,
} from './protection-rules.ts';

/** A small seeded generator (xorshift32). */
function generator(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

test('ranges say of every page what single pages would say, are sorted, disjoint and as few as can be', () => {
  const PAGES = 40;
  for (let seed = 1; seed <= 200; seed++) {
    const below = generator(seed);
    const model = new Array<bigint>(PAGES).fill(0n);
    let ranges: readonly DeniedRange[] = [];
    for (let step = 0; step < 40; step++) {
      const first = below(PAGES);
      const end = first + 1 + below(PAGES - first);
      const bits = nibbles([below(MOST_DOMAINS), below(4)], 1 + below(7));
      const isAllowed = below(2) === 0;
      ranges = changed(ranges, { first, end }, bits, isAllowed);
      for (let page = first; page < end; page++)
        model[page] = isAllowed ? (model[page] ?? 0n) & ~bits : (model[page] ?? 0n) | bits;
      const said = model.map(
        (_, page) => ranges.find((range) => range.first <= page && page < range.end)?.denied ?? 0n,
      );
      assert.deepEqual(said, model, `seed ${seed}, step ${step}`);
      ranges.forEach((range, i) => {
        const next = ranges[i + 1];
        assert.ok(range.first < range.end && range.denied !== 0n);
        assert.ok(
          next === undefined || range.end < next.first || (range.end === next.first && range.denied !== next.denied),
        );
      });
    }
  }
});

test('a domain has its own nibble', () => {
  const word = nibbles([0, 15], 5) | nibbles([3], 2);
  assert.deepEqual(
    [0, 1, 3, 15].map((domain) => deniedTo(word, domain)),
    [5, 0, 2, 5],
  );
});

test('denied rights of all domains are so many words, and come back from them', () => {
  const below = generator(5);
  for (let i = 0; i < 200; i++) {
    const domain = below(MOST_DOMAINS);
    const rights = 1 + below(7);
    const denied = nibbles([domain, (domain + 1 + below(MOST_DOMAINS - 1)) % MOST_DOMAINS], rights);
    const words = toWords(denied);
    assert.equal(words.length, DENIED_WORDS);
    assert.equal(ofWords(words), denied);
    assert.equal(deniedTo(ofWords(words), domain), rights);
  }
});

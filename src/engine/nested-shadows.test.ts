/**
 * Combined shadows against a machine that walks both stages every time (nested-shadows.testing.ts). For as long as one
 * likes: `node test/long/shadows.ts --nested`.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { NESTED_TRIAL } from './nested-layout.testing.ts';
import { NestedShadowTrial } from './nested-shadows.testing.ts';
import { Random } from './random.testing.ts';
import { shadowStats } from './shadows.ts';
import { oneHart } from './trial-harts.testing.ts';

const PROGRAMS = 3;
const STEPS = 1000;

describe('random tables of both stages, fences of both levels, roots, VMIDs: what is used is what is permitted', () => {
  for (const combined of ['on', 'off'] as const)
    for (const asidBits of [0, 16])
      for (const count of [1, 3, 16])
        test(`combined shadows ${combined}, ASIDs of ${asidBits} bits, ${count} shadows`, () => {
          let [uses, stale, hits] = [0, 0, 0];
          const outcomes = new Set<string>();
          for (let seed = 0; seed < PROGRAMS; seed++) {
            const width = seed === 0 ? 64 : 32;
            const model = seed === 1 ? 'tracked' : 'fence';
            const options = { model, asidBits, count, width, combined } as const;
            const trial = new NestedShadowTrial(
              new Random(seed * 1000 + count),
              oneHart(options, NESTED_TRIAL),
              options,
            );
            assert.equal(trial.run(STEPS), undefined, `seed ${seed}`);
            const stats = shadowStats(must(trial.harts.states[0]));
            assert.equal(stats.entriesWrittenByHits, 0);
            uses += trial.uses;
            stale += trial.stale;
            hits += stats.hits;
            for (const outcome of trial.outcomes.keys()) outcomes.add(outcome);
          }
          // It would show nothing if nothing were ever kept, or reached.
          for (const one of ['guest-page fault', 'page', 'page fault']) assert.ok(outcomes.has(one), one);
          assert.ok(uses > PROGRAMS * STEPS * 0.3 && hits > 0, `${uses} uses, ${hits} hits`);
          if (combined === 'on') assert.ok(stale > 0, 'something was kept');
        });
});

/**
 * Shadows against a machine that walks every time (shadows.testing.ts), in both models, with one shadow and many, with
 * and without ASIDs. For as long as one likes: `node test/long/shadows.ts`.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { Random } from './random.testing.ts';
import { ShadowTrial } from './shadows.testing.ts';
import { shadowStats } from './shadows.ts';
import { oneHart } from './trial-harts.testing.ts';

const PROGRAMS = 6;
const STEPS = 1200;

describe('random page tables, fences and roots: what is used is what the architecture permits', () => {
  for (const model of ['fence', 'tracked'] as const)
    for (const asidBits of [0, 16])
      for (const count of [1, 3, 16])
        test(`${model}, ASIDs of ${asidBits} bits, ${count} shadows`, () => {
          let [uses, stale, hits] = [0, 0, 0];
          for (let seed = 0; seed < PROGRAMS; seed++) {
            const width = seed === 0 ? 64 : 32;
            const options = { model, asidBits, count, width } as const;
            const trial = new ShadowTrial(new Random(seed * 1000 + count), oneHart(options), options);
            const wrong = trial.run(STEPS);
            assert.equal(wrong, undefined, `seed ${seed}`);
            const stats = shadowStats(must(trial.harts.states[0]));
            assert.equal(stats.entriesWrittenByHits, 0);
            uses += trial.uses;
            stale += trial.stale;
            hits += stats.hits;
          }
          // It would show nothing if nothing were ever kept.
          assert.ok(uses > PROGRAMS * STEPS * 0.3 && hits > 0, `${uses} uses, ${hits} hits`);
          if (model === 'fence') assert.ok(stale > 0, 'something was kept');
        });
});

/**
 * Shadows of several harts over one memory against a machine that walks every time (engine/shadows.testing.ts): each
 * writes page tables that all walk, and has itself and others fence. For as long as one likes: `node test/long/shadows.ts`.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Random } from '../engine/random.testing.ts';
import { ShadowTrial } from '../engine/shadows.testing.ts';
import { runTrials, severalHarts } from './shadow-harts.testing.ts';

const PROGRAMS = 4;
const STEPS = 1500;

describe('random page tables, fences, remote ones and roots on several harts: what is used is what is permitted', () => {
  for (const model of ['fence', 'tracked'] as const)
    for (const asidBits of [0, 16])
      for (const [harts, count, threads] of [
        [2, 1, 'each'],
        [2, 16, 'each'],
        [3, 3, 'one'],
        [4, 16, 'each'],
      ] as const)
        test(`${model}, ${harts} harts, ASIDs of ${asidBits} bits, ${count} shadows`, () => {
          const stale = runTrials({ programs: PROGRAMS, steps: STEPS, count }, (seed) => {
            const options = { model, asidBits, count, harts, threads, width: seed === 0 ? 64 : 32 } as const;
            return new ShadowTrial(new Random(seed * 1000 + count), severalHarts(options), options);
          });
          if (model === 'fence') assert.ok(stale > 0, 'something was kept');
        });
});

/**
 * Combined shadows of several harts over one memory against a machine that walks both stages every time
 * (engine/nested-shadows.testing.ts): guests on each, tables that all walk, fences that harts ask each other for. For as long as
 * one likes: `node test/long/shadows.ts --nested`.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NESTED_TRIAL } from '../engine/nested-layout.testing.ts';
import { NestedShadowTrial } from '../engine/nested-shadows.testing.ts';
import { Random } from '../engine/random.testing.ts';
import { runTrials, severalHarts } from './shadow-harts.testing.ts';

const PROGRAMS = 2;
const STEPS = 1500;

describe('random tables of both stages, fences of both levels, remote ones, on several harts: only what is permitted', () => {
  for (const [harts, count, threads] of [
    [2, 1, 'each'],
    [2, 16, 'each'],
    [3, 3, 'one'],
    [4, 16, 'each'],
  ] as const)
    test(`${harts} harts, ${count} shadows`, () => {
      const stale = runTrials({ programs: PROGRAMS, steps: STEPS, count }, (seed) => {
        const model = seed % 2 === 0 ? 'fence' : 'tracked';
        const options = { ...NESTED_TRIAL, model, asidBits: 16, count, harts, threads } as const;
        return new NestedShadowTrial(new Random(seed * 1000 + count), severalHarts(options), options);
      });
      assert.ok(stale > 0, 'something was kept');
    });
});

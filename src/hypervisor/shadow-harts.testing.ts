/** Several harts, in turns, for the trial of shadows (engine/shadows.testing.ts): the machine's own runner and SBI. */
import assert from 'node:assert/strict';
import { must } from '../base/assert.ts';
import { type ShadowOptions, shadowStats } from '../engine/index.ts';
import { type ShadowHarts, TRIAL, type TrialMachine } from '../engine/trial-harts.testing.ts';
import { Harts } from './harts.testing.ts';
import { EVERYTHING } from './vcpu.ts';

export interface SeveralHartsOptions extends ShadowOptions, Partial<TrialMachine> {
  readonly harts: number;
  readonly width?: 32 | 64;
  readonly threads?: 'one' | 'each';
}

export function severalHarts(options: SeveralHartsOptions): ShadowHarts {
  const { harts, width = 32, threads = 'each', extensions, ramBase, ramBytes, ...shadows } = { ...TRIAL, ...options };
  const machine = { extensions, ramBase, ramBytes, harts, threads, width };
  const all = new Harts({ ...machine, shadows, codeBytes: 1 << 20, translate: undefined });
  return {
    states: all.vcpus.map(({ state }) => state),
    memory: all.memory,
    map: all.map,
    run: (hart, steps, goesOn) => all.run(hart, steps, { lines: 0n, goesOn: goesOn && all.mayGoOn(hart) }),
    changed: (hart) => all.changed(hart),
    write: (gpa, bytes) => all.write(gpa, bytes),
    requestFence: (hart) => {
      for (const fence of EVERYTHING) must(all.vcpus[hart]).requestFence(fence);
    },
  };
}

/** What trials of shadows, and of combined ones, have in common. */
interface Trial {
  readonly harts: ShadowHarts;
  readonly uses: number;
  readonly stale: number;
  readonly remote: number;
  run(steps: number): string | undefined;
}

/** Runs a trial for each seed, and holds it to what all must show. Returns how many uses of what was kept were stale. */
export function runTrials(
  { programs, steps, count }: { readonly programs: number; readonly steps: number; readonly count: number },
  make: (seed: number) => Trial,
): number {
  const trials = Array.from({ length: programs }, (_, seed) => {
    const trial = make(seed);
    assert.equal(trial.run(steps), undefined, `seed ${seed}`);
    for (const state of trial.harts.states) {
      const stats = shadowStats(state);
      assert.equal(stats.entriesWrittenByHits, 0);
      assert.ok((stats.hits > 0 || count === 1) && stats.fences.remote > 0, JSON.stringify(stats));
    }
    return { uses: trial.uses, stale: trial.stale, remote: trial.remote };
  });
  const sum = (what: 'uses' | 'stale' | 'remote'): number => trials.reduce((all, one) => all + one[what], 0);
  // It would show nothing if nothing were ever kept, or no hart ever asked another.
  const said = `${sum('uses')} uses, ${sum('remote')} remote fences`;
  assert.ok(sum('uses') > programs * steps * 0.3 && sum('remote') > programs * 10, said);
  return sum('stale');
}

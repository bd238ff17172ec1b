/** Several harts, in turns, for the trial of shadows (engine/shadows.testing.ts): the machine's own runner and SBI. */
import { must } from '../base/assert.ts';
import type { ShadowOptions } from '../engine/index.ts';
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

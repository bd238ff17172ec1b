/** Measures what a second level costs: both levels in one session and a first level alone, side by side, run by run. */
import type { GuestImage } from '../src/host/images/index.ts';
import { allWorkloads, selectWorkloads } from './classes.ts';
import { type MeasureOptions, measure, type Sample, type Side } from './measure.ts';
import { levelsGuest, singleGuest } from './nested-guest.ts';
import { type NestedSide, nestedFigures, type SideFigures } from './nested-report.ts';

const LIMIT_MS = 900_000;
/** The levels take turns, and of each the quickest counts: a host's speed moves within seconds by more than the levels differ. */
const TURNS = 3;

/** How each side runs its machine. */
export const nestedSides: Readonly<
  Record<NestedSide, { readonly side: Side; readonly options: Partial<MeasureOptions> }>
> = {
  qemu: { side: 'qemu', options: {} },
  ours: { side: 'ours', options: { nested: true } },
  walks: { side: 'ours', options: { nested: true, combinedShadows: false } },
};

export interface NestedRuns {
  readonly runs: number;
  /** Of the programs' full size, and of the exits'. */
  readonly permille: number;
  readonly exitsPermille: number;
  /** Classes and workloads for both levels, as `--only` names them. */
  readonly only: string;
  readonly sides: readonly NestedSide[];
  say(line: string): void;
}

/** The sides in turn, so that what else the host does falls on all of them. */
export async function measureNested(image: GuestImage, given: NestedRuns): Promise<Map<NestedSide, SideFigures>> {
  const { say } = given;
  const all = await allWorkloads();
  const work = { all, wanted: selectWorkloads(all, given.only), permille: given.permille };
  const levels = await levelsGuest(image, { ...work, exitsPermille: given.exitsPermille, turns: TURNS });
  const single = await singleGuest(image);
  const samples = new Map<NestedSide, Sample[]>();
  for (let run = 1; run <= given.runs; run += 1) {
    for (const name of given.sides) {
      say(`nested, run ${run} of ${given.runs}: ${name}`);
      const { side, options } = nestedSides[name];
      for (const guest of [single, levels]) {
        const session = await measure(side, guest, { limitMs: LIMIT_MS, ...options, onSample: tell });
        samples.set(name, [...(samples.get(name) ?? []), ...session.samples]);
      }
    }
  }
  return new Map([...samples].map(([name, list]) => [name, nestedFigures(list)]));

  function tell({ workload, iterations, seconds, cpuSeconds }: Sample): void {
    say(`  ${workload} ${seconds.toFixed(3)} s (${iterations} units, ${cpuSeconds.toFixed(3)} s of processor time)`);
  }
}

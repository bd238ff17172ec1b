/**
 * What shadow tables are worth where processes change: `node bench/shadows.ts [--runs 3] [--permille 300] [--check]`.
 * Debian's kernel runs ping-pong, a ring of 24 processes, a pipeline, fork and exec with one shadow and many, ASIDs of 16
 * bits and none, both models. Prints processor time, walks and all misses of the translation buffers (those that a table
 * answers, too) for each unit of work (the median of the runs, least and most); with --check ends with 1 where one of these does not hold:
 *
 *   ping-pong, ring, pipeline without ASIDs   write-tracked has at most half of the walks of fence-driven
 *   the same with ASIDs                       32 shadows have at most half of the walks of one
 *   ping-pong, pipeline without ASIDs         and of the misses of buffers (ring's 24 processes have more pages in the
 *                                             kernel than a buffer has places, whatever is kept): at most 0.6 and 0.8
 */
import { parseArgs } from 'node:util';
import { must } from '../src/base/assert.ts';
import { pullDebianImage } from '../src/host/images/index.ts';
import { allWorkloads, selectWorkloads } from './classes.ts';
import { benchGuest, benchInitrd, provideTools } from './guest.ts';
import { type MeasureOptions, measure, type Sample } from './measure.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '3' },
    permille: { type: 'string', default: '300' },
    only: { type: 'string', default: 'ping-pong,ring,pipeline,fork,exec' },
    check: { type: 'boolean' },
  },
});
type Way = Pick<MeasureOptions, 'shadows' | 'asidBits' | 'shadowModel'>;
const WAYS = {
  '32 shadows, ASIDs': {},
  '1 shadow, ASIDs': { shadows: 1 },
  '32 shadows, no ASIDs': { asidBits: 0 },
  '1 shadow, no ASIDs': { asidBits: 0, shadows: 1 },
  'tracked, ASIDs': { shadowModel: 'tracked' },
  'tracked, no ASIDs': { asidBits: 0, shadowModel: 'tracked' },
  'tracked, 1 shadow, no ASIDs': { asidBits: 0, shadows: 1, shadowModel: 'tracked' },
} as const satisfies Record<string, Way>;
type WayName = keyof typeof WAYS;

const say = (line: string): void => void process.stderr.write(`${line}\n`);
await provideTools(say);
const image = await pullDebianImage({ progress: ({ step }) => say(step) });
const all = await allWorkloads();
const wanted = selectWorkloads(all, values.only);
const files = { kernel: image.kernel, initrd: await benchInitrd() };
const guest = benchGuest(files, { all, wanted, permille: Number(values.permille) });

const samples = new Map<string, Sample[]>();
for (let run = 0; run < Number(values.runs); run++)
  for (const [name, way] of Object.entries(WAYS)) {
    say(`run ${run + 1}: ${name}`);
    for (const sample of (await measure('ours', guest, { limitMs: 300_000, ...way })).samples) {
      const key = `${sample.workload} ${name}`;
      samples.set(key, [...(samples.get(key) ?? []), sample]);
    }
  }

const middle = (list: readonly number[]): number => must(list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]);
const of = (workload: string, name: WayName, value: (sample: Sample) => number): readonly number[] =>
  must(samples.get(`${workload} ${name}`)).map((sample) => value(sample) / sample.iterations);
const refills = (sample: Sample): number => must(sample.refills);
const walks = (sample: Sample): number => must(sample.walks);

for (const workload of wanted) {
  console.log(workload);
  for (const name of Object.keys(WAYS) as WayName[]) {
    const times = of(workload, name, ({ cpuSeconds }) => cpuSeconds * 1e6);
    const [misses, walked] = [of(workload, name, refills), of(workload, name, walks)];
    const span = `${Math.min(...times).toFixed(1)} to ${Math.max(...times).toFixed(1)}`;
    const time = `${middle(times).toFixed(1).padStart(9)} us (${span})`;
    console.log(
      `  ${name.padEnd(30)} ${time.padEnd(34)} ${middle(walked).toFixed(1).padStart(8)} walks ${middle(misses).toFixed(1).padStart(9)} refills`,
    );
  }
}

let failed = 0;
interface Bound {
  readonly what: 'walks' | 'refills';
  readonly most: number;
}
const HALF_OF_WALKS: Bound = { what: 'walks', most: 0.5 };

function bound(workload: string, less: WayName, more: WayName, { what, most }: Bound = HALF_OF_WALKS): void {
  if (!wanted.includes(workload)) return;
  const value = what === 'walks' ? walks : refills;
  const share = middle(of(workload, less, value)) / middle(of(workload, more, value));
  const verdict = share <= most ? 'holds' : 'BROKEN';
  console.log(`${verdict}: ${workload}: ${less} has ${share.toFixed(3)} of the ${what} of ${more} (at most ${most})`);
  if (share > most) failed = 1;
}
for (const name of ['ping-pong', 'ring', 'pipeline']) {
  bound(`system/${name}`, 'tracked, no ASIDs', '32 shadows, no ASIDs');
  bound(`system/${name}`, '32 shadows, ASIDs', '1 shadow, ASIDs');
}
bound('system/ping-pong', 'tracked, no ASIDs', '32 shadows, no ASIDs', { what: 'refills', most: 0.6 });
bound('system/pipeline', 'tracked, no ASIDs', '32 shadows, no ASIDs', { what: 'refills', most: 0.8 });
process.exitCode = values.check ? failed : 0;

/**
 * What protection tables cost: `node bench/protection.ts [--runs 5] [--only WORD,...] [--full] [--check]`. Machines with
 * and without them take turns, over the bench programs (memory and system by default) and the way to the shell; then
 * medians, their ratio, and the distributions. `--check` ends with 1 where the geometric mean of the ratios, or that of
 * the boot, is above its bound. Times are what the machine's process had of the processors meanwhile, preparation and
 * translation included: the sturdier figure on a busy host.
 */
import { parseArgs } from 'node:util';
import { pullDebianImage } from '../src/host/images/index.ts';
import { allWorkloads, selectWorkloads } from './classes.ts';
import { benchGuest, benchInitrd, bootGuest, type Guest, provideTools } from './guest.ts';
import { measure } from './measure.ts';

const { values } = parseArgs({
  options: {
    ...{ runs: { type: 'string', default: '5' }, only: { type: 'string', default: 'memory,system,boot' } },
    ...{ full: { type: 'boolean', default: false }, check: { type: 'boolean', default: false } },
  },
});
/** Of one workload the host's load may be more than this; of all of them together it is not, with some runs. */
const BOUNDS = { all: 1.1, boot: 1.1 };
const SIDES = ['on', 'off'] as const;

const say = (line: string): void => void process.stderr.write(`${line}\n`);
await provideTools(say);
const image = await pullDebianImage();
const all = await allWorkloads();
const wanted = selectWorkloads(all, values.only);
const ofPrograms = wanted.filter((workload) => workload !== 'boot/shell');
const guests: Guest[] = [];
if (ofPrograms.length > 0) {
  const files = { kernel: image.kernel, initrd: await benchInitrd() };
  guests.push(benchGuest(files, { all, wanted: ofPrograms, permille: values.full ? 1000 : 200 }));
}
if (wanted.includes('boot/shell')) guests.push(bootGuest(image));

const seconds = new Map<string, Record<(typeof SIDES)[number], number[]>>();
const record = (workload: string, side: (typeof SIDES)[number], value: number): void => {
  const sides = seconds.get(workload) ?? { on: [], off: [] };
  sides[side].push(value);
  seconds.set(workload, sides);
};
for (let run = 1; run <= Number(values.runs); run++)
  // Who begins changes from run to run.
  for (const side of run % 2 === 0 ? SIDES : SIDES.toReversed()) {
    say(`run ${run} of ${values.runs}, protection ${side}`);
    for (const guest of guests) {
      const { samples } = await measure('ours', guest, { limitMs: 1_800_000, protection: side === 'on' });
      for (const sample of samples) {
        record(sample.workload, side, sample.cpuSeconds);
      }
    }
  }

const sorted = (list: readonly number[]): number[] => [...list].sort((a, b) => a - b);
const median = (list: readonly number[]): number => sorted(list)[Math.floor(list.length / 2)] ?? Number.NaN;
const ms = (list: readonly number[]): string => list.map((value) => (value * 1000).toFixed(0)).join(' ');
const ratios = new Map<string, number>();
process.stdout.write(
  `${'workload'.padEnd(26)} ${'on, ms'.padStart(9)} ${'off, ms'.padStart(9)}  on/off  all, sorted: on | off\n`,
);
for (const [workload, { on, off }] of seconds) {
  const ratio = median(on) / median(off);
  ratios.set(workload, ratio);
  const medians = [median(on), median(off)].map((value) => (value * 1000).toFixed(1).padStart(9)).join(' ');
  process.stdout.write(
    `${workload.padEnd(26)} ${medians}  ${ratio.toFixed(3)}   ${ms(sorted(on))} | ${ms(sorted(off))}\n`,
  );
}
const mean = (list: readonly number[]): number =>
  Math.exp(list.reduce((sum, ratio) => sum + Math.log(ratio), 0) / list.length);
const programs = [...ratios].filter(([workload]) => !workload.startsWith('boot')).map(([, ratio]) => ratio);
const boot = ratios.get('boot/shell');
if (programs.length > 0) process.stdout.write(`geometric mean of the programs: ${mean(programs).toFixed(3)}\n`);
if (values.check && (mean([1, ...programs]) > BOUNDS.all || (boot ?? 0) > BOUNDS.boot)) {
  say(`bench: protection costs more than ${BOUNDS.all} in all, or ${BOUNDS.boot} of the boot`);
  process.exitCode = 1;
}

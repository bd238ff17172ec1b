/**
 * Isolation for as long as one likes: generated programs in every mode beside secrets that must make no difference,
 * interpreted and translated, with memory32 and memory64; those of two partitions in turns on one processor; and hostile
 * drivers of a board's devices beside canaries:
 *
 *   node test/long/isolation.ts [--minutes 5] [--seed N]
 *
 * The first failure is printed with its seed, and ends the run with status 1: `--seed THAT --minutes 0` shows it again.
 */
import { parseArgs } from 'node:util';
import { Isolation } from '../../src/engine/isolation.testing.ts';
import { Neighbours } from '../../src/engine/neighbours.testing.ts';
import { createDecoder, DEFAULT_EXTENSIONS } from '../../src/isa/index.ts';
import { HostileDriver } from '../../src/machine/hostile-driver.testing.ts';
import { translating } from '../../src/translator/translation.testing.ts';

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '5' }, seed: { type: 'string', default: '1' } },
});
const end = Date.now() + Number(values.minutes) * 60_000;
const translate = translating({ followsCold: true })({ decoder: createDecoder(DEFAULT_EXTENSIONS) });
const programs = [new Isolation(32), new Isolation(64), new Isolation(32, translate), new Isolation(64, translate)];
const neighbours = [
  new Neighbours(32),
  new Neighbours(64),
  new Neighbours(32, translate),
  new Neighbours(64, translate),
];
const driver = new HostileDriver();
let seed = Number(values.seed);
let steps = 0;
try {
  do {
    for (const isolation of programs) {
      isolation.run(seed);
      steps += isolation.step(seed);
    }
    for (const pair of neighbours) pair.run(seed);
    driver.run(seed);
    seed++;
  } while (Date.now() < end);
} catch (error) {
  process.stdout.write(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 1;
}
const kinds = programs.flatMap(({ violations }) => Object.entries(violations));
const sums = new Map<string, number>();
for (const [kind, count] of kinds) sums.set(kind, (sums.get(kind) ?? 0) + count);
const forbidden = [...sums].map(([kind, count]) => `${count} of ${kind}`).join(', ');
process.stdout.write(
  `seeds ${values.seed} to ${seed - 1}: forbidden accesses of programs ${forbidden}; ${steps} single steps; ` +
    `of partitions to each other's frames ${neighbours.reduce((sum, { violations }) => sum + violations, 0)}; ` +
    `of devices ${driver.refused}, ${driver.used} buffers used\n`,
);

/**
 * Several harts on random programs against the reference machine, turn by turn, for as long as one likes:
 *
 *   node test/long/interleaving.ts [--minutes 5] [--seed N] [--harts 2] [--threads each|one] [--width 32|64]
 *                                  [--cpu rv64] [--translate 1] [--code-bytes 4194304]
 *
 * Each program has a seed of its own, counted up from N. Without --harts, their number and the threads go round with
 * the seeds. The first difference is printed with its seed, and ends the run with status 1. What an engine keeps from
 * program to program counts: start a few seeds earlier to see it again.
 */
import { parseArgs } from 'node:util';
import { Interleaving } from '../../src/hypervisor/interleaving.testing.ts';
import { translating } from '../../src/translator/translation.testing.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    harts: { type: 'string' },
    threads: { type: 'string' },
    width: { type: 'string', default: '32' },
    cpu: { type: 'string', default: 'rv64' },
    translate: { type: 'string', default: '1' },
    'code-bytes': { type: 'string', default: String(4 << 20) },
  },
});
const harts = values.harts === undefined ? [2, 3, 4] : [Number(values.harts)];
const threads =
  values.threads === undefined ? (['each', 'one'] as const) : ([values.threads === 'one' ? 'one' : 'each'] as const);
const machines = harts.flatMap((count) =>
  threads.map((kind) => ({
    name: `${count} harts, ${kind === 'one' ? 'one thread' : 'a thread each'}`,
    interleaving: new Interleaving({
      ...{ harts: count, threads: kind, width: values.width === '64' ? 64 : 32, cpu: values.cpu },
      codeBytes: Number(values['code-bytes']),
      ...(values.translate === '0' ? {} : { translate: translating({ threshold: Number(values.translate) }) }),
    }),
  })),
);
const end = Date.now() + Number(values.minutes) * 60_000;
const first = Number(values.seed);
let seed = first;
do {
  for (const { name, interleaving } of machines) {
    const difference = interleaving.run(seed++);
    if (difference === undefined) continue;
    console.error(`${name}: ${difference}`);
    process.exitCode = 1;
  }
} while (process.exitCode !== 1 && Date.now() < end);
console.log(`seeds ${first} to ${seed - 1}`);
for (const { name, interleaving } of machines)
  console.log(`${name}: ${JSON.stringify(interleaving.progress)}, ${interleaving.regionsMade} regions`);

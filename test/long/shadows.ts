/**
 * Shadow tables against a machine that walks every time, for as long as one likes:
 *
 *   node test/long/shadows.ts [--minutes 5] [--seed N] [--harts 1] [--nested]
 *
 * Random programs of page tables, fences and roots (src/engine/shadows.testing.ts), by turns on 1 to 4 harts, in both
 * models, with 1 to 16 shadows, ASIDs of 0, 2 and 16 bits, memory32 and memory64; `--nested`: of a hypervisor and its guests,
 * through both stages (src/engine/nested-shadows.testing.ts). The first use that the architecture does not permit is
 * printed with what led to it, and ends the run with status 1: `--seed THAT --minutes 0` shows it again.
 */
import { parseArgs } from 'node:util';
import { NESTED_TRIAL } from '../../src/engine/nested-layout.testing.ts';
import { NestedShadowTrial } from '../../src/engine/nested-shadows.testing.ts';
import { Random } from '../../src/engine/random.testing.ts';
import { ShadowTrial } from '../../src/engine/shadows.testing.ts';
import { oneHart, TRIAL } from '../../src/engine/trial-harts.testing.ts';
import { severalHarts } from '../../src/hypervisor/shadow-harts.testing.ts';

const STEPS = 3000;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    harts: { type: 'string' },
    nested: { type: 'boolean', default: false },
  },
});
const end = Date.now() + Number(values.minutes) * 60_000;
let seed = Number(values.seed);
let [uses, stale] = [0, 0];
do {
  const random = new Random(seed);
  const harts = values.harts === undefined ? random.pick([1, 2, 3, 4]) : Number(values.harts);
  const options = {
    model: random.pick(['fence', 'tracked'] as const),
    asidBits: random.pick([0, 2, 16]),
    count: random.pick([1, 2, 4, 16]),
    width: random.pick([32, 64] as const),
  };
  const threads = random.pick(['one', 'each'] as const);
  const machine = values.nested ? NESTED_TRIAL : TRIAL;
  const place = harts === 1 ? oneHart(options, machine) : severalHarts({ ...options, ...machine, harts, threads });
  const trial = new (values.nested ? NestedShadowTrial : ShadowTrial)(random, place, options);
  const wrong = trial.run(STEPS);
  uses += trial.uses;
  stale += trial.stale;
  if (wrong !== undefined) {
    process.stdout.write(`seed ${seed}: ${wrong}\n`);
    process.exitCode = 1;
    break;
  }
  seed++;
} while (Date.now() < end);
process.stdout.write(`seeds ${values.seed} to ${seed - 1}: ${uses} uses, ${stale} of what a walk no longer finds\n`);

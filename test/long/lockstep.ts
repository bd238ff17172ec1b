/**
 * The engine against the reference machine on random programs, for as long as one likes:
 *
 *   node test/long/lockstep.ts [--minutes 5] [--seed N] [--width 32|64] [--cpu rv64] [--translate 1] [--elsewhere]
 *                              [--promotion always]
 *
 * `--elsewhere`: translated on another thread, whenever that comes to it.
 * Each program has a seed of its own, counted up from N. The first difference is printed with its seed, and ends the
 * run with status 1: `--seed THAT --minutes 0` shows it again.
 */
import { parseArgs } from 'node:util';
import { Lockstep } from '../../src/engine/lockstep.testing.ts';
import { translatingElsewhere } from '../../src/translator/elsewhere.testing.ts';
import type { PromotionMode } from '../../src/translator/index.ts';
import { translating } from '../../src/translator/translation.testing.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    width: { type: 'string', default: '32' },
    cpu: { type: 'string', default: 'rv64' },
    translate: { type: 'string', default: '1' },
    promotion: { type: 'string', default: 'always' },
    elsewhere: { type: 'boolean', default: false },
  },
});
const { cpu } = values;
const options = { threshold: Number(values.translate), promotion: values.promotion as PromotionMode };
const elsewhere = translatingElsewhere({ cpu, seed: Number(values.seed), options });
const translate = values.elsewhere ? elsewhere.translate : translating(options);
const lockstep = new Lockstep({
  width: values.width === '64' ? 64 : 32,
  cpu,
  ...(values.translate === '0' ? {} : { translate }),
});
const end = Date.now() + Number(values.minutes) * 60_000;
let seed = Number(values.seed);
let difference: string | undefined;
do {
  difference = lockstep.run(seed++);
} while (difference === undefined && Date.now() < end);
await elsewhere.end();
const { steps, programs, givenUp, traps, rows } = lockstep.progress;
console.log(`${programs} programs, ${steps} steps, ${traps} traps, ${rows.size} rows, ${givenUp} programs given up`);
if (difference !== undefined) {
  console.error(difference);
  process.exitCode = 1;
}

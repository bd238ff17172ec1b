/**
 * The cluster's logic in the simulator, for as many seeds as one likes:
 *
 *   node test/long/cluster.ts [--seeds 10000] [--from 1] [--rule NAME] [--hosts N] [--guests-per-host N] [--trace] [--keep-going]
 *
 * Each seed is a cluster of its own, with its faults; invariants are checked after every event. A seed that fails is printed,
 * and ends the run with status 1: `--from THAT --seeds 1 --trace` shows it again, event by event. With `--rule` one of the rules
 * that keep guests safe is broken, and the run shows how many seeds notice; it fails when none does.
 */
import { parseArgs } from 'node:util';
import { RULES, type Rule } from '../../src/cluster/simulator/rules.ts';
import { runScenario } from '../../src/cluster/simulator/scenario.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10000' },
    from: { type: 'string', default: '1' },
    rule: { type: 'string' },
    hosts: { type: 'string' },
    'guests-per-host': { type: 'string' },
    trace: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
  },
});
if (values.rule !== undefined && !(values.rule in RULES)) {
  process.stderr.write(`no rule ${values.rule}; there are ${Object.keys(RULES).join(', ')}\n`);
  process.exit(2);
}
const broken = values.rule as Rule | undefined;
const [from, seeds] = [Number(values.from), Number(values.seeds)];
const number = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));
const options = { broken, hosts: number(values.hosts), guestsPerHost: number(values['guests-per-host']) };
const began = performance.now();
const sums = { hosts: 0, guests: 0, events: 0, takeovers: 0, lateBatches: 0 };
const failed: string[] = [];
for (let seed = from; seed < from + seeds; seed++) {
  const result = runScenario(seed, { ...options, ...(values.trace ? { trace: say } : {}) });
  for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += result[key];
  if (result.violation === undefined) continue;
  failed.push(`seed ${seed}: ${result.violation}`);
  process.stdout.write(`seed ${seed} (${result.hosts} hosts, ${result.guests} guests): ${result.violation}\n`);
  if (broken === undefined && !values['keep-going']) break;
}
const seconds = (performance.now() - began) / 1000;
process.stdout.write(
  `${seeds} seeds from ${from}${broken === undefined ? '' : `, broken: ${RULES[broken].what}`}: ${failed.length} failed; ` +
    `${sums.hosts} hosts, ${sums.guests} guests, ${sums.takeovers} changes of owner, ` +
    `${sums.lateBatches} batches that left late, ${sums.events} events in ${seconds.toFixed(1)} s\n`,
);
process.exitCode = (broken === undefined) === (failed.length === 0) ? 0 : 1;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/**
 * `node bench/overlay.ts`: what code overlays are worth. Loops around an instruction that the hart is configured
 * without, and that the hypervisor emulates: by an overlay's substitute, and by trap; translated and interpreted;
 * beside that the same loops with the instruction trapped by policy, and on a hart that has it. The first round of each
 * machine makes overlays and code hot, and is not counted. Ends with 1 where overlays are not worth five times, by the
 * medians and by the least times alike: what others do on the host makes long rounds longer, and short ones not.
 */
import { parseArgs } from 'node:util';
import { assert, must } from '../src/base/assert.ts';
import type { MachineOptions } from '../src/host/machine/index.ts';
import { emulating, type LoopRun, loops, runLoops } from './overlay-loops.ts';
import { median } from './results.ts';

/** Where nothing leaves the engine a round is so much longer, for the clock's sake. */
const LONGER = 50;
/** How many times as fast as by trap. */
const BOUND = 5;

const { values } = parseArgs({
  options: {
    turns: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '5' },
    runs: { type: 'string', default: '3' },
  },
});
const [turns, rounds, runs] = [Number(values.turns), Number(values.rounds) + 1, Number(values.runs)];

/** What is compared: the same options, with overlays and without. */
const pairs: readonly { readonly title: string; readonly options: MachineOptions }[] = (
  [
    ['emulated', { cpu: emulating }],
    ['trapped by policy', { cpu: 'rv64', traps: loops.map(({ instruction }) => instruction) }],
  ] as const
).flatMap(([title, options]) => [
  { title: `${title}, translated`, options: { ...options, translate: true } },
  { title: `${title}, interpreted`, options: { ...options, translate: false } },
]);

async function main(): Promise<number> {
  // Machines take turns, so that a load that comes and goes meets all of them.
  const own = { on: [] as LoopRun[], off: [] as LoopRun[] };
  const measured = pairs.map(() => ({ on: [] as LoopRun[], off: [] as LoopRun[] }));
  for (let run = 0; run < runs; run++) {
    own.on.push(await runLoops(turns * LONGER, rounds, { cpu: 'rv64' }));
    own.off.push(await runLoops(turns, rounds, { cpu: 'rv64' }));
    for (const [i, { options }] of pairs.entries()) {
      for (const side of ['on', 'off'] as const) {
        const count = side === 'on' ? turns * LONGER : turns;
        must(measured[i])[side].push(await runLoops(count, rounds, { ...options, overlay: side === 'on' }));
      }
    }
  }
  const lengths = `${turns * LONGER} turns a round, by trap ${turns}; ${runs} machines of ${rounds - 1} rounds each`;
  say(`${lengths}; nanoseconds a turn: median (least-most)`);
  say(`\n${'the hart has it, translated'.padEnd(28)}turn`);
  for (const [index, { instruction }] of loops.entries())
    say(`  ${instruction.padEnd(26)}${spread(turnsOf(own.on, index))}`);
  let least = Number.POSITIVE_INFINITY;
  for (const [i, { title }] of pairs.entries()) {
    const { on, off } = must(measured[i]);
    say(`\n${title.padEnd(32)}${'overlay on'.padEnd(24)}${'overlay off'.padEnd(32)}times as fast: medians, least`);
    for (const [index, { instruction }] of loops.entries()) {
      checkResults(index, [...own.on, ...on]);
      checkResults(index, [...own.off, ...off]);
      const [fast, slow] = [turnsOf(on, index), turnsOf(off, index)];
      const ratios = [median(slow) / median(fast), Math.min(...slow) / Math.min(...fast)];
      least = Math.min(least, ...ratios);
      say(
        `  ${instruction.padEnd(30)}${spread(fast).padEnd(24)}${spread(slow).padEnd(32)}${ratios.map((ratio) => ratio.toFixed(0)).join(', ')}`,
      );
    }
  }
  say(`\nleast: ${least.toFixed(1)} times; bound: ${BOUND}`);
  return least >= BOUND ? 0 : 1;
}

/** All rounds but the first of each machine. */
function turnsOf(machines: readonly LoopRun[], index: number): readonly number[] {
  return machines.flatMap((run) => must(run.loops[index]).turnNs.slice(1));
}

function checkResults(index: number, machines: readonly LoopRun[]): void {
  const results = new Set(machines.map((run) => must(run.loops[index]).result));
  assert(results.size === 1, `${must(loops[index]).instruction} comes to ${[...results].join(' and ')}`);
}

function spread(times: readonly number[]): string {
  const digits = median(times) < 100 ? 1 : 0;
  const show = (ns: number): string => ns.toFixed(digits);
  return `${show(median(times))} (${show(Math.min(...times))}-${show(Math.max(...times))})`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main();

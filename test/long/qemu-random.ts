/**
 * The engine against QEMU on random programs of unprivileged instructions, for as long as one likes:
 *
 *   node test/long/qemu-random.ts [--minutes 5] [--seed N] [--blocks 4000]
 *
 * Needs the toolbox's QEMU (`npm run toolbox -- qemu`). The first difference is printed with its seed, block and
 * instruction, and ends the run with status 1.
 */
import { parseArgs } from 'node:util';
import { compareWithQemu } from '../system/qemu-comparison.testing.ts';
import { randomProgram } from '../system/random-blocks.testing.ts';
import { programPath } from '../toolbox.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    blocks: { type: 'string', default: '4000' },
  },
});
const end = Date.now() + Number(values.minutes) * 60_000;
let seed = Number(values.seed);
let programs = 0;
let total = 0;
let found: string | undefined;
do {
  const program = randomProgram(seed++, Number(values.blocks));
  const { difference, instructions } = await compareWithQemu(programPath('qemu-system-riscv64'), program);
  programs++;
  total += instructions;
  found = difference;
} while (found === undefined && Date.now() < end);
console.log(`${programs} programs, ${total} instructions`);
if (found !== undefined) {
  console.error(found);
  process.exitCode = 1;
}

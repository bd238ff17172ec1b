/**
 * What a second level costs: `node bench/nested.ts [--runs 3] [--permille 300] [--exits 1000] [--only integer,float]
 * [--sides qemu,ours,walks] [--check] [--json FILE]`. In QEMU with the H extension, in our machine, and in ours without
 * combined shadows (`walks`: both stages are walked for whatever the buffers lack, which each entry of the guest empties),
 * Debian's kernel with KVM runs the bench's programs itself and in a guest, loops of exits in a guest (guest/exits), and
 * boots a second Linux. With --check ends with 1 where one of these does not hold in our machine:
 *
 *   integer, float     the second level has at least 95 % of the first level's speed, each a geometric mean
 *   null, timer        exits and timer interrupts a second: at least QEMU's (goal: 3 times)
 *   linux              the second level's way to its first program takes at most 3 times the first level's (goal: 2)
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { HostError, OperatorError } from '../src/base/errors.ts';
import { pullDebianImage } from '../src/host/images/index.ts';
import { provideTools } from './guest.ts';
import { type NestedSide, nestedBounds, nestedReport } from './nested-report.ts';
import { measureNested, nestedSides } from './nested-run.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '3' },
    permille: { type: 'string', default: '300' },
    exits: { type: 'string', default: '1000' },
    only: { type: 'string', default: 'integer,float' },
    sides: { type: 'string', default: Object.keys(nestedSides).join(',') },
    json: { type: 'string' },
    check: { type: 'boolean', default: false },
  },
});

async function main(): Promise<number> {
  const sides = values.sides.split(',').map(sideCalled);
  await provideTools(say);
  const image = await pullDebianImage({ progress: ({ step }) => say(step) });
  const figures = await measureNested(image, {
    ...{ runs: Number(values.runs), permille: Number(values.permille), exitsPermille: Number(values.exits) },
    ...{ only: values.only, sides, say },
  });
  process.stdout.write(nestedReport(figures));
  if (values.json !== undefined) {
    await writeFile(values.json, `${JSON.stringify(Object.fromEntries(figures), undefined, 2)}\n`);
  }
  const bounds = nestedBounds(figures);
  for (const { holds, sentence } of bounds) process.stdout.write(`${holds ? 'holds' : 'BROKEN'}: ${sentence}\n`);
  return values.check && bounds.some(({ holds }) => !holds) ? 1 : 0;
}

function sideCalled(name: string): NestedSide {
  if (name in nestedSides) return name as NestedSide;
  throw new OperatorError(
    'bench-usage',
    `there is no side ${name}`,
    `choose among ${Object.keys(nestedSides).join(', ')}`,
  );
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof OperatorError || error instanceof HostError)) throw error;
  process.stderr.write(`bench: ${error.message}\n${error instanceof OperatorError ? `${error.fix}\n` : ''}`);
  process.exitCode = 125;
}

/** `kage explain`: what the translator makes of guest code of a machine that runs, through its control socket. */
import { OperatorError } from '../base/errors.ts';
import { connectMachine, listMachines } from '../host/index.ts';
import { explanationLines } from '../machine/index.ts';
import type { Io } from './io.ts';
import { type Format, print, table } from './output.ts';
import { parseAddress, parseCount } from './values.ts';

export interface ExplainFlags {
  readonly format: Format;
  readonly hart?: string;
  readonly level?: string;
  readonly wasm: boolean;
  readonly most?: string;
}

/** `where` is an address, `pc` or `hot`. */
export async function explain(io: Io, where: string, name: string | undefined, flags: ExplainFlags): Promise<number> {
  const hart = flags.hart === undefined ? 0 : parseCount(flags.hart, '--hart', 0, 4095);
  const level = flags.level === undefined ? undefined : parseCount(flags.level, '--level', 1, 2);
  const most = flags.most === undefined ? 20 : parseCount(flags.most, '--most', 1, 1000);
  const pc = where === 'pc' || where === 'hot' ? undefined : parseAddress(where);
  await using machine = await connectMachine(name ?? (await onlyMachine()));
  if (where === 'hot') {
    const regions = await machine.hotRegions(most);
    print(io, flags.format, regions, () =>
      table(
        ['address', 'hart', 'level', 'physical', 'region', 'instructions', 'entered', 'module'],
        regions.map(
          ({ at = '-', hart: by = '-', level: of = '-', physical = '-', number, instructions, entered, module }) =>
            [at, by, of, physical, number, instructions, entered, module].map(String),
        ),
      ),
    );
    return 0;
  }
  const told = await machine.explain({
    hart,
    ...(pc === undefined ? {} : { pc }),
    ...(level === undefined ? {} : { level: level === 1 ? 1 : 2 }),
  });
  print(io, flags.format, told, () => `${explanationLines(told, { wasm: flags.wasm }).join('\n')}\n`);
  return 0;
}

/** The one machine that runs. */
async function onlyMachine(): Promise<string> {
  const machines = await listMachines();
  const [first] = machines;
  if (first === undefined)
    throw new OperatorError('no-such-machine', 'No machine is running', 'Start one: "kage run -d"');
  if (machines.length === 1) return first.name;
  const names = machines.map((one) => one.name).join(', ');
  throw new OperatorError('which-machine', `Several machines are running: ${names}`, 'Name one behind the address');
}

export const explainHelp = `
PC is an address (0xffffffff80003a5c, or ffffffff80003a5c as in /proc/kallsyms), "pc" for where the hart
was lately, or "hot" for a list of the regions that were entered most: their addresses are where to begin.

What is shown: in which state the code is (translated, inside another region, cold, left to the
interpreter, never executed, unmapped), how often jumps came there, the regions of its page with how often
they were entered, the blocks of the region with why control leaves it, and its WebAssembly with the guest's
instructions between the lines. The machine goes on meanwhile, and its guest cannot tell.

Examples:
  kage explain hot web                    where web spends its time
  kage explain 0xffffffff80003a5c web     the code there, as hart 0 sees it
  kage explain pc web --hart 1 --no-wasm  where hart 1 was, its blocks alone
  kage explain 0xffffffff80003a5c web --level 2   the code there in the guest of the guest
  kage explain pc --format json           for programs; the one machine that runs

docs/explain.md shows how to read it.`;

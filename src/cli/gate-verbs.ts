/** `kage gate` and its verbs, as data for commander. */
import type { Command } from 'commander';
import { type FenceFlags, fence, type GateFlags, gateHelp, serveGate, showGate } from './gate.ts';
import type { Io } from './io.ts';
import type { Format } from './output.ts';
import { formatOption, verb } from './verb.ts';

export function addGate(program: Command, io: Io, end: (code: number) => void): void {
  const gate = verb(program, 'gate', 'keep older users of a disk out, in front of its NBD server')
    .enablePositionalOptions()
    .addHelpText('after', gateHelp);
  const withState = (command: Command): Command =>
    command.requiredOption('--state <folder>', 'where the gate keeps its generations, and listens to "fence"');
  withState(verb(gate, 'serve', 'serve; what "kage gate" does without another verb', { isDefault: true }))
    .requiredOption('--listen <uri>', 'where clients come: nbd+unix:///?socket=PATH, nbd://HOST:PORT')
    .requiredOption('--upstream <uri>', 'the NBD server behind; exports have the names there that clients give them')
    .option('--most-connections <count>', 'of clients at once; 128 by default')
    .action(async (flags: GateFlags) => end(await serveGate(io, flags)));
  withState(
    verb(gate, 'fence', 'refuse generations below this one, for good; done when nothing of theirs is under way'),
  )
    .argument('<export>', "the disk's name at the server behind; '' for its default")
    .argument('<generation>', 'the lowest that may use it')
    .option('--timeout <time>', 'how long to wait for what is under way: 5s, 1m; 30s by default')
    .addOption(formatOption())
    .action(async (exportName: string, generation: string, flags: FenceFlags) =>
      end(await fence(io, exportName, generation, flags)),
    );
  withState(verb(gate, 'status', 'show exports, their lowest generations and who uses them'))
    .addOption(formatOption())
    .action(async (flags: { state: string; format: Format }) => end(await showGate(io, flags)));
}

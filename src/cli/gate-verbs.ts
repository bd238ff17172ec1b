/** `kage gate` and its verbs, as data for commander. */
import type { Command } from 'commander';
import { type FenceFlags, fence, type GateFlags, gateHelp, type ShowGateFlags, serveGate, showGate } from './gate.ts';
import type { Io } from './io.ts';
import { formatOption, verb } from './verb.ts';

export function addGate(program: Command, io: Io, end: (code: number) => void): void {
  const gate = verb(program, 'gate', 'keep older users of a disk out, in front of its NBD server')
    .enablePositionalOptions()
    .addHelpText('after', gateHelp);
  const told = (command: Command): Command =>
    command
      .option('--state <folder>', "the gate's folder, on this host")
      .option('--gate <address>', 'or where it is told: tls:HOST:PORT, unix:PATH')
      .option('--tls <folder>', 'for tls: - the folder with ca.pem, cert.pem, key.pem');
  verb(gate, 'serve', 'serve; what "kage gate" does without another verb', { isDefault: true })
    .requiredOption('--state <folder>', 'where the gate keeps its generations, and listens to "fence"')
    .requiredOption('--listen <uri>', 'where clients come: nbd+unix:///?socket=PATH, nbd://HOST:PORT; nbds:// for TLS')
    .requiredOption('--upstream <uri>', 'the NBD server behind; exports have the names there that clients give them')
    .option('--control <address>', 'be told over the network, too: tls:HOST:PORT')
    .option(
      '--tls <folder>',
      'the folder with ca.pem, cert.pem, key.pem: both ends show a certificate of that authority',
    )
    .option('--most-connections <count>', 'of clients at once; 128 by default')
    .action(async (flags: GateFlags) => end(await serveGate(io, flags)));
  told(verb(gate, 'fence', 'refuse generations below this one, for good; done when nothing of theirs is under way'))
    .argument('<export>', "the disk's name at the server behind; '' for its default")
    .argument('<generation>', 'the lowest that may use it')
    .option('--timeout <time>', 'how long to wait for what is under way: 5s, 1m; 30s by default')
    .addOption(formatOption())
    .action(async (exportName: string, generation: string, flags: FenceFlags) =>
      end(await fence(io, exportName, generation, flags)),
    );
  told(verb(gate, 'status', 'show exports, their lowest generations and who uses them'))
    .addOption(formatOption())
    .action(async (flags: ShowGateFlags) => end(await showGate(io, flags)));
}

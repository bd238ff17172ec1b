/** `kage receive`, `replicate`, `promote`, `migrate` and what belongs to them, as data for commander. */
import type { Command } from 'commander';
import type { Io, Platform } from './io.ts';
import type { Format } from './output.ts';
import {
  type CheckpointFlags,
  checkpoint,
  type MigrateFlags,
  migrate,
  migrateHelp,
  promote,
  type ReceiveFlags,
  type ReplicateFlags,
  receive,
  receiveHelp,
  replicate,
  replication,
  unreplicate,
} from './replication.ts';
import { collect, formatOption, verb } from './verb.ts';

export function addReplication(program: Command, io: Io, platform: Platform, end: (code: number) => void): void {
  const stream = (command: Command): Command =>
    command
      .option('--tls <folder>', 'certificates for tls: addresses: ca.pem, cert.pem, key.pem')
      .option('--compress <on|off>', 'pack memory pages; on by default on connections to other hosts');
  stream(
    verb(program, 'receive', 'stand by for a guest that runs elsewhere')
      .argument('<address>', 'where to listen: unix:PATH, tcp:127.0.0.1:PORT, tls:HOST:PORT, plain:HOST:PORT')
      .option('-n, --name <name>', "the machine's name; a made-up one by default")
      .option('-d, --detach', 'in the background: its name is printed')
      .option('-p, --publish <port>', "[HOSTIP:]HOSTPORT:GUESTPORT[/udp], in place of the guest's own", collect)
      .option('--netdev <uplink>', "the guest's uplinks here, in place of its own, as for run", collect)
      .option(
        '--on-loss <wait|promote>',
        'when the source is lost: wait for "kage promote" (default), or go on at once',
      ),
  )
    .addHelpText('after', receiveHelp)
    .action(async (address: string, flags: ReceiveFlags) => end(await receive(io, platform, address, flags)));
  stream(
    verb(program, 'replicate', 'give a machine a hot standby')
      .argument('<name>', 'the machine')
      .argument('<address>', 'where "kage receive" listens')
      .option('--epoch <ms>', 'from one checkpoint to the next, at most; 50 by default')
      .option('--eager <on|off>', 'output that waits begins the next checkpoint at once; on by default')
      .option('--on-loss <go-on|wait>', 'when the standby is lost: go on without it (default), or stand still')
      .option('--most-held <size>', 'of output and disk writes that may wait; 64M by default'),
  ).action(async (name: string, address: string, flags: ReplicateFlags) =>
    end(await replicate(io, name, address, flags)),
  );
  verb(program, 'unreplicate', 'let a machine go on without its standby')
    .argument('<name>', 'the machine')
    .action(async (name: string) => end(await unreplicate(name)));
  verb(program, 'replication', 'what is known of the replication of a machine, or of a standby')
    .argument('<name>', 'the machine')
    .addOption(formatOption())
    .action(async (name: string, flags: { format: Format }) => end(await replication(io, name, flags.format)));
  verb(program, 'checkpoint', 'take snapshots of a machine into a folder, one after the other: a warm standby')
    .argument('<name>', 'the machine; it goes on')
    .argument('[folder]', 'where they are; restore FOLDER/latest')
    .option('--every <seconds>', 'from one to the next; 10 by default')
    .option('--keep <count>', 'so many are kept; 2 by default')
    .option('--stop', 'take no more')
    .action(async (name: string, folder: string | undefined, flags: CheckpointFlags) =>
      end(await checkpoint(name, folder, flags)),
    );
  verb(program, 'promote', 'let the guest of a standby run there, as of the last checkpoint')
    .argument('<name>', 'the standby')
    .addOption(formatOption())
    .action(async (name: string, flags: { format: Format }) => end(await promote(io, name, flags.format)));
  stream(
    verb(program, 'migrate', 'move a machine, while it runs, to where "kage receive" listens')
      .argument('<name>', 'the machine; it ends when the guest runs there')
      .argument('<address>', 'where "kage receive" listens')
      .option('--downtime <ms>', 'how long the guest may stand still, about; 50 by default')
      .option('--no-throttle', 'a guest that writes faster than the connection carries is not slowed down')
      .addOption(formatOption()),
  )
    .addHelpText('after', migrateHelp)
    .action(async (name: string, address: string, flags: MigrateFlags) => end(await migrate(io, name, address, flags)));
}

/**
 * The verbs and flags of `kage`, as data for commander, and what each does. Spelling follows docker; `kage run` takes
 * QEMU's too (qemu-arguments.ts). What stands behind the first `--` is the guest's command and never looked at.
 */
import { Command, CommanderError } from 'commander';
import { OperatorError } from '../base/errors.ts';
import { demoPort } from '../host/index.ts';
import { addAgent } from './agent-verbs.ts';
import { balloon, balloonHelp } from './balloon.ts';
import { addCluster } from './cluster-verbs.ts';
import { type DemoFlags, demo } from './demo.ts';
import { type ExplainFlags, explain, explainHelp } from './explain.ts';
import { failureLine } from './failure.ts';
import { type ForkFlags, fork, forkHelp } from './fork.ts';
import { addGate } from './gate-verbs.ts';
import { addCare } from './health-flags.ts';
import { type BuildFlags, buildImage, listImages, pullImage, removeImages } from './images.ts';
import { type Io, type Platform, platformFailure } from './io.ts';
import { joinMachine } from './join.ts';
import {
  addUplink,
  type CaptureFlags,
  capture,
  changeNet,
  listNet,
  netEvents,
  netHelp,
  type SwitchFlags,
  serveSwitch,
  setFailover,
} from './net.ts';
import type { Format } from './output.ts';
import { addDaemon, addPartitions } from './partition-verbs.ts';
import { pci, pciHelp } from './pci.ts';
import { type ProtectFlags, protect, protectHelp } from './protect.ts';
import { withoutQemuSpellings } from './qemu-arguments.ts';
import { attach, type ExecFlags, exec, stats } from './remote.ts';
import { addReplication } from './replication-verbs.ts';
import { create, run } from './run.ts';
import type { RunFlags } from './run-options.ts';
import { addCreate, addLife, addMachine } from './run-verbs.ts';
import { type RestoreFlags, restore, type SnapshotFlags, snapshot } from './snapshots.ts';
import { collect, formatOption, verb } from './verb.ts';

import { version } from './version.ts';

/** Runs one command line to its end and returns the exit code. Whatever fails is one line on stderr. */
export async function main(argv: readonly string[], io: Io, platform: Platform): Promise<number> {
  try {
    const at = argv.indexOf('--');
    const ours = at < 0 ? [...argv] : argv.slice(0, at);
    const command = at < 0 ? [] : argv.slice(at + 1);
    const words =
      ours.length === 0 ? ['--help'] : ours[0] === 'run' ? ['run', ...withoutQemuSpellings(ours.slice(1))] : ours;
    let code = 0;
    const program = createProgram(io, platform, command, (result) => {
      code = result;
    });
    await program.parseAsync(words, { from: 'user' });
    // To end when it is told to is what a daemon is for.
    if (words[0] === 'serve') return code;
    return io.signal.aborted && typeof io.signal.reason === 'number' ? io.signal.reason : code;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    if (io.signal.aborted && typeof io.signal.reason === 'number') return io.signal.reason;
    io.stderr.write(`${failureLine(error, io.environment['KAGE_DEBUG'] !== undefined)}\n`);
    return platformFailure;
  }
}

function createProgram(io: Io, platform: Platform, command: readonly string[], end: (code: number) => void): Command {
  const program = new Command('kage')
    .description('Runs real Linux servers (riscv64) with nothing but this program: no KVM, no root.')
    .version(version(), '-V, --version')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.stdout.write(text), writeErr: () => {} })
    .addHelpText('after', examples);

  const start = (image: string | undefined, flags: RunFlags): Promise<number> => {
    const { machine } = flags;
    if (machine === undefined) return run(io, platform, image, flags, command);
    return joinMachine(io, platform, image, { ...flags, machine }, command);
  };
  addMachine(program, start, end);
  addCreate(program, (image, flags) => create(io, platform, image, flags, command), end);

  program
    .command('exec')
    .summary('run a command in a running machine')
    .description('Runs a command in a running machine. Its output, input and exit code are yours.')
    .usage('[options] NAME [--] COMMAND...')
    .argument('<name>', 'the machine')
    .argument('[command...]', 'what to run')
    .option('-e, --env <NAME=VALUE>', 'a variable for the command', collect)
    .option('-w, --workdir <folder>', 'where the command runs')
    .option('--wait <seconds>', "how long the guest's agent may take to answer; without end by default")
    .option('-i, --interactive', 'accepted: stdin is always yours')
    .passThroughOptions()
    .addHelpText('after', '\nExample:\n  kage exec web -- sh -c "cat /etc/os-release | head -1"')
    .action(async (name: string, words: readonly string[], flags: ExecFlags) => {
      // A dash pair behind the command's first word is the command's own: `exec web git log -- file`.
      const whole = [...words, ...(words.length > 0 && command.length > 0 ? ['--'] : []), ...command];
      if (whole.length === 0) {
        throw new OperatorError('bad-usage', 'there is no command to run', `Write "kage exec ${name} -- COMMAND"`);
      }
      end(await exec(io, name, whole, flags));
    });

  addPartitions(program, io, platform, end);
  addDaemon(program, io, platform, end);
  addSnapshots(program, io, platform, command, end);

  addReplication(program, io, platform, end);
  addCluster(program, io, platform, end);

  verb(program, 'fork', 'make twins of a machine, which share its memory until they write')
    .argument('<name>', 'the machine; it goes on')
    .option('-n, --name <name>', "the twin's; of several NAME-1, NAME-2 ...; a made-up one by default")
    .option('--count <count>', 'how many; 1 by default')
    .option('-p, --publish <[ip:]port:guestport>', "a port of the twin; none of the machine's by default", collect)
    .option('--weight <shares>', 'its claim where harts wait')
    .option('--cap <processors>', "processors' worth of time that it may use")
    .option('--pin <processors>', 'the processors that may run its harts')
    .option('--quiesce', "freeze the guest's file systems meanwhile, through its agent")
    .addOption(formatOption())
    .addHelpText('after', forkHelp)
    .action(async (name: string, flags: ForkFlags) => end(await fork(io, platform, name, flags)));

  verb(program, 'stats', 'show the counters of machines')
    .argument('[name...]', 'the machines; all of them by default')
    .addOption(formatOption())
    .action(async (names: readonly string[], flags: { format: Format }) => end(await stats(io, names, flags.format)));

  verb(program, 'explain', 'show what the translator makes of guest code')
    .argument('<pc>', 'an address, "pc" or "hot"')
    .argument('[name]', 'the machine; the one that runs by default')
    .option('--hart <number>', 'as which hart sees it; 0 by default')
    .option('--level <number>', 'as the guest sees it (1), or the guest of that guest (2); by default as it runs')
    .option('--no-wasm', 'without the WebAssembly')
    .option('--most <count>', 'regions that "hot" lists; 20 by default')
    .addOption(formatOption())
    .addHelpText('after', explainHelp)
    .action(async (where: string, name: string | undefined, flags: ExplainFlags) =>
      end(await explain(io, where, name, flags)),
    );

  verb(program, 'balloon', 'show or say how much memory a guest gives back')
    .argument('<name>', 'the machine')
    .argument('[size]', 'what the guest is to make do with: 128M, 1G, or "all"')
    .addOption(formatOption())
    .addHelpText('after', balloonHelp)
    .action(async (name: string, size: string | undefined, flags: { format: Format }) =>
      end(await balloon(io, name, size, flags)),
    );

  verb(program, 'pci', 'show what is in the slots of a machine; put cards in, take them out')
    .argument('<name>', 'the machine')
    .argument('[action]', 'plug, unplug (asks the guest) or pull (at once)')
    .argument('[port]', 'the root port: rp0')
    .addOption(formatOption())
    .addHelpText('after', pciHelp)
    .action(async (name: string, action: string | undefined, port: string | undefined, flags: { format: Format }) =>
      end(await pci(io, name, action, port, flags)),
    );

  verb(program, 'protect', 'take rights to memory from programs and devices of a machine')
    .argument('<name>', 'the machine')
    .option('--domain <domain>', 'whose: kernel, user, firmware, device:ID', collect)
    .option('--range <address>', 'guest-physical: ADDR, ADDR-END or ADDR+SIZE, hexadecimal; of whole pages')
    .option('--kernel-text', "the guest kernel's code, where the guest says it is")
    .option('--deny <rights>', 'take these away: some of r, w, x')
    .option('--allow <rights>', 'give these back')
    .option('--log', 'show the accesses that were forbidden lately')
    .option('--most <count>', 'of these, the latest; 100 by default')
    .addOption(formatOption())
    .addHelpText('after', protectHelp)
    .action(async (name: string, flags: ProtectFlags) => end(await protect(io, name, flags)));

  verb(program, 'attach', "join the terminal to a machine's console; Ctrl-a d leaves it")
    .argument('<name>', 'the machine')
    .action(async (name: string) => end(await attach(io, name)));

  addAgent(program, io, end);
  addGate(program, io, end);
  addNet(program, io, end);
  addImages(program, io, platform, end);

  verb(program, 'demo', 'serve a page in which a machine runs in the browser')
    .argument('[image]', 'a guest image without a disk; debian by default, fetched at first use')
    .option('--port <port>', `of the loopback address; 0: any that is free; ${demoPort} by default`)
    .option('--no-isolation', 'without the headers that let a page share memory: one hart, no SharedArrayBuffer')
    .option('-q, --quiet', 'no progress and no hints')
    .action(async (image: string | undefined, flags: DemoFlags) => end(await demo(io, platform, image, flags)));
  return program;
}

function addSnapshots(
  program: Command,
  io: Io,
  platform: Platform,
  command: readonly string[],
  end: (code: number) => void,
): void {
  verb(program, 'snapshot', 'write a whole machine to a file')
    .argument('<name>', 'the machine; it goes on')
    .argument('<file>', 'where to; what is there is replaced if it is a snapshot')
    .option('--base <file>', 'an earlier snapshot: write only memory that differs from it')
    .option('--stop', 'end the machine with its snapshot')
    .option('--quiesce', "freeze the guest's file systems meanwhile, through its agent")
    .option('--no-compress', 'three times as large, and restored faster')
    .addOption(formatOption())
    .addHelpText('after', snapshotExamples)
    .action(async (name: string, file: string, flags: SnapshotFlags) =>
      end(await snapshot(io, platform, name, file, flags)),
    );

  const restored = program
    .command('restore')
    .summary('start the machine of a snapshot where it stood')
    .description(
      'Starts the machine of a snapshot where it stood, as "kage run" starts one: with its console on the terminal, ' +
        'in the background, or for one command.',
    )
    .usage('[options] FILE [-- COMMAND...]')
    .argument('<file>', 'what "kage snapshot" wrote')
    .option('-n, --name <name>', 'the name by which the other verbs know it; the one that it had by default')
    .option('-p, --publish <[ip:]port:guestport>', 'ports of the guest, in place of those that it had', collect)
    .option('-v, --volume <host:guest[:ro]>', 'other folders of the host, in place of those that it had', collect)
    .option('--vsock <socket=PATH[,cid=N]>', 'the unix socket of its vsock, in place of the one that it had')
    .option('--netdev <kind[,key=value...]>', 'uplinks, in place of those that it had', collect)
    .option('--failback <always|better|failure>', 'when a preferred uplink is well again')
    .option('--path-failover <on|off>', 'off: stay with the first uplink');
  addCare(addLife(restored))
    .option('--gdb <port>', 'listen for gdb on this port')
    .option('--start-paused', 'wait for gdb, or for "kage resume"')
    .option('--translate <on|off>', 'off: interpret everything')
    .option('--hot-threshold <count>', 'translate what was reached this often')
    .option('--promotion <off|auto|always>', 'sensitive instructions in translated code')
    .option('--shadows <count>', 'shadow page tables of each hart, 1 to 64')
    .option('--shadow-model <fence|tracked>', 'what drops translations: fences, or writes to page tables')
    .option('--combined-shadows <on|off>', 'off: keep no shadows of nested guests, walk both stages instead')
    .option('--relay <on|off>', 'off: plain wires for interrupts of PCI Express; functions are polled')
    .option('--code-memory <size>', 'for decoded and translated code')
    .addHelpText('after', snapshotExamples)
    .action(async (file: string, flags: RestoreFlags) => end(await restore(io, platform, file, flags, command)));
}

function addNet(program: Command, io: Io, end: (code: number) => void): void {
  const net = verb(program, 'net', "show and change the paths of guests' networks")
    .enablePositionalOptions()
    .addHelpText('after', netHelp);
  const named = (name: string, summary: string): Command => verb(net, name, summary).argument('<name>', 'the machine');
  named('ls', 'list interfaces and uplinks')
    .addOption(formatOption())
    .action(async (name: string, flags: { format: Format }) => end(await listNet(io, name, flags.format)));
  named('map', 'map an interface to uplinks, the preferred one first')
    .argument('<interface>', 'net0')
    .argument('<uplink...>', 'of one network')
    .action(async (name: string, target: string, uplinks: readonly string[]) =>
      end(await changeNet(name, { action: 'map', interface: target, uplinks })),
    );
  named('unmap', 'take uplinks from an interface')
    .argument('<interface>', 'net0')
    .argument('[uplink...]', 'all of them by default: the guest has no carrier then')
    .action(async (name: string, target: string, uplinks: readonly string[]) =>
      end(await changeNet(name, { action: 'unmap', interface: target, uplinks })),
    );
  named('prefer', 'put one uplink of an interface first, and in force')
    .argument('<interface>', 'net0')
    .argument('<uplink>', 'one that it is mapped to')
    .action(async (name: string, target: string, uplink: string) =>
      end(await changeNet(name, { action: 'prefer', interface: target, uplinks: [uplink] })),
    );
  named('add', 'open another uplink')
    .argument('<netdev>', 'as --netdev has it')
    .action(async (name: string, netdev: string) => end(await addUplink(name, netdev)));
  named('failover', 'switch path failover on or off')
    .argument('<on|off>', 'off: every interface stays with what it has')
    .action(async (name: string, value: string) => end(await setFailover(name, value)));
  verb(net, 'switch', 'serve a switch for the machines of this host')
    .argument('<listen>', "a socket's path, or [HOST:]PORT, for their -netdev stream")
    .option('--netdev <kind[,key=value...]>', 'an uplink; several: the preferred one first; none by default', collect)
    .option('--failback <always|better|failure>', 'when a preferred uplink is well again; always by default')
    .option('--path-failover <on|off>', 'off: stay with the first uplink')
    .addOption(formatOption())
    .action(async (listen: string, flags: SwitchFlags) => end(await serveSwitch(io, listen, flags)));
  named('events', 'show what happened to paths, and why')
    .option('-f, --follow', 'go on until the machine ends')
    .addOption(formatOption())
    .action(async (name: string, flags: { follow?: boolean; format: Format }) => end(await netEvents(io, name, flags)));
  named('capture', 'write frames as pcapng')
    .argument('[port]', 'an interface or an uplink; all of them by default')
    .option('-w, --write <file>', 'where to; stdout by default')
    .option('-s, --snaplen <bytes>', 'of each frame; all of it by default')
    .action(async (name: string, port: string | undefined, flags: CaptureFlags) =>
      end(await capture(io, name, port, flags)),
    );
}

function addImages(program: Command, io: Io, platform: Platform, end: (code: number) => void): void {
  const images = verb(program, 'images', 'list guest images, and make them').enablePositionalOptions();
  verb(images, 'ls', 'list the images', { isDefault: true })
    .addOption(formatOption())
    .action(async (flags: { format: Format }) => end(await listImages(io, platform, flags.format)));
  for (const parent of [images, program])
    verb(parent, 'pull', "make an image from Debian's archive")
      .argument('[image]', 'debian, or nested: a hypervisor and a guest for it (run it with --nested)', 'debian')
      .option('-q, --quiet', 'no progress')
      .option('--refresh', 'ask the archive for newer packages')
      .addOption(formatOption())
      .action(async (name: string, flags: { quiet?: boolean; refresh?: boolean; format: Format }) =>
        end(await pullImage(io, platform, name, flags)),
      );
  verb(images, 'build', 'make a full Debian disk, with packages of your choice')
    .argument('<name>', 'what to call it')
    .option('--package <name,...>', 'packages on top of the base system', collect)
    .option('--size <size>', 'of the disk; 4G by default')
    .option('--hostname <name>', "the guest's; the image's name by default")
    .option('-m, --memory <size>', 'of the guest that builds; 1G by default')
    .option('-c, --cpus <count>', 'of the guest that builds')
    .option('-v, --verbose', "show that guest's console")
    .option('-q, --quiet', 'no progress')
    .addOption(formatOption())
    .addHelpText('after', '\nExample:\n  kage images build python --package python3,gcc && kage run python')
    .action(async (name: string, flags: BuildFlags) => end(await buildImage(io, platform, name, flags)));
  verb(images, 'rm', 'remove images')
    .argument('<image...>', 'which ones')
    .action(async (names: readonly string[]) => end(await removeImages(io, platform, names)));
}

const examples = `
Examples:
  kage run                                a Debian guest; Ctrl-a x ends it
  kage run -- uname -a                    one command in a fresh guest
  kage run -n web -m 1G -p 8080:80 -d     in the background, with a port
  kage ps                                 what runs
  kage exec web -- sh -c 'ls / | wc -l'   a command in it
  kage stop web

"kage VERB --help" says more.`;

const snapshotExamples = `
Examples:
  kage snapshot web web.kage                     the machine goes on
  kage snapshot web later.kage --base web.kage   what changed since
  kage restore web.kage -n twin -d               in the background, under another name
  kage restore web.kage -- uname -a              one command in it`;

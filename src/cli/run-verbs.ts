/** The flags of `kage run` and `kage create`, as data for commander: what a machine is made of. */
import type { Command } from 'commander';
import { addFailover } from './failover-flags.ts';
import { addAgentChoice, addCare } from './health-flags.ts';
import type { RunFlags } from './run-options.ts';
import { collect, verb } from './verb.ts';

export function addMachine(
  program: Command,
  act: (image: string | undefined, flags: RunFlags) => Promise<number>,
  end: (code: number) => void,
): void {
  const run = program
    .command('run')
    .summary('start a machine, with its console on the terminal')
    .description(
      'Starts a machine. By default its console is on the terminal (Ctrl-a x ends it); with a command, the command ' +
        'runs in the guest, and its output and exit code are yours.',
    )
    .usage('[options] [IMAGE] [-- COMMAND...]')
    .argument('[image]', 'a guest image; debian by default, fetched at first use')
    .option('--machine <name>', 'in the machine of that guest, which was started with --forks: on its processors');
  addLife(run);
  addFailover(addSpec(run))
    .addHelpText('after', runExamples)
    .action(async (image: string | undefined, flags: RunFlags) => end(await act(image, flags)));
}

export function addCreate(
  program: Command,
  act: (image: string | undefined, flags: RunFlags) => Promise<number>,
  end: (code: number) => void,
): void {
  const create = verb(program, 'create', 'make a partition, as "kage run -d" does, and leave it to "kage start"')
    .usage('[options] [IMAGE]')
    .argument('[image]', 'a guest image; debian by default, fetched at first use')
    .option('-q, --quiet', 'no progress and no hints');
  addFailover(addSpec(addKeeping(create))).action(async (image: string | undefined, flags: RunFlags) =>
    end(await act(image, flags)),
  );
}

/** What becomes of a partition at its end. */
function addKeeping(command: Command): Command {
  return command
    .option('--restart <policy>', 'no, on-failure[:COUNT], always or unless-stopped; kept by "kage serve"')
    .option('--rm', 'forget it when it has ended');
}

/** What a machine is made of. */
function addSpec(command: Command): Command {
  return addCare(addAgentChoice(command))
    .option('-n, --name <name>', 'the name by which the other verbs know it')
    .option('-c, --cpus <count>', 'harts, 1 to 16 (-smp)')
    .option('-m, --memory <size>', 'guest memory: 512M, 2G; a bare number counts MiB')
    .option('--processors <count>', 'threads that run the harts; one for each by default, as far as the host has them')
    .option(
      '--cap <processors>',
      "processors' worth of time that the guest may use: 0.5 is half of one (docker: --cpus)",
    )
    .option('--weight <shares>', "its claim where harts wait; everybody's is 1024 (--cpu-shares)")
    .option('--pin <processors>', 'the processors that may run its harts: 0,2 or 0-3 (--cpuset-cpus)')
    .option('--forks <count>', 'leave room for so many twins (kage fork) or other guests (--machine), 1 to 255')
    .option('-v, --volume <host:guest[:ro]>', 'share a folder: mounted in the guest at that path', collect)
    .option('-p, --publish <[ip:]port:guestport>', 'make a port of the guest reachable on the host', collect)
    .option('--kernel <file>', 'a kernel of your own (-kernel)')
    .option('--initrd <file>', 'its initial file system (-initrd)')
    .option('--append <words>', "the kernel's command line; behind the image's own (-append)")
    .option('--bios <file>', 'firmware for machine mode, ELF or raw: OpenSBI, U-Boot (-bios)')
    .option(
      '--drive <file=...>',
      'a disk: file=F[,format=raw|qcow2][,readonly=on][,snapshot=on][,overlay=F] (-drive)',
      collect,
    )
    .option('--snapshot', 'write to no disk: what the guest writes is lost at its end (-snapshot)')
    .option(
      '--netdev <kind[,key=value...]>',
      'an uplink: user[,hostfwd=...], macvtap,ifname=..., stream,...; or none. Several: the preferred one first (-netdev)',
      collect,
    )
    .option('--mac <address>', "the guest's hardware address (-device virtio-net-device,mac=...)")
    .option('--failback <always|better|failure>', 'when a preferred uplink is well again; always by default')
    .option('--path-failover <on|off>', 'off: stay with the first uplink, whatever becomes of it')
    .option('--network <none|user>', 'the same, as docker spells it')
    .option('--vsock <socket=PATH[,cid=N]>', 'sockets between guest and host, as Firecracker has them')
    .option('--cpu <extensions>', 'extensions off, or emulated: rv64,zba=off,zbb=emulate')
    .option('--clock <real|instructions>', 'instructions: time follows what the guest executes')
    .option('--seed <number>', 'what is random in the machine follows from it')
    .option('--gdb <port>', 'listen for gdb on this port (-s: 1234)')
    .option('--start-paused', 'wait for gdb, or for "kage resume" (-S)')
    .option('--translate <on|off>', 'off: interpret everything; on by default')
    .option('--hot-threshold <count>', 'translate what was reached this often; 12000 by default')
    .option('--promotion <off|auto|always>', 'sensitive instructions in translated code; auto: the frequent ones')
    .option('--shadows <count>', 'shadow page tables of each hart, 1 (no cache of roots) to 64; 32 by default')
    .option('--shadow-model <fence|tracked>', 'what drops translations: fences (default), or writes to page tables')
    .option('--nested <on|off>', 'harts with the hypervisor extension, for guests that run KVM; --nested alone: on')
    .option('--combined-shadows <on|off>', 'off: keep no shadows of nested guests, walk both stages instead')
    .option('--relay <on|off>', 'off: plain wires for interrupts of PCI Express; functions are polled')
    .option('--interrupt-rate <count>', 'interrupts a second of a PCI Express function at most; 30000 by default')
    .option('--asid-bits <count>', 'bits of satp.ASID, 0 to 16; 16 by default')
    .option('--aia <none|aplic|aplic-imsic>', 'the interrupt controller; none: a PLIC, by default (-M virt,aia=)')
    .option('--aia-guests <count>', 'interrupt files for guests of a guest, 0 to 7; 0 by default')
    .option(
      '--pci <on|off>',
      'on: devices are PCI Express functions behind root ports, not virtio-mmio; off by default',
    )
    .option('--balloon <on|off>', 'a balloon, by which the guest gives memory back; on with --forks')
    .option('--overlay <on|off>', 'off: emulate and trap without code overlays; on by default')
    .option('--trap <instruction>', 'count and log every execution: wfi, fence.i, rdtime, or a CSR: satp', collect)
    .option('--trap-log <file>', 'a line for each of these executions')
    .option('--protection <on|off>', 'off: no protection tables, for measuring; on by default')
    .option('--protection-log <file>', 'a line for each access that "kage protect" forbade')
    .option('--code-memory <size>', 'for decoded and translated code; 64M by default')
    .option('--boot-snapshot <on|off>', 'start where an earlier guest like it had booted; off: boot anew');
}

/** How a machine's life is to be lived: in the background, or for a command. */
export function addLife(command: Command): Command {
  return addKeeping(command)
    .option('-d, --detach', 'run it in the background and print its name')
    .option('-q, --quiet', 'no progress and no hints')
    .option('--exec <command>', 'run this in a shell of the guest, then end the machine')
    .option('-e, --env <NAME=VALUE>', 'a variable for the command', collect)
    .option('-w, --workdir <folder>', 'where the command runs')
    .option('--wait <seconds>', "how long the guest's agent may take to answer; without end by default");
}

const runExamples = `
Examples:
  kage run                                       Debian, to a shell
  kage run --exec 'uname -a'                     one shell command
  kage run -c 4 -m 2G -p 127.0.0.1:8080:80       four harts, a published port
  kage run -kernel Image -initrd rd.cpio -append console=ttyS0
  kage run -bios fw_jump.elf -drive file=disk.img,snapshot=on
  kage run -s -S -kernel Image                   wait for gdb: target remote :1234`;

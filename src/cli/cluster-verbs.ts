/** `kage cluster` and its verbs, as data for commander. What they do is loaded when one of them is used. */
import type { Command } from 'commander';
import type { InitFlags, JoinFlags } from './cluster.ts';
import type { Io, Platform } from './io.ts';
import type { Format } from './output.ts';
import { collect, formatOption, verb } from './verb.ts';

export function addCluster(program: Command, io: Io, platform: Platform, end: (code: number) => void): void {
  const load = () => import('./cluster.ts');
  const cluster = verb(program, 'cluster', "have hosts keep each other's guests up")
    .enablePositionalOptions()
    .addHelpText('after', clusterHelp);

  newcomer(verb(cluster, 'init', 'begin a cluster with this host, and print the token for others'))
    .option('--address <ip[:port]>', 'where other hosts reach this one, TCP and UDP; 127.0.0.1 and 7444 by default')
    .option('--store <sqlite|etcd:url,...>', 'sqlite: a file, for one host, by default; for several, members of etcd')
    .addHelpText('after', initHelp)
    .action(async (flags: InitFlags) => end(await (await load()).init(io, platform, flags)));

  verb(cluster, 'token', 'print the token that another host joins with: a secret')
    .addOption(formatOption())
    .action(async ({ format }: { format: Format }) => end(await (await load()).token(io, platform, format)));

  newcomer(verb(cluster, 'join', 'take part in the cluster of a token'))
    .argument(
      '<token>',
      'what "kage cluster token" prints on another host; - reads it from stdin, where nobody sees it',
    )
    .option('--address <ip[:port]>', 'where other hosts reach this one, TCP and UDP; port 7444 by default')
    .option('--replace', 'take the name of a host that is gone for good')
    .addHelpText('after', joinHelp)
    .action(async (token: string, flags: JoinFlags) => end(await (await load()).join(io, platform, token, flags)));

  verb(cluster, 'status', 'show hosts, guests, how each would be taken over, and what is missed')
    .addOption(formatOption())
    .action(async ({ format }: { format: Format }) => end(await (await load()).status(io, platform, format)));

  verb(cluster, 'drain', 'have a host give its guests up, and take none')
    .argument('[host]', 'this one by default')
    .option('--undo', 'it takes guests again')
    .option('--no-wait', 'do not wait until it has none')
    .action(async (host: string | undefined, flags: { undo?: boolean; wait: boolean }) =>
      end(await (await load()).drain(io, platform, host, flags)),
    );

  verb(cluster, 'leave', "give this host's guests up, and leave the cluster")
    .option('-f, --force', 'forget the cluster without a word to it; guests here end')
    .action(async (flags: { force?: boolean }) => end(await (await load()).leave(io, platform, flags)));

  verb(cluster, 'drill', 'fail a guest over in a double of it, and print how long that took; the guest is left alone')
    .argument('<guest>', 'the partition')
    .option('--method <method>', 'cold, warm or hot; that which is in force by default')
    .option('--host <host>', 'who takes over; as the cluster has chosen by default')
    .addOption(formatOption())
    .action(async (guest: string, flags: { method?: string; host?: string; format: Format }) =>
      end(await (await load()).drill(io, platform, guest, flags)),
    );

  verb(cluster, 'credentials', 'make certificates for what is no host and speaks to hosts: a gate')
    .argument('<folder>', 'where ca.pem, cert.pem and key.pem go; made where it is missing')
    .requiredOption('--for <name>', 'a name or address by which it is called; several, the first its own', collect)
    .addHelpText('after', credentialsHelp)
    .action(async (folder: string, flags: { for: readonly string[] }) =>
      end(await (await load()).credentials(io, platform, folder, flags.for)),
    );
}

/** What a host says of itself when it comes in. */
function newcomer(command: Command): Command {
  return command
    .option('--name <name>', "this host's in the cluster; the system's by default")
    .option('--label <key=value>', 'what is to be known of this host: rack=1', collect)
    .option('--cores <count>', 'what guests may have of it; all by default')
    .option('--memory <size>', 'the same; memory less a fifth by default')
    .option('--disk <size>', "the same; what is free where the daemon's state is by default")
    .option('--store-tls <folder>', 'ca.pem, cert.pem and key.pem, as a client of etcd')
    .addOption(formatOption());
}

const clusterHelp = `
Each host runs "kage serve". One begins the cluster, the others join it by its token; partitions made with --failover
are run by one of them, and by another when that one fails.

Examples:
  kage cluster init --address 10.0.0.1 --store etcd:http://10.0.0.11:2379,http://10.0.0.12:2379
  kage cluster token | ssh b kage cluster join - --address 10.0.0.2
  kage create --name web --failover recovery-time=5s,data-loss=0 --drive file=nbd://10.0.0.9/web debian
  kage start web
  kage cluster status
  kage cluster drain b            before b is shut down; --undo when it is back`;

const initHelp = `
Examples:
  kage cluster init                          one host, to try it: its guests are restarted where they fail
  kage cluster init --address 10.0.0.1 --store etcd:http://10.0.0.11:2379,http://10.0.0.12:2379,http://10.0.0.13:2379`;

const joinHelp = `
Whoever has the token is a host of the cluster. On a command line other users of this system may see it: pass - and
pipe it in.

Example:
  ssh a kage cluster token | kage cluster join - --address 10.0.0.2 --label rack=2`;

const credentialsHelp = `
Example:
  kage cluster credentials ./gate --for 10.0.0.9
  kage gate --listen nbd://10.0.0.9 --upstream nbd://127.0.0.1:10811 --state /var/lib/gate \\
            --control tls:10.0.0.9:10810 --tls ./gate`;

/** The verbs on partitions and the daemon's, as data for commander. What they do is loaded when one of them is used. */
import type { Command } from 'commander';
import type { Io, Platform } from './io.ts';
import type { Format } from './output.ts';
import type { ServeFlags } from './serve.ts';
import { parseCount, parseRestart } from './values.ts';
import { collect, formatOption, verb } from './verb.ts';
import type { WebConsoleFlags } from './web-console.ts';

/** Where `kage console` listens unless it is told otherwise. */
const consolePort = 8065;

export function addPartitions(program: Command, io: Io, platform: Platform, end: (code: number) => void): void {
  const api = () => import('./partition-api.ts');
  verb(program, 'ps', 'list the partitions that run')
    .option('-a, --all', 'those that do not, too')
    .addOption(formatOption())
    .option('-q, --quiet', 'names alone')
    .action(async (flags: { format: Format; quiet?: boolean; all?: boolean }) =>
      end(await (await api()).ps(io, platform, flags)),
    );

  verb(program, 'inspect', 'show what was declared of partitions, and what is, as JSON')
    .argument('<name...>', 'the partitions')
    .action(async (names: readonly string[]) => end(await (await api()).inspect(io, platform, names)));

  for (const [name, summary] of [
    ['stop', 'ask guests to shut down, and end what does not'],
    ['restart', 'stop partitions, and start them again'],
  ] as const) {
    verb(program, name, summary)
      .argument('<name...>', 'the partitions')
      .option('-t, --time <seconds>', 'how long a guest may take; 10 by default')
      .action(async (names: readonly string[], flags: { time?: string }) => {
        const grace = flags.time === undefined ? {} : { graceMs: parseCount(flags.time, '--time', 0, 3600) * 1000 };
        const { eachPartition } = await api();
        const verbs = { stop: 'stopPartition', restart: 'restartPartition' } as const;
        end(await eachPartition(io, platform, names, (client, one) => client[verbs[name]](one, grace)));
      });
  }

  const simple = [
    ['start', 'start partitions', 'startPartition'],
    ['kill', 'end partitions at once', 'killPartition'],
    ['pause', 'halt the harts of partitions', 'pausePartition'],
    ['resume', 'let paused partitions go on', 'resumePartition'],
  ] as const;
  for (const [name, summary, operation] of simple) {
    verb(program, name, summary)
      .argument('<name...>', 'the partitions')
      .action(async (names: readonly string[]) => {
        const { eachPartition } = await api();
        end(await eachPartition(io, platform, names, (client, one) => client[operation](one)));
      });
  }

  verb(program, 'rm', 'forget partitions, and what their consoles said')
    .argument('<name...>', 'the partitions')
    .option('-f, --force', 'end those that run')
    .action(async (names: readonly string[], { force = false }: { force?: boolean }) => {
      const { eachPartition } = await api();
      end(await eachPartition(io, platform, names, (client, one) => client.removePartition(one, { force })));
    });

  verb(program, 'update', 'change the restart policy of partitions')
    .argument('<name...>', 'the partitions')
    .requiredOption('--restart <policy>', 'no, on-failure[:COUNT], always or unless-stopped')
    .action(async (names: readonly string[], { restart }: { restart: string }) => {
      const { eachPartition } = await api();
      const restartPolicy = parseRestart(restart);
      end(await eachPartition(io, platform, names, (client, one) => client.updatePartition(one, { restartPolicy })));
    });

  verb(program, 'wait', 'wait for the ends of partitions, and print their exit codes')
    .argument('<name...>', 'the partitions')
    .action(async (names: readonly string[]) => end(await (await api()).waitFor(io, platform, names)));

  verb(program, 'logs', 'show what a console said')
    .argument('<name>', 'the partition')
    .option('-f, --follow', 'go on until it ends')
    .option('--tail <lines>', 'so many lines from the end')
    .action(async (name: string, { follow = false, tail }: { follow?: boolean; tail?: string }) => {
      const lines = tail === undefined || tail === 'all' ? {} : { tail: parseCount(tail, '--tail', 0, 1e9) };
      end(await (await api()).logs(io, platform, name, { ...(follow ? { follow } : {}), ...lines }));
    });

  verb(program, 'events', 'show what happened to partitions')
    .option('-f, --follow', 'go on, where "kage serve" runs')
    .option('--since <number>', 'only what happened behind that event')
    .addOption(formatOption())
    .action(async ({ follow = false, since, format }: { follow?: boolean; since?: string; format: Format }) => {
      const behind = since === undefined ? {} : { since: parseCount(since, '--since', 0, Number.MAX_SAFE_INTEGER) };
      end(await (await api()).events(io, platform, { format, follow, ...behind }));
    });
}

export function addDaemon(program: Command, io: Io, platform: Platform, end: (code: number) => void): void {
  verb(program, 'serve', 'run the daemon: it supervises partitions, and serves the API and the console')
    .option('--config <file>', 'partitions in YAML, or a folder of such files; read again at SIGHUP')
    .option('--listen <[host:]port>', 'listen on TCP, too; 127.0.0.1 and 7443 by default')
    .option('--tls-cert <file>', 'its certificate, PEM')
    .option('--tls-key <file>', "the certificate's key, PEM")
    .option('--tls-self-signed', 'a certificate of its own making, in the state folder')
    .option('--token-file <file>', 'what callers must know; made where it is missing; by default in the state folder')
    .option('--allow-host <name>', 'another name by which it may be called', collect)
    .option('--guests-on-exit <leave|stop>', 'leave: guests go on without the daemon, by default')
    .option('-q, --quiet', 'say nothing of what is well')
    .addHelpText('after', serveExamples)
    .action(async (flags: ServeFlags) => end(await (await import('./serve.ts')).serve(io, platform, flags)));

  verb(program, 'console', "open the daemon's web console: prints a link that is good once, and serves it")
    .option('--port <port>', `of the loopback address; 0: any that is free; ${consolePort} by default`)
    .option('-q, --quiet', 'no hints')
    .action(async (flags: WebConsoleFlags) =>
      end(await (await import('./web-console.ts')).webConsole(io, { port: String(consolePort), ...flags })),
    );

  verb(program, 'apply', 'make partitions what files say, and have them run')
    .requiredOption('-f, --file <file>', 'partitions in YAML, or a folder of such files', collect)
    .action(async ({ file }: { file: readonly string[] }) =>
      end(await (await import('./serve.ts')).apply(io, platform, file)),
    );
}

const serveExamples = `
Without it, every verb works, and nobody restarts what ended.

Examples:
  kage serve                                      on a unix socket, for you alone
  kage serve --config partitions.yaml
  kage serve --listen 7443 --tls-self-signed      over TCP, for who knows the token`;

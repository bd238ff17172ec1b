/** `kage serve`, the daemon, until it is told to end; and `kage apply`, which declares what a file says. */
import { join } from 'node:path';
import { OperatorError } from '../base/errors.ts';
import type { Client } from '../client/index.ts';
import {
  connectDaemon,
  Daemon,
  type DaemonOptions,
  readToken,
  selfSignedFiles,
  stateFolder,
  type TcpOptions,
} from '../daemon/index.ts';
import { failureLine } from './failure.ts';
import type { Io, Platform } from './io.ts';
import { localOptions, withApi } from './partition-api.ts';
import { type Declaration, readPartitionFiles } from './partition-file.ts';
import { parseCount } from './values.ts';

/** As commander hands them over. */
export interface ServeFlags {
  readonly config?: string;
  readonly listen?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsSelfSigned?: boolean;
  readonly tokenFile?: string;
  readonly allowHost?: readonly string[];
  readonly guestsOnExit?: string;
  readonly quiet?: boolean;
}

const DEFAULT_PORT = 7443;

export async function serve(io: Io, platform: Platform, flags: ServeFlags): Promise<number> {
  const { guestsOnExit: guests = 'leave' } = flags;
  if (guests !== 'leave' && guests !== 'stop')
    throw new OperatorError('bad-usage', `--guests-on-exit ${guests} is not possible`, 'Choose leave or stop');
  const declared = flags.config === undefined ? [] : readPartitionFiles(flags.config);
  const say = (line: string): void => {
    if (flags.quiet !== true) io.stderr.write(`kage: ${line}\n`);
  };
  const daemon = await Daemon.start(daemonOptions(io, platform, flags));
  try {
    for (const address of daemon.addresses) say(`listening on ${address}`);
    // The path of the socket is the first, for this user.
    const client = connectDaemon({ kind: 'unix', path: daemon.addresses[0] ?? '' });
    await declareAll(io, client, declared, say);
    const stopListening = io.onHangUp?.(() => {
      say('reading the configuration again');
      reload(io, client, flags.config, say);
    });
    if (!io.signal.aborted)
      await new Promise((resolve) => io.signal.addEventListener('abort', resolve, { once: true }));
    stopListening?.();
    say(guests === 'stop' ? 'ending, with its guests' : 'ending; guests go on');
  } finally {
    await daemon.stop({ guests });
  }
  return 0;
}

function daemonOptions(io: Io, platform: Platform, flags: ServeFlags): DaemonOptions {
  const debug = io.environment['KAGE_DEBUG'] !== undefined;
  const tcp = tcpOptions(flags);
  return {
    ...localOptions(io, platform),
    failed: (error) => io.stderr.write(`${failureLine(error, debug)}\n`),
    ...(tcp === undefined ? {} : { tcp }),
    ...(platform.consolePages === undefined ? {} : { pages: platform.consolePages }),
  };
}

function tcpOptions(flags: ServeFlags): TcpOptions | undefined {
  const { listen, tlsCert, tlsKey, tokenFile, allowHost = [] } = flags;
  if (listen === undefined) {
    const given = tlsCert ?? tlsKey ?? tokenFile ?? allowHost[0];
    if (given === undefined) return undefined;
    throw new OperatorError('bad-usage', 'a certificate and a token are for TCP', 'Say where with --listen HOST:PORT');
  }
  const [, host = '', port] = /^(?:\[?([^\]]*?)\]?:)?(\d+)?$/.exec(listen) ?? [];
  const where = host === '' ? '127.0.0.1' : host;
  return {
    host: where,
    port: port === undefined ? DEFAULT_PORT : parseCount(port, '--listen', 0, 65_535),
    ...tlsFiles(flags, [where, ...allowHost]),
    token: readToken(tokenFile ?? join(stateFolder(), 'token')),
    allowedHosts: allowHost,
  };
}

function tlsFiles({ tlsCert, tlsKey, tlsSelfSigned }: ServeFlags, hosts: readonly string[]) {
  if (tlsCert !== undefined && tlsKey !== undefined) return { certificateFile: tlsCert, keyFile: tlsKey };
  if (tlsSelfSigned && tlsCert === undefined && tlsKey === undefined) return selfSignedFiles(stateFolder(), hosts);
  throw new OperatorError(
    'bad-usage',
    'over TCP the daemon speaks TLS alone',
    'Give --tls-cert FILE and --tls-key FILE, or --tls-self-signed',
  );
}

/** A file that is wrong now leaves everything as it is. */
function reload(io: Io, client: Client, config: string | undefined, say: (line: string) => void): void {
  if (config === undefined) return;
  try {
    void declareAll(io, client, readPartitionFiles(config), say);
  } catch (error) {
    io.stderr.write(`${failureLine(error)}\n`);
  }
}

/** One that cannot be had does not keep the others from it. */
async function declareAll(
  io: Io,
  client: Client,
  all: readonly Declaration[],
  say: (line: string) => void,
): Promise<boolean> {
  let isWhole = true;
  for (const { name, ...request } of all) {
    try {
      const { change } = await client.declarePartition(name, request, { signal: io.signal });
      say(`${name} ${change}`);
    } catch (error) {
      if (io.signal.aborted) return false;
      isWhole = false;
      io.stderr.write(`${failureLine(error)}\n`);
    }
  }
  return isWhole;
}

export async function apply(io: Io, platform: Platform, files: readonly string[]): Promise<number> {
  const all = files.flatMap((file) => readPartitionFiles(file));
  return await withApi(io, platform, async (client) => {
    const isWhole = await declareAll(io, client, all, (line) => io.stdout.write(`${line}\n`));
    return isWhole ? 0 : 125;
  });
}

/** `kage net`: which path the guests' interfaces take, through a machine's control socket. */
import { createWriteStream } from 'node:fs';
import { resolve } from 'node:path';
import { HostError, OperatorError } from '../base/errors.ts';
import { connectMachine, HostSwitch, type NetChange, type NetReport, type PathEvent } from '../host/index.ts';
import { parseNetdevOptions } from '../network/index.ts';
import type { Io } from './io.ts';
import { type Format, print, table } from './output.ts';
import { parseCount, parseFailback, parseNetdev, parseSwitch } from './values.ts';

const EVENTS_EACH_MS = 200;
const MOST_SNAP_BYTES = 262_144;

export async function listNet(io: Io, name: string, format: Format): Promise<number> {
  await using machine = await connectMachine(name);
  const report = await machine.net();
  print(io, format, report, () => reportText(report));
  return 0;
}

/** Resolves when the table is changed. */
export async function changeNet(name: string, change: NetChange): Promise<number> {
  await using machine = await connectMachine(name);
  await machine.changeNet(change);
  return 0;
}

export async function addUplink(name: string, netdev: string): Promise<number> {
  return await changeNet(name, { action: 'add', netdev: parseNetdevOptions(netdev) });
}

export async function setFailover(name: string, value: string): Promise<number> {
  return await changeNet(name, { action: 'failover', on: parseSwitch(value, 'failover') });
}

/** What happened; with `follow` until the machine ends, or the command is interrupted. */
export async function netEvents(
  io: Io,
  name: string,
  { follow, format }: { readonly follow?: boolean; readonly format: Format },
): Promise<number> {
  await using machine = await connectMachine(name);
  if (follow !== true) {
    const events = await machine.netEvents();
    print(io, format, events, () => events.map(eventLine).join(''));
    return 0;
  }
  const line = lineOf(format);
  let news = await machine.netEvents();
  let since = 0;
  await untilGone(async () => {
    do {
      io.stdout.write(news.map(line).join(''));
      since = news.at(-1)?.sequence ?? since;
      await pause(io.signal);
      news = await machine.netEvents(since);
    } while (!io.signal.aborted);
  });
  return 0;
}

/** A machine that ends takes its conversation with it: that is the end, and no failure. */
async function untilGone(body: () => Promise<unknown>): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof HostError && error.code === 'machine-gone')) throw error;
  }
}

export interface SwitchFlags {
  readonly netdev?: readonly string[];
  readonly failback?: string;
  readonly pathFailover?: string;
  readonly format: Format;
}

/** Serves a switch for the machines of the host until the command is interrupted; prints what happens to paths. */
export async function serveSwitch(io: Io, listen: string, flags: SwitchFlags): Promise<number> {
  const [, host, port] = /^(?:([^/:]*):)?(\d+)$/.exec(listen) ?? [];
  const address = host === undefined || host === '' ? {} : { host };
  const netdevs = (flags.netdev ?? []).flatMap((value) => parseNetdev(value).netdev ?? []);
  await using served = await HostSwitch.start({
    listen: port === undefined ? { path: resolve(listen) } : { ...address, port: Number(port) },
    netdevs,
    ...(flags.failback === undefined ? {} : { failback: parseFailback(flags.failback) }),
    ...(flags.pathFailover === undefined ? {} : { failover: parseSwitch(flags.pathFailover, '--path-failover') }),
  });
  const line = lineOf(flags.format);
  let since = 0;
  while (!io.signal.aborted) {
    for (const event of served.paths.events(since)) {
      since = event.sequence;
      io.stdout.write(line(event));
    }
    await pause(io.signal);
  }
  return 0;
}

function lineOf(format: Format): (event: PathEvent) => string {
  return format === 'json' ? (event) => `${JSON.stringify(event)}\n` : eventLine;
}

export interface CaptureFlags {
  readonly write?: string;
  readonly snaplen?: string;
}

/** Writes pcapng until the machine ends, or the command is interrupted. */
export async function capture(io: Io, name: string, port: string | undefined, flags: CaptureFlags): Promise<number> {
  const snapBytes =
    flags.snaplen === undefined ? undefined : parseCount(flags.snaplen, '--snaplen', 0, MOST_SNAP_BYTES) || undefined;
  const toFile = flags.write !== undefined && flags.write !== '-';
  if (!toFile && 'isTTY' in io.stdout && io.stdout.isTTY === true)
    throw new OperatorError('bad-usage', 'frames are not for a terminal', 'Write them to a file: -w web.pcapng');
  await using machine = await connectMachine(name);
  const file = toFile ? createWriteStream(flags.write ?? '') : undefined;
  const failed = Promise.withResolvers<never>();
  file?.once('error', (cause) =>
    failed.reject(new OperatorError('file-not-written', `${flags.write} cannot be written`, 'Name another', { cause })),
  );
  const out = file ?? io.stdout;
  const options = { ...(port === undefined ? {} : { port }), ...(snapBytes === undefined ? {} : { snapBytes }) };
  try {
    const frames = untilGone(() => machine.capture(options, (bytes) => void out.write(bytes), io.signal));
    await Promise.race([frames, failed.promise]);
  } finally {
    if (file !== undefined) await new Promise<void>((resolve) => file.end(() => resolve()));
  }
  return 0;
}

async function pause(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, EVENTS_EACH_MS);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done, { once: true });
  });
}

function reportText({ failover, interfaces, uplinks }: NetReport): string {
  const time = (wallMs: number): string => new Date(wallMs).toISOString().slice(0, 19);
  const mapped = table(
    ['interface', 'network', 'mac', 'in force', 'since', 'uplinks', 'fail-back', 'why'],
    interfaces.map((one) => [
      one.name,
      one.network,
      one.mac ?? '(learned)',
      one.inForce ?? '(no carrier)',
      time(one.sinceWallMs),
      one.uplinks.join(','),
      one.failback,
      one.why,
    ]),
  );
  const links = table(
    ['uplink', 'kind', 'network', 'condition', 'probes', 'sent', 'received', 'failures', 'carries'],
    uplinks.map((one) => [
      one.name,
      one.kind,
      one.network,
      one.condition,
      one.targets.length > 0 ? `${one.probing} ${one.targets.join(',')}` : one.probing,
      String(one.counters.framesOut),
      String(one.counters.framesIn),
      String(one.counters.failures),
      one.interfaces.join(','),
    ]),
  );
  return `${mapped}\n${links}${failover ? '' : '\nPath failover is off.\n'}`;
}

function eventLine({ wallMs, kind, subject, from, to, cause }: PathEvent): string {
  const ends = [from === undefined ? '' : ` from ${from}`, to === undefined ? '' : ` to ${to}`].join('');
  return `${new Date(wallMs).toISOString()}  ${kind.padEnd(17)} ${subject}${ends}: ${cause}\n`;
}

export const netHelp = `
A guest's interface has uplinks in an order; one of them is in force. When that one fails, the next that is well is,
and the segment is told; when the last one fails, the guest's carrier is gone. Names without a guest's in front are
those of NAME.

Examples:
  kage net ls web
  kage net map web net0 lan1 lan0           lan1 from now on, lan0 if that fails
  kage net prefer web net0 lan0             that one first, and now
  kage net add web macvtap,ifname=mt2,network=web && kage net map web net0 mt2 lan0
  kage net events web --follow
  kage net capture web net0 -w web.pcapng   or: kage net capture web | wireshark -k -i -
  kage net failover web off                 for measuring
  kage net switch /run/lan.sock --netdev macvtap,ifname=mt0 --netdev macvtap,ifname=mt1
                                            for machines with -netdev stream,addr.type=unix,addr.path=/run/lan.sock

docs/mechanisms/network-paths.md says more.`;

/** `kage gate`: fencing on the storage's side of the wire, in front of an NBD server; and how it is told. */
import { resolve } from 'node:path';
import { OperatorError } from '../base/errors.ts';
import { fenceAtGate, GateControl, gateControl, gateStatus, StorageGate } from '../host/index.ts';
import type { Io } from './io.ts';
import { type Format, print, table } from './output.ts';
import { parseCount, parseDuration } from './values.ts';

const DEFAULT_TIMEOUT_MS = 30_000;

export const gateHelp = `
The server behind is reached by the gate alone: give it a socket that nobody else may open. Clients name an
export and their generation, EXPORT@GENERATION; an export may be used once it was fenced for the first time.

Example:
  qemu-nbd -t -e 0 -x disk0 -k /srv/behind.sock -f qcow2 disk0.qcow2
  kage gate --listen 'nbd+unix:///?socket=/srv/gate.sock' --upstream 'nbd+unix:///?socket=/srv/behind.sock' --state /srv/gate
  kage gate fence disk0 7 --state /srv/gate
  kage run --drive 'file=nbd+unix:///disk0@7?socket=/srv/gate.sock'

Between hosts (a folder of certificates has ca.pem, cert.pem, key.pem):
  kage gate --listen nbds://0.0.0.0 --control tls:0.0.0.0:10810 --tls /etc/kage --upstream ... --state /srv/gate
  kage gate fence disk0 7 --gate tls:10.0.0.9:10810 --tls /etc/kage
  kage run --drive 'file=nbds://10.0.0.9/disk0@7?tls-certificates=/etc/kage'`;

export interface GateFlags {
  readonly listen: string;
  readonly upstream: string;
  readonly state: string;
  readonly mostConnections?: string;
  readonly control?: string;
  readonly tls?: string;
}

/** Serves until it is told to end. */
export async function serveGate(io: Io, flags: GateFlags): Promise<number> {
  const stateFolder = resolve(flags.state);
  await using gate = await StorageGate.open({
    ...{ listen: flags.listen, upstream: flags.upstream, stateFolder, ...tlsOf(flags) },
    ...(flags.mostConnections === undefined
      ? {}
      : { mostConnections: parseCount(flags.mostConnections, '--most-connections', 1, 10_000) }),
  });
  await using _local = await GateControl.open(gate, gateControl(stateFolder));
  await using far = flags.control === undefined ? undefined : await GateControl.open(gate, flags.control, tlsOf(flags));
  const port = gate.port === undefined ? '' : ` (port ${gate.port})`;
  io.stdout.write(
    `the gate is at ${flags.listen}${port}\n${far === undefined ? '' : `it is told at ${far.address}\n`}`,
  );
  if (!io.signal.aborted)
    await new Promise<void>((end) => io.signal.addEventListener('abort', () => end(), { once: true }));
  return 0;
}

interface CallFlags {
  readonly state?: string;
  readonly gate?: string;
  readonly tls?: string;
}

export interface FenceFlags extends CallFlags {
  readonly timeout?: string;
  readonly format: Format;
}

/** Resolves when nothing older changes the disk any more. */
export async function fence(io: Io, exportName: string, generation: string, flags: FenceFlags): Promise<number> {
  const timeoutMs = flags.timeout === undefined ? DEFAULT_TIMEOUT_MS : parseDuration(flags.timeout, '--timeout');
  const number = parseCount(generation, 'generation', 0, Number.MAX_SAFE_INTEGER);
  const result = await fenceAtGate(whichGate(flags), exportName, number, { ...tlsOf(flags), timeoutMs });
  const how =
    result.proof === 'answered' ? 'has answered all older writes' : 'was lost meanwhile, and has flushed since';
  print(io, flags.format, result, () => `${exportName}: from generation ${number} on; the server ${how}\n`);
  return 0;
}

export interface ShowGateFlags extends CallFlags {
  readonly format: Format;
}

export async function showGate(io: Io, flags: ShowGateFlags): Promise<number> {
  const report = await gateStatus(whichGate(flags), { ...tlsOf(flags), timeoutMs: DEFAULT_TIMEOUT_MS });
  print(io, flags.format, report, () => {
    const rows = report.exports.map((one) => [one.name, String(one.generation), String(one.connections)]);
    return `${table(['export', 'generation', 'connections'], rows)}refused: ${report.refused}\n`;
  });
  return 0;
}

function whichGate({ state, gate }: CallFlags): string {
  if (state !== undefined && gate === undefined) return gateControl(state);
  if (gate !== undefined && state === undefined) return gate;
  throw new OperatorError(
    'bad-usage',
    'one gate is told',
    'Write --state FOLDER, or --gate tls:HOST:PORT with --tls FOLDER.',
  );
}

function tlsOf({ tls }: { readonly tls?: string }): { readonly tls?: string } {
  return tls === undefined ? {} : { tls };
}

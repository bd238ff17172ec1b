/** `kage gate`: fencing on the storage's side of the wire, in front of an NBD server; and how it is told. */
import { resolve } from 'node:path';
import { fenceAtGate, GateControl, gateStatus, StorageGate } from '../host/index.ts';
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
  kage run --drive 'file=nbd+unix:///disk0@7?socket=/srv/gate.sock'`;

export interface GateFlags {
  readonly listen: string;
  readonly upstream: string;
  readonly state: string;
  readonly mostConnections?: string;
}

/** Serves until it is told to end. */
export async function serveGate(io: Io, flags: GateFlags): Promise<number> {
  const stateFolder = resolve(flags.state);
  await using gate = await StorageGate.open({
    ...{ listen: flags.listen, upstream: flags.upstream, stateFolder },
    ...(flags.mostConnections === undefined
      ? {}
      : { mostConnections: parseCount(flags.mostConnections, '--most-connections', 1, 10_000) }),
  });
  await using _control = await GateControl.open(gate, stateFolder);
  const port = gate.port === undefined ? '' : ` (port ${gate.port})`;
  io.stdout.write(`the gate is at ${flags.listen}${port}\n`);
  if (!io.signal.aborted)
    await new Promise<void>((end) => io.signal.addEventListener('abort', () => end(), { once: true }));
  return 0;
}

export interface FenceFlags {
  readonly state: string;
  readonly timeout?: string;
  readonly format: Format;
}

/** Resolves when nothing older changes the disk any more. */
export async function fence(io: Io, exportName: string, generation: string, flags: FenceFlags): Promise<number> {
  const timeoutMs = flags.timeout === undefined ? DEFAULT_TIMEOUT_MS : parseDuration(flags.timeout, '--timeout');
  const number = parseCount(generation, 'generation', 0, Number.MAX_SAFE_INTEGER);
  const result = await fenceAtGate(resolve(flags.state), exportName, number, { timeoutMs });
  const how =
    result.proof === 'answered' ? 'has answered all older writes' : 'was lost meanwhile, and has flushed since';
  print(io, flags.format, result, () => `${exportName}: from generation ${number} on; the server ${how}\n`);
  return 0;
}

export async function showGate(io: Io, flags: { readonly state: string; readonly format: Format }): Promise<number> {
  const report = await gateStatus(resolve(flags.state), { timeoutMs: DEFAULT_TIMEOUT_MS });
  print(io, flags.format, report, () => {
    const rows = report.exports.map((one) => [one.name, String(one.generation), String(one.connections)]);
    return `${table(['export', 'generation', 'connections'], rows)}refused: ${report.refused}\n`;
  });
  return 0;
}

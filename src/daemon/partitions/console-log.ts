/** What a partition's console said: from its machine's record, or, where there is none, from the machine itself. */
import { followLog, type RemoteMachine, readLogTail } from '../../host/index.ts';
import { attached } from './attached.ts';

export interface LogOptions {
  /** Lines from the end; all by default. */
  readonly tail?: number;
  readonly follow?: boolean;
}

export interface LogSource {
  /** Of a machine that runs. */
  reach?(): Promise<RemoteMachine>;
  /** Whether more may be said. */
  goesOn(): Promise<boolean>;
  readonly signal: AbortSignal;
}

/** Bytes, as they come. `home`: of the record. */
export async function consoleLog(
  home: string,
  options: LogOptions,
  source: LogSource,
): Promise<AsyncIterable<Uint8Array>> {
  const { tail = Number.POSITIVE_INFINITY, follow = false } = options;
  const kept = readLogTail(home, tail);
  if (kept === undefined && source.reach !== undefined)
    return await liveLog(await source.reach(), options, source.signal);
  if (!follow) return once(kept ?? new Uint8Array());
  return followLog(home, tail, () => source.goesOn(), source.signal);
}

/** Of a machine without a record: what it holds itself. */
async function liveLog(
  machine: RemoteMachine,
  { tail, follow }: LogOptions,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  if (follow) return attached(machine, signal);
  await using open = machine;
  const history = Buffer.from(await open.consoleHistory()).toString('latin1');
  const lines = history.split(/(?<=\n)/);
  return once(Buffer.from(lines.slice(tail === undefined ? 0 : Math.max(0, lines.length - tail)).join(''), 'latin1'));
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

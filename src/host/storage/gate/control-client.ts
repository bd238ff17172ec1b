/** Tells a gate, through its control socket (control.ts). */
import { connect } from 'node:net';
import { HostError, OperatorError } from '../../../base/errors.ts';
import { controlPath, linesOf } from './control.ts';
import type { FenceResult, GateReport } from './gate.ts';

/** A status of very many exports. */
const ANSWER_BYTES_MAX = 256 << 20;

interface Answer {
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string; readonly fix?: string };
}

export interface GateCall {
  /** How long the answer may take; without end by default. */
  readonly timeoutMs?: number;
}

/**
 * Refuses generations of the export below `generation`, for good; resolves when all that they sent is over. Throws what
 * `StorageGate.fence` does, OperatorError `gate-unreachable`, or HostError `gate-unanswered`: it may be in force, ask again.
 */
export async function fenceAtGate(
  stateFolder: string,
  exportName: string,
  generation: number,
  call: GateCall = {},
): Promise<FenceResult> {
  return (await ask(stateFolder, { method: 'fence', params: { export: exportName, generation } }, call)) as FenceResult;
}

/** Throws OperatorError `gate-unreachable`, HostError `gate-unanswered`. */
export async function gateStatus(stateFolder: string, call: GateCall = {}): Promise<GateReport> {
  return (await ask(stateFolder, { method: 'status' }, call)) as GateReport;
}

async function ask(stateFolder: string, request: object, { timeoutMs }: GateCall): Promise<unknown> {
  const path = controlPath(stateFolder);
  const socket = connect(path);
  let isConnected = false;
  let isLate = false;
  socket.once('connect', () => {
    isConnected = true;
    socket.write(`${JSON.stringify({ id: 1, ...request })}\n`);
  });
  const late = (): void => {
    isLate = true;
    socket.destroy();
  };
  const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
  try {
    for await (const line of linesOf(socket, ANSWER_BYTES_MAX)) return resultOf(JSON.parse(line) as Answer);
    throw unanswered(isLate);
  } catch (cause) {
    if (cause instanceof OperatorError || cause instanceof HostError) throw cause;
    if (isConnected) throw unanswered(isLate, cause);
    throw new OperatorError(
      'gate-unreachable',
      `no gate answers at ${path}`,
      'Start it: kage gate --state FOLDER ...',
      {
        cause,
      },
    );
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

function resultOf({ result, error }: Answer): unknown {
  if (error === undefined) return result;
  if (error.fix !== undefined) throw new OperatorError(error.code, error.message, error.fix);
  throw new HostError(error.code, error.message);
}

function unanswered(isLate: boolean, cause?: unknown): HostError {
  const why = isLate ? 'has not answered in time: what was asked for may be in force' : 'has gone without an answer';
  return new HostError('gate-unanswered', `the gate ${why}`, { cause });
}

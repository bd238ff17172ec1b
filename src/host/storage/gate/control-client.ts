/** Tells a gate, of this host or another (control.ts). */
import type { Socket } from 'node:net';
import { HostError, OperatorError } from '../../../base/errors.ts';
import { connectStream } from '../../streams/index.ts';
import { CONTROL_VERSION, linesOf, parseControl } from './control.ts';
import type { FenceResult, GateReport } from './gate.ts';

/** A status of very many exports. */
const ANSWER_BYTES_MAX = 256 << 20;
/** To be there and take us; what is asked for then may take longer. */
const REACHED_WITHIN_MS = 5000;

/** What a timer of Node takes. */
const TIMER_MS_MAX = 2 ** 31 - 1;

interface Answer {
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string; readonly fix?: string };
}

export interface GateCall {
  /** The folder of our certificates (ca.pem, cert.pem, key.pem), for `tls:HOST:PORT`. */
  readonly tls?: string;
  /** How long all of it may take. By default what was asked for has no end; the gate has 5 s to be there. */
  readonly timeoutMs?: number;
}

/**
 * Refuses generations of the export below `generation`, for good; resolves when all that they sent is over. `gate`: `unix:PATH`
 * (`gateControl(stateFolder)`), or `tls:HOST:PORT`. Throws what `StorageGate.fence` does; OperatorError `bad-usage`, `gate-unreachable`:
 * it was not asked; or HostError `gate-unanswered`: it may be in force. Either way it may be asked again.
 */
export async function fenceAtGate(
  gate: string,
  exportName: string,
  generation: number,
  call: GateCall = {},
): Promise<FenceResult> {
  return (await ask(gate, { method: 'fence', params: { export: exportName, generation } }, call)) as FenceResult;
}

/** Throws OperatorError `bad-usage`, `gate-unreachable`, HostError `gate-unanswered`. */
export async function gateStatus(gate: string, call: GateCall = {}): Promise<GateReport> {
  return (await ask(gate, { method: 'status' }, call)) as GateReport;
}

async function ask(gate: string, request: object, { tls, timeoutMs }: GateCall): Promise<unknown> {
  const address = parseControl(gate);
  const until = performance.now() + (timeoutMs ?? Number.POSITIVE_INFINITY);
  const reachedWithinMs = Math.min(REACHED_WITHIN_MS, timeoutMs ?? REACHED_WITHIN_MS);
  const socket = await connectStream(address, tls, reachedWithinMs).catch((cause: unknown) => {
    throw cause instanceof OperatorError ? cause : unreachable(gate, cause);
  });
  socket.on('error', () => {});
  const answers = new Answers(socket);
  try {
    // Of a gate that does not take us, or does not answer at all, it is known then that it has not heard what is asked for.
    const hello = await answers.to(1, { method: 'hello' }, reachedWithinMs).catch((cause: unknown) => {
      throw unreachable(gate, cause);
    });
    const { version } = (hello.result ?? {}) as { version?: unknown };
    if (version !== CONTROL_VERSION) throw unreachable(gate, new Error(`it speaks version ${String(version)}`));
    const answer = await answers.to(2, request, until - performance.now()).catch((cause: unknown) => {
      throw unanswered(cause);
    });
    return resultOf(answer);
  } finally {
    socket.destroy();
  }
}

/** One request at a time. */
class Answers {
  readonly #socket: Socket;
  readonly #lines: AsyncGenerator<string>;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#lines = linesOf(socket, ANSWER_BYTES_MAX);
  }

  /** Rejects where none comes, or not in time; then the connection is of no use any more. */
  async to(id: number, request: object, withinMs: number): Promise<Answer> {
    let isLate = false;
    const late = (): void => {
      isLate = true;
      this.#socket.destroy();
    };
    const timer = Number.isFinite(withinMs)
      ? setTimeout(late, Math.min(Math.max(0, withinMs), TIMER_MS_MAX))
      : undefined;
    try {
      this.#socket.write(`${JSON.stringify({ id, ...request })}\n`);
      const { value } = await this.#lines.next();
      if (typeof value !== 'string') throw new Error('it has closed the connection');
      return answerOf(id, value);
    } catch (cause) {
      throw isLate ? new Error('it has not answered in time', { cause }) : cause;
    } finally {
      clearTimeout(timer);
    }
  }
}

function answerOf(id: number, line: string): Answer {
  const answer = JSON.parse(line) as Partial<Answer & { readonly id: number }> | null;
  if (typeof answer !== 'object' || answer?.id !== id) throw new Error('it answers something else');
  return answer;
}

function resultOf({ result, error }: Answer): unknown {
  if (error === undefined) return result;
  if (error.fix !== undefined) throw new OperatorError(error.code, error.message, error.fix);
  throw new HostError(error.code, error.message);
}

function unreachable(gate: string, cause: unknown): OperatorError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new OperatorError(
    'gate-unreachable',
    `no gate answers at ${gate}: ${why}`,
    gate.startsWith('tls:')
      ? 'Start it there (kage gate --control tls:HOST:PORT --tls FOLDER), and see that both certificates are of one authority.'
      : 'Start it: kage gate --state FOLDER ...',
    { cause },
  );
}

function unanswered(cause: unknown): HostError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new HostError('gate-unanswered', `the gate was asked, and what for may be in force: ${why}`, { cause });
}

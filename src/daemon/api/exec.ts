/** One command in a guest, its output gathered: for callers who want an answer, not a conversation. */
import type * as z from 'zod';
import { OperatorError } from '../../base/errors.ts';
import type { RemoteMachine } from '../../host/index.ts';
import type { execRequest, execResult } from '../schemas/problem.ts';

const MOST_OUTPUT = 1 << 20;

type Request = z.infer<typeof execRequest>;

export async function runCommand(
  machine: RemoteMachine,
  request: Request,
  signal: AbortSignal,
): Promise<z.infer<typeof execResult>> {
  await readyWithin(machine, request.waitMs, signal);
  const [stdout, stderr] = [new Gathered(), new Gathered()];
  const { code } = await machine.exec(request.argv, {
    ...optionsOf(request),
    ...(request.stdin === undefined ? {} : { stdin: Buffer.from(request.stdin, 'base64') }),
    onStdout: (bytes) => stdout.add(bytes),
    onStderr: (bytes) => stderr.add(bytes),
    signal,
  });
  return { code, stdout: stdout.text, stderr: stderr.text, truncated: stdout.isFull || stderr.isFull };
}

export function optionsOf({ environment, workingFolder }: Pick<Request, 'environment' | 'workingFolder'>) {
  return {
    ...(environment === undefined ? {} : { environment }),
    ...(workingFolder === undefined ? {} : { workingFolder }),
  };
}

/** Errors: `agent-not-ready`. Leaves when the caller does. */
export async function readyWithin(
  machine: RemoteMachine,
  waitMs: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer =
    waitMs === undefined
      ? undefined
      : setTimeout(() => {
          const fix = 'Wait longer, or see what its console says: "kage logs NAME"';
          late.reject(
            new OperatorError('agent-not-ready', `the guest's agent did not answer within ${waitMs} ms`, fix),
          );
        }, waitMs);
  const left = (): void => late.reject(signal.reason);
  signal.addEventListener('abort', left, { once: true });
  if (signal.aborted) left();
  const ready = machine.ready();
  ready.catch(() => {}); // whoever is late has been told
  try {
    await Promise.race([ready, late.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', left);
  }
}

class Gathered {
  readonly #pieces: Uint8Array[] = [];
  #bytes = 0;
  isFull = false;

  add(bytes: Uint8Array): void {
    const room = MOST_OUTPUT - this.#bytes;
    if (bytes.length > room) this.isFull = true;
    if (room > 0) this.#pieces.push(bytes.subarray(0, room));
    this.#bytes += Math.min(room, bytes.length);
  }

  get text(): string {
    return Buffer.concat(this.#pieces).toString('base64');
  }
}

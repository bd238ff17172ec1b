/** Bytes of a conversation that a machine's process pushes, for one who pulls them; bounded, and closed behind him. */
import { HostError } from '../../base/errors.ts';
import type { RemoteMachine } from '../../host/index.ts';

/** Who is so far behind is cut off: the machine's process must not wait for him. */
const MOST_BYTES = 8 << 20;

/** The console: what it said lately, and what it says, until the machine ends or the signal aborts. */
export function attached(machine: RemoteMachine, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  return pushed(machine, (take, end) => machine.attach(take, end), signal);
}

/** `begin`: calls back with bytes until its promise settles or its signal aborts. The machine is disposed of at the end. */
export async function* pushed(
  machine: RemoteMachine,
  begin: (take: (bytes: Uint8Array) => void, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const left = new AbortController();
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  let wake = (): void => {};
  let failure: unknown;
  let isOver = false;
  const over = (error?: unknown): void => {
    isOver = true;
    failure ??= error;
    wake();
  };
  const onAbort = (): void => left.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  begin((piece) => {
    if (isOver) return;
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > MOST_BYTES) {
      over(new HostError('too-slow', 'what was asked for is not read fast enough'));
      left.abort();
    } else wake();
  }, left.signal).then(() => over(), over);
  try {
    for (;;) {
      const piece = pieces.shift();
      if (piece !== undefined) {
        bytes -= piece.length;
        yield piece;
      } else if (isOver) {
        if (failure !== undefined && !signal.aborted) throw failure;
        return;
      } else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    left.abort();
    await machine[Symbol.asyncDispose]();
  }
}

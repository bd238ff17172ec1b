/**
 * The gdb stub's TCP side: listens on the loopback address alone (whoever connects owns the guest), for one debugger
 * at a time. Another one that connects meanwhile is turned away.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { HostError, OperatorError } from '../../base/errors.ts';
import type { DebugTarget } from './debug-target.ts';
import { GdbSession } from './session.ts';

/** A debugger that does not read any more is waited for no longer than this. */
const LAST_WORDS_MS = 1000;

export interface GdbServer extends AsyncDisposable {
  /** The port, also where 0 was asked for. */
  readonly port: number;
  close(): Promise<void>;
}

/** Listens on 127.0.0.1:`port` (0: any free one). Errors: `port-in-use`, `port-not-permitted`. */
export async function listenForGdb(target: DebugTarget, port: number, description: string): Promise<GdbServer> {
  let current: Socket | undefined;
  const server = createServer((socket) => {
    if (current !== undefined) {
      socket.destroy();
      return;
    }
    current = socket;
    socket.setNoDelay(true);
    const session = new GdbSession(
      target,
      { write: (bytes) => void socket.write(bytes), close: () => socket.end() },
      description,
    );
    socket.on('data', (bytes: Buffer) => session.onData(bytes));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      session.onClose().finally(() => {
        current = undefined;
      });
    });
  });
  await listen(server, port);
  const address = server.address();
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    server.close();
    const closed = once(server, 'close');
    // What the debugger waits for (the machine has ended) is still being said, and leaves before the connection ends.
    await new Promise((resolve) => setImmediate(resolve));
    current?.destroySoon();
    const limit = setTimeout(() => current?.destroy(), LAST_WORDS_MS);
    await closed;
    clearTimeout(limit);
  };
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : '';
    const what = `the port 127.0.0.1:${port} for gdb`;
    if (code === 'EADDRINUSE') {
      const fix = 'Choose another one with --gdb, or 0 for any free one';
      throw new OperatorError('port-in-use', `${what} is in use by another program`, fix, { cause });
    }
    if (code === 'EACCES') {
      const fix = 'Choose one of 1024 or above with --gdb';
      throw new OperatorError('port-not-permitted', `${what} may not be bound by this user`, fix, { cause });
    }
    throw new HostError('cannot-listen', `${what} cannot be bound`, { cause });
  }
}

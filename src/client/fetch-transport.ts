/**
 * Calls by `fetch` and `WebSocket`, which pages and Node have alike: for a daemon that listens on TCP. A page cannot set the
 * headers of a WebSocket, so that its token travels as a subprotocol.
 */
import { apiError } from './api-error.ts';
import type { Socket, Transport } from './caller.ts';
import { MessageQueue } from './message-queue.ts';

export interface FetchTransportOptions {
  /** `https://host:7443`; of a page, its own origin by default. */
  readonly url?: string;
  readonly token?: string;
}

/** The subprotocol of consoles and commands; and the one that a token travels as. */
export const SOCKET_PROTOCOL = 'kagemusha.v1';
export const TOKEN_PROTOCOL = 'kagemusha.token.';

export function fetchTransport({ url = originOfPage(), token }: FetchTransportOptions = {}): Transport {
  const base = url.replace(/\/$/, '');
  return {
    request: async ({ method, path, headers, body, signal }) => {
      const response = await fetch(`${base}${path}`, {
        method,
        headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
      });
      return { status: response.status, body: chunks(response.body) };
    },
    connect: async (path, options) => {
      const protocols = [SOCKET_PROTOCOL, ...(token === undefined ? [] : [`${TOKEN_PROTOCOL}${token}`])];
      return await openSocket(new WebSocket(`${base.replace(/^http/, 'ws')}${path}`, protocols), options?.signal);
    },
  };
}

function originOfPage(): string {
  const { location } = globalThis as { readonly location?: { readonly origin: string } };
  if (location === undefined) throw new Error('outside of a page the url of the daemon must be given');
  return location.origin;
}

/** A stream's chunks; leaving the loop cancels the stream, in browsers too that cannot iterate streams. */
async function* chunks(stream: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (stream === null) return;
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {}); // one that ended, or failed, has nothing to cancel
  }
}

/** Resolves when it is open. */
async function openSocket(socket: WebSocket, signal: AbortSignal | undefined): Promise<Socket> {
  socket.binaryType = 'arraybuffer';
  const queue = new MessageQueue();
  socket.addEventListener('message', ({ data }) => {
    queue.push(typeof data === 'string' ? data : new Uint8Array(data as ArrayBuffer));
  });
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve());
    socket.addEventListener('close', ({ code, reason }) => {
      queue.end();
      reject(apiError(code, reason || `the socket could not be opened (${code})`));
    });
    signal?.addEventListener('abort', () => socket.close());
    if (signal?.aborted) socket.close();
  });
  return {
    send: (message) => socket.send(message as string | Uint8Array<ArrayBuffer>),
    messages: () => queue,
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    close: () => socket.close(1000),
  };
}

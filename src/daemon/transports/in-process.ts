/**
 * The API without a daemon: the client's calls go to the application in this very process. So a verb of `kage` is one piece of
 * code, whether or not a daemon runs.
 */
import { MessageQueue, type Socket, type Transport } from '../../client/index.ts';
import { createApp } from '../api/app.ts';
import type { Service } from '../api/service.ts';
import { checkThere, type Peer, type Session, sessions } from '../api/socket-sessions.ts';

const ORIGIN = 'http://kagemusha';

export function inProcessTransport(service: Service): Transport {
  const app = createApp(service);
  return {
    request: async ({ method, path, headers, body, signal }) => {
      const request = new Request(`${ORIGIN}${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
      });
      const response = await app.fetch(request);
      return { status: response.status, body: response.body ?? nothing() };
    },
    connect: async (path, options) => {
      const [, name = '', what] = /^\/v1\/partitions\/([^/]+)\/(console|exec)$/.exec(path) ?? [];
      const session: Session = what === 'console' ? sessions.attachConsole : sessions.attachExec;
      await checkThere(service, decodeURIComponent(name));
      const { peer, socket } = pair();
      options?.signal?.addEventListener('abort', () => socket.close(), { once: true });
      void session(service, decodeURIComponent(name), peer);
      return socket;
    },
  };
}

/** Two ends of a socket that is none. */
function pair(): { peer: Peer; socket: Socket } {
  const [toPeer, toSocket] = [new MessageQueue(), new MessageQueue()];
  const gone = new AbortController();
  const close = (): void => {
    toPeer.end();
    toSocket.end();
    gone.abort();
  };
  return {
    peer: {
      send: (message) => toSocket.push(message),
      bufferedBytes: 0,
      messages: () => toPeer,
      close,
      gone: gone.signal,
    },
    socket: { send: (message) => toPeer.push(message), messages: () => toSocket, bufferedBytes: 0, close },
  };
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/** The client's calls from Node: over the daemon's unix socket, or over TLS with a token, and a certificate of one's own. */
import { type ClientRequest, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { HostError, OperatorError } from '../../base/errors.ts';
import { apiError, MessageQueue, SOCKET_PROTOCOL, type Socket, type Transport } from '../../client/index.ts';
import { daemonSocketName, runtimeFolder } from '../../host/index.ts';

export type DaemonAddress =
  /** The socket of this user's daemon. */
  | { readonly kind: 'user' }
  | { readonly kind: 'unix'; readonly path: string }
  /** `ca`: what its certificate is checked against, in place of the system's authorities. */
  | { readonly kind: 'tls'; readonly url: string; readonly token: string; readonly ca?: string };

type Reachable = Exclude<DaemonAddress, { readonly kind: 'user' }>;

export function nodeTransport(given: DaemonAddress): Transport {
  return {
    request: async ({ method, path, headers, body, signal }) => {
      const address = await found(given);
      const options = {
        method,
        headers: { ...headers, ...authorization(address) },
        ...(signal === undefined ? {} : { signal }),
      };
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        const request = begin(address, path, options);
        request.once('response', resolve);
        request.once('error', (cause) => reject(signal?.aborted ? signal.reason : unreachable(address, cause)));
        request.end(body);
      });
      return { status: answer.statusCode ?? 0, body: answer };
    },
    connect: async (path, options) => await openSocket(await found(given), path, options?.signal),
  };
}

async function found(address: DaemonAddress): Promise<Reachable> {
  if (address.kind !== 'user') return address;
  return { kind: 'unix', path: join(await runtimeFolder(), `${daemonSocketName}.sock`) };
}

function begin(address: Reachable, path: string, options: RequestOptions): ClientRequest {
  if (address.kind === 'unix') return httpRequest({ ...options, socketPath: address.path, path, agent: false });
  return httpsRequest(new URL(path, address.url), {
    ...options,
    ...(address.ca === undefined ? {} : { ca: address.ca }),
    agent: false,
  });
}

function authorization(address: Reachable): Record<string, string> {
  return address.kind === 'unix' ? {} : { authorization: `Bearer ${address.token}` };
}

async function openSocket(address: Reachable, path: string, signal: AbortSignal | undefined): Promise<Socket> {
  signal?.throwIfAborted();
  const url =
    address.kind === 'unix'
      ? `ws+unix:${address.path}:${path}`
      : new URL(path, address.url.replace(/^http/, 'ws')).href;
  const socket = new WebSocket(url, SOCKET_PROTOCOL, {
    headers: authorization(address),
    ...(address.kind === 'tls' && address.ca !== undefined ? { ca: address.ca } : {}),
  });
  const queue = new MessageQueue();
  socket.on('message', (data: Buffer, isBinary) => queue.push(isBinary ? data : data.toString('utf8')));
  socket.on('close', () => queue.end());
  signal?.addEventListener('abort', () => socket.terminate(), { once: true });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.on('error', (cause) => reject(unreachable(address, cause))); // once open, 'close' follows
    socket.once('unexpected-response', (_request, response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () => reject(apiError(response.statusCode ?? 0, Buffer.concat(pieces).toString('utf8'))));
    });
  });
  return {
    send: (message) => socket.send(message),
    messages: () => queue,
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    close: () => socket.close(1000),
  };
}

function unreachable(address: Reachable, cause: Error): Error {
  const where = address.kind === 'unix' ? address.path : address.url;
  const code = 'code' in cause ? cause.code : '';
  if (code === 'ECONNREFUSED' || code === 'ENOENT')
    return new OperatorError('no-daemon', `no daemon listens at ${where}`, 'Start one with "kage serve"', { cause });
  return new HostError('daemon-gone', `the conversation with the daemon at ${where} failed: ${cause.message}`, {
    cause,
  });
}

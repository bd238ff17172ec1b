/**
 * The daemon's listeners: a unix socket, and TCP with TLS. Both feed the same application, behind a guard each; WebSockets
 * are taken out of the stream of requests before. Whoever is slow, sends much or comes in numbers meets a bound.
 */
import { chmod } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions as TlsOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { WebSocketServer } from 'ws';
import { SOCKET_PROTOCOL } from '../../client/index.ts';
import { nameText } from '../schemas/words.ts';
import { createApp, matches } from './app.ts';
import type { SocketOperation } from './calls.ts';
import type { Guard } from './guard.ts';
import { type Pages, securityHeaders } from './pages.ts';
import { problemOf, RequestError } from './problem-of.ts';
import { type Route, routes } from './routes.ts';
import type { Service } from './service.ts';
import { checkThere, sessions } from './socket-sessions.ts';
import { webSocketPeer } from './ws-peer.ts';

const LIMITS = {
  /** Connections of a listener, and of these, WebSockets. */
  connections: 512,
  sockets: 256,
  /** For the head of a request, and for all of it. */
  headersMs: 10_000,
  requestMs: 60_000,
  idleMs: 30_000,
  headBytes: 16 << 10,
  /** Of a WebSocket's message. */
  messageBytes: 1 << 20,
  /** How long an answer may take to go out when the daemon ends. */
  lastWordsMs: 2_000,
} as const;

export interface Listener extends AsyncDisposable {
  /** Where it listens: the socket's path, or an address. */
  readonly address: string;
}

export interface ListenOptions {
  readonly service: Service;
  readonly guard: Guard;
  /** Static files; none by default. */
  readonly pages?: Pages;
}

/** For this user alone. The path must be free. */
export async function listenOnSocket(path: string, options: ListenOptions): Promise<Listener> {
  const server = createServer(SERVER);
  const listener = new HttpListener(server, options);
  await listening(server, () => server.listen(path));
  await chmod(path, 0o600);
  return listener.as(path);
}

export async function listenOnTcp(
  where: { readonly host: string; readonly port: number },
  tls: Pick<TlsOptions, 'cert' | 'key'>,
  options: ListenOptions,
): Promise<Listener> {
  const server = createTlsServer({ ...SERVER, ...tls, minVersion: 'TLSv1.2', handshakeTimeout: LIMITS.headersMs });
  const listener = new HttpListener(server, options);
  await listening(server, () => server.listen(where.port, where.host));
  const { port } = server.address() as AddressInfo;
  return listener.as(`https://${where.host.includes(':') ? `[${where.host}]` : where.host}:${port}`);
}

const SERVER = {
  headersTimeout: LIMITS.headersMs,
  requestTimeout: LIMITS.requestMs,
  keepAliveTimeout: LIMITS.idleMs,
  maxHeaderSize: LIMITS.headBytes,
  connectionsCheckingInterval: 5_000,
} as const;

async function listening(server: Server, listen: () => void): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', resolve);
    listen();
  });
}

class HttpListener {
  readonly #server: Server;
  readonly #options: ListenOptions;
  readonly #answer: (request: IncomingMessage, response: ServerResponse) => void;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: LIMITS.messageBytes,
    handleProtocols: (offered) => (offered.has(SOCKET_PROTOCOL) ? SOCKET_PROTOCOL : false),
  });

  constructor(server: Server, options: ListenOptions) {
    this.#server = server;
    this.#options = options;
    const app = createApp(options.service);
    // The library's own answer to an error would tell of our insides.
    const listener = getRequestListener(app.fetch, {
      overrideGlobalObjects: false,
      errorHandler: (error) => this.#broken(error),
    });
    this.#answer = (request, response) => {
      // What the library cannot make a request of at all, it throws.
      void listener(request, response as never).catch(() => {
        if (response.headersSent) response.destroy();
        else refuse(response, new RequestError(400, 'bad-request', 'the path is none', 'See /v1/openapi.json'));
      });
    };
    server.maxConnections = LIMITS.connections;
    server.on('request', (request, response) => this.#request(request, response));
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    server.on('connect', (_request, socket) => socket.destroy());
  }

  as(address: string): Listener {
    return { address, [Symbol.asyncDispose]: () => this.#close() };
  }

  #request(request: IncomingMessage, response: ServerResponse): void {
    const { guard, pages } = this.#options;
    response.on('error', () => {}); // whoever asked is gone
    const page = pages?.find(request);
    try {
      guard.check(request, page !== undefined);
    } catch (error) {
      refuse(response, error);
      return;
    }
    for (const [name, value] of securityHeaders) response.setHeader(name, value);
    if (page !== undefined) page.send(response);
    else this.#answer(request, response);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    void this.#welcome(request, socket, head).catch((error: unknown) => {
      if (problemOf(error).code === 'bug') this.#options.service.failed(error);
      refuseUpgrade(socket, error);
    });
  }

  async #welcome(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { guard, service } = this.#options;
    guard.check(request, false);
    const { operation, name } = socketRoute(request);
    if (this.#sockets.clients.size >= LIMITS.sockets)
      throw new RequestError(503, 'too-many-sockets', 'too many WebSockets are open', 'Close some');
    await checkThere(service, name);
    this.#sockets.handleUpgrade(request, socket, head, (open) => {
      void sessions[operation](service, name, webSocketPeer(open));
    });
  }

  #broken(error: unknown): Response {
    this.#options.service.failed(error);
    return Response.json(problemOf(error), { status: 500, headers: { 'content-type': 'application/problem+json' } });
  }

  async #close(): Promise<void> {
    for (const open of this.#sockets.clients) open.close(1001, 'the daemon ends');
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => {
      for (const open of this.#sockets.clients) open.terminate();
      this.#server.closeAllConnections();
    }, LIMITS.lastWordsMs);
    await closed.finally(() => clearTimeout(timer));
  }
}

function socketRoute({ url = '', method = '' }: IncomingMessage): { operation: SocketOperation; name: string } {
  const path = url.split('?', 1)[0] ?? '';
  for (const operation of Object.keys(sessions) as SocketOperation[]) {
    const route: Route = routes[operation];
    if (!matches(route, method, path)) continue;
    const at = route.path.split('/').indexOf('{name}');
    const name = nameText.safeParse(path.split('/')[at]);
    if (name.success) return { operation, name: name.data };
  }
  throw new RequestError(404, 'no-such-path', `there is no WebSocket at ${path.slice(0, 200)}`, 'See /v1/openapi.json');
}

function refuse(response: ServerResponse, error: unknown): void {
  const problem = problemOf(error);
  response.writeHead(problem.status, {
    'content-type': 'application/problem+json',
    connection: 'close',
    ...challenge(problem.status),
  });
  response.end(JSON.stringify(problem));
}

function refuseUpgrade(socket: Duplex, error: unknown): void {
  const problem = problemOf(error);
  const body = JSON.stringify(problem);
  const headers = {
    'content-type': 'application/problem+json',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
    ...challenge(problem.status),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${problem.status} Refused\r\n${lines.join('')}\r\n${body}`);
  setTimeout(() => socket.destroy(), LIMITS.lastWordsMs).unref();
}

function challenge(status: number): Record<string, string> {
  return status === 401 ? { 'www-authenticate': 'Bearer realm="kagemusha"' } : {};
}

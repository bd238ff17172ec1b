/**
 * Serves the demo page (src/browser/demo) on the loopback address, with the headers that let its threads share
 * memory, or without them. Reads only; answers only to its own names, so that no other site's page gets at it through
 * a name that was bent to this address.
 */
import { createReadStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { HostError, OperatorError } from '../../base/errors.ts';
import type { GuestImage } from '../images/index.ts';
import { DemoFiles } from './files.ts';

const LOOPBACK = '127.0.0.1';
const START = '/browser/demo/';
/** Where `kage demo` listens unless it is told otherwise. */
export const demoPort = 8064;

export interface DemoOptions {
  readonly image: GuestImage;
  /** 0: any that is free. Default `demoPort`. */
  readonly port?: number;
  /** Cross-origin isolation, without which pages have no SharedArrayBuffer. Default true. */
  readonly isolation?: boolean;
}

export interface DemoServer extends AsyncDisposable {
  /** The page's address. */
  readonly address: string;
}

/** Rejects with OperatorError `port-in-use` or HostError `port-not-available`. */
export async function startDemo(options: DemoOptions): Promise<DemoServer> {
  // Thirty milliseconds that a start of the command need not take.
  const { createServer } = await import('node:http');
  const files = new DemoFiles(options.image);
  const isolation = options.isolation ?? true;
  const server = createServer((request, response) => {
    // A client that goes away in the middle is no news.
    answer(files, isolation, request, response).catch(() => response.destroy());
  });
  const wanted = options.port ?? demoPort;
  const listening = Promise.withResolvers<void>();
  server.once('error', (cause: NodeJS.ErrnoException) => listening.reject(portError(wanted, cause)));
  server.listen(wanted, LOOPBACK, () => listening.resolve());
  await listening.promise;
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://${LOOPBACK}:${port}/`,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(
  files: DemoFiles,
  isolation: boolean,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('Cache-Control', 'no-store');
  response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  if (isolation) {
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
  }
  const refuse = (code: number, why: string): void => {
    response.writeHead(code, { 'Content-Type': 'text/plain; charset=utf-8' }).end(`${why}\n`);
  };
  if (!isOurName(request)) return refuse(421, 'this server answers to its loopback names alone');
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405, 'GET and HEAD alone');
  const [path = '/', query] = (request.url ?? '/').split('?', 2);
  if (path === '/') {
    response.writeHead(302, { Location: query === undefined ? START : `${START}?${query}` }).end();
    return;
  }
  const page = await files.find(path.slice(1));
  if (page === undefined) return refuse(404, 'there is nothing here');
  const { type, body } = page;
  const sizeBytes = 'bytes' in body ? body.bytes.length : body.sizeBytes;
  response.writeHead(200, { 'Content-Type': type, 'Content-Length': sizeBytes });
  if (request.method === 'HEAD') response.end();
  else if ('bytes' in body) response.end(body.bytes);
  else await pipeline(createReadStream(body.file), response);
}

function isOurName(request: IncomingMessage): boolean {
  const port = request.socket.localPort;
  return [`${LOOPBACK}:${port}`, `localhost:${port}`].includes(request.headers.host ?? '');
}

function portError(port: number, cause: NodeJS.ErrnoException): Error {
  return cause.code === 'EADDRINUSE'
    ? new OperatorError('port-in-use', `port ${port} is in use`, 'Give another with --port, or 0 for any.', { cause })
    : new HostError('port-not-available', `port ${port} is not to be had: ${cause.message}`, { cause });
}

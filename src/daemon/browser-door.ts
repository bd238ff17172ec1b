/**
 * The way of a browser to the daemon's unix socket, which no browser can open: a listener on the loopback address that
 * passes requests on to it. Other users of the host, and pages of other origins, can reach a loopback port too, so nothing
 * goes through without a token of its own making (docs/console.md#how-people-get-in).
 *
 * A link holds a word that is good once, behind `#`; the page exchanges it for the token, which it sends with each request as
 * it would to a daemon on TCP. Host and Origin must be ours (names that were bent to this address: DNS rebinding).
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { OperatorError } from '../base/errors.ts';
import { SOCKET_PROTOCOL } from '../client/index.ts';
import { digest, tokenOf } from './api/guard.ts';

const LOOPBACK = '127.0.0.1';
const SESSION_PATH = '/console/session';
/** Of the exchange's body. */
const MOST_BYTES = 1024;
/** What belongs to a connection, and not to a request; and ours. */
const NOT_PASSED = ['connection', 'keep-alive', 'transfer-encoding', 'authorization', 'cookie'];

export interface BrowserDoorOptions {
  /** The daemon's. */
  readonly socketPath: string;
  /** 0: any that is free. */
  readonly port: number;
  /** A link was used; it is good no more. */
  readonly onUsed?: () => void;
}

export class BrowserDoor implements AsyncDisposable {
  readonly #options: BrowserDoorOptions;
  readonly #token = word();
  readonly #server = createServer();
  readonly #upgraded = new Set<Duplex>();
  /** Digest of the word of the latest link; undefined once it was used. */
  #link: Buffer | undefined;
  #port = 0;

  private constructor(options: BrowserDoorOptions) {
    this.#options = options;
    this.#server.on('request', (incoming, response) => {
      void this.#request(incoming, response).catch(() => response.destroy()); // whoever asked left in the middle
    });
    this.#server.on('upgrade', (incoming, socket, head) => this.#upgrade(incoming, socket, head));
  }

  /** Errors: `port-in-use`. */
  static async open(options: BrowserDoorOptions): Promise<BrowserDoor> {
    const door = new BrowserDoor(options);
    await new Promise<void>((resolve, reject) => {
      door.#server.once('error', (cause) => {
        const message = `port ${options.port} cannot be listened on`;
        reject(new OperatorError('port-in-use', message, 'Give another with --port, or 0 for any.', { cause }));
      });
      door.#server.listen(options.port, LOOPBACK, resolve);
    });
    door.#port = (door.#server.address() as AddressInfo).port;
    return door;
  }

  /** A link that opens the console once. The one before is good no more. */
  newLink(): string {
    const fresh = word();
    this.#link = digest(fresh);
    return `http://${LOOPBACK}:${this.#port}/#link=${fresh}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    for (const socket of this.#upgraded) socket.destroy();
    await closed;
  }

  async #request(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {}); // whoever asked is gone
    const wrong = this.#strangeness(incoming);
    if (wrong !== undefined) return refuse(response, 403, 'wrong-origin', wrong);
    const path = (incoming.url ?? '/').split('?', 1)[0] ?? '/';
    if (path === SESSION_PATH) return await this.#exchange(incoming, response);
    if (!isPage(path, incoming.method) && !this.#knowsToken(incoming))
      return refuse(response, 401, 'no-token', 'the token is missing or wrong');
    this.#pass(incoming, response);
  }

  /** Why a browser that was led here by somebody else is not answered. */
  #strangeness({ headers }: IncomingMessage): string | undefined {
    const ours = [`${LOOPBACK}:${this.#port}`, `localhost:${this.#port}`];
    if (!ours.includes(headers.host ?? '')) return 'this door has loopback names alone';
    const { origin } = headers;
    if (origin !== undefined && origin !== `http://${headers.host}`) return 'pages of other origins may not ask';
    const site = headers['sec-fetch-site'];
    if (site === 'cross-site' && headers['sec-fetch-mode'] !== 'navigate') return 'pages of other sites may not ask';
    return undefined;
  }

  #knowsToken(incoming: IncomingMessage): boolean {
    const given = tokenOf(incoming);
    return given !== undefined && timingSafeEqual(digest(given), digest(this.#token));
  }

  async #exchange(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    if (incoming.method !== 'POST') return refuse(response, 405, 'method-not-allowed', 'a link is exchanged by POST');
    let body = '';
    for await (const bytes of incoming) {
      body += String(bytes);
      if (body.length > MOST_BYTES) return refuse(response, 413, 'body-too-large', 'a link is shorter');
    }
    const given = linkIn(body);
    if (given === undefined || this.#link === undefined || !timingSafeEqual(digest(given), this.#link))
      return refuse(response, 403, 'link-used', 'the link was used, or another was made since');
    this.#link = undefined;
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' });
    response.end(JSON.stringify({ token: this.#token }));
    this.#options.onUsed?.();
  }

  #pass(incoming: IncomingMessage, response: ServerResponse): void {
    const onward = request(this.#onward(incoming), (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('error', () => response.destroy());
      answer.pipe(response);
    });
    onward.on('error', () => {
      if (response.headersSent) response.destroy();
      else refuse(response, 502, 'no-daemon', 'the daemon does not answer');
    });
    response.on('close', () => onward.destroy());
    incoming.on('error', () => onward.destroy());
    incoming.pipe(onward);
  }

  #onward({ method, url, headers }: IncomingMessage) {
    const passed = Object.entries(headers).filter(([name]) => !NOT_PASSED.includes(name));
    return {
      ...{ socketPath: this.#options.socketPath, path: url, agent: false as const },
      ...(method === undefined ? {} : { method }),
      headers: Object.fromEntries(passed),
    };
  }

  /** WebSockets: two streams, joined. */
  #upgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    if (this.#strangeness(incoming) !== undefined || !this.#knowsToken(incoming)) {
      socket.end('HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    this.#upgraded.add(socket);
    socket.on('close', () => this.#upgraded.delete(socket));
    const options = this.#onward(incoming);
    const onward = request({
      ...options,
      headers: { ...options.headers, connection: 'Upgrade', 'sec-websocket-protocol': SOCKET_PROTOCOL },
    });
    onward.on('error', () => socket.destroy());
    onward.on('response', (answer) => {
      socket.end(`HTTP/1.1 ${answer.statusCode} Refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      answer.resume();
    });
    onward.on('upgrade', ({ rawHeaders }, inner, first) => {
      const lines = rawHeaders.map((text, i) => (i % 2 === 0 ? `${text}: ` : `${text}\r\n`)).join('');
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines}\r\n`);
      socket.write(first);
      inner.write(head);
      inner.on('error', () => socket.destroy());
      inner.on('close', () => socket.destroy());
      socket.on('close', () => inner.destroy());
      inner.pipe(socket).pipe(inner);
    });
    onward.end();
  }
}

/** 256 bits of chance. */
function word(): string {
  return randomBytes(32).toString('base64url');
}

/**
 * Files of the console hold nothing of anybody. Only what can be read in one way is taken for the name of one: with escapes, dots or
 * slashes in a row a path may mean another thing to the daemon.
 */
function isPage(path: string, method: string | undefined): boolean {
  const isPlain = path === '/' || /^(\/[\w-][\w.-]*)+$/.test(path);
  return (method === 'GET' || method === 'HEAD') && isPlain && !/^\/(v1|metrics|healthz|readyz)(\/|$)/.test(path);
}

function linkIn(body: string): string | undefined {
  try {
    const value: unknown = JSON.parse(body);
    const isLink = typeof value === 'object' && value !== null && 'link' in value && typeof value.link === 'string';
    return isLink ? String(value.link) : undefined;
  } catch {
    return undefined;
  }
}

function refuse(response: ServerResponse, status: number, code: string, detail: string): void {
  response.writeHead(status, { 'content-type': 'application/problem+json', connection: 'close' });
  const problem = { type: `urn:kagemusha:error:${code}`, title: code.replaceAll('-', ' '), status, detail, code };
  response.end(JSON.stringify(problem));
}

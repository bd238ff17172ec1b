/**
 * What hosts of the cluster ask of each other, beside heartbeats and the store: requests with answers, and files, over HTTPS where both
 * ends show a certificate of the cluster's authority. A host is known by the name in its certificate, and is answered while the store
 * says that it is one of the cluster.
 *
 *     POST /peer/KIND/NAME    application/json                   the body
 *                             application/vnd.kagemusha.file     u32 (big-endian), so many bytes of JSON, the file
 *     200 {"answer": ...}  |  200 {"error": {code, message, fix?}}     behind a space each quarter of a minute, while it takes long
 */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, type AgentOptions, createServer, type RequestOptions, request, type Server } from 'node:https';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import * as z from 'zod';
import { HostError, OperatorError } from '../../base/errors.ts';
import { Newcomers } from '../../host/index.ts';
import { nameText } from '../schemas/words.ts';
import type { HostCertificates } from './certificates.ts';
import type { HostAddress } from './cluster-config.ts';

export interface PeerAsk {
  /** The name in the peer's certificate. */
  readonly from: string;
  readonly name: string;
  readonly body: unknown;
  /** Rejects where the file was broken off. What is not read is thrown away with the answer. */
  readonly files: AsyncIterable<Uint8Array> | undefined;
}

export interface PeerChannel {
  /** Answers peers' requests of that kind. */
  serve(kind: string, answer: (ask: PeerAsk) => Promise<object>): void;
  /** Rejects with HostError `peer-unreachable`, or the peer's own OperatorError or HostError. */
  ask(host: string, kind: string, name: string, body?: object, signal?: AbortSignal): Promise<unknown>;
  /** One file, streamed; the receiver gets it as `files`. */
  send(host: string, kind: string, name: string, file: string, body?: object, signal?: AbortSignal): Promise<unknown>;
}

export interface HttpsChannelOptions {
  readonly listen: HostAddress;
  readonly certificates: HostCertificates;
  /** Of a host of the cluster; undefined: it is none. */
  addressOf(host: string): Promise<HostAddress | undefined>;
  /** A bug of ours. */
  failed(error: unknown): void;
}

const LIMITS = {
  connections: 256,
  /** That have not shown a certificate yet: then the oldest gives way. */
  newcomers: 64,
  jsonBytes: 1 << 20,
  headBytes: 8 << 10,
  handshakeMs: 10_000,
  /** For a request's head; for a peer to take a connection; and for what comes after silence, either way. */
  headMs: 10_000,
  connectMs: 3_000,
  silentMs: 60_000,
  /** Who takes long to answer says so often that he is there. */
  aliveMs: 15_000,
  perPeer: 16,
} as const;

const FILE_TYPE = 'application/vnd.kagemusha.file';
const JSON_TYPE = 'application/json';

type Answer = (ask: PeerAsk) => Promise<object>;

export class HttpsPeerChannel implements PeerChannel, AsyncDisposable {
  readonly #options: HttpsChannelOptions;
  readonly #server: Server;
  readonly #answers = new Map<string, Answer>();
  readonly #newcomers = new Newcomers(LIMITS.newcomers);
  #certificates: HostCertificates;
  readonly #agents = new Map<string, Agent>();

  /** Rejects with HostError `cannot-listen`. */
  static async open(options: HttpsChannelOptions): Promise<HttpsPeerChannel> {
    const channel = new HttpsPeerChannel(options);
    const { host, port } = options.listen;
    channel.#server.listen(port, host);
    try {
      await once(channel.#server, 'listening');
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new HostError('cannot-listen', `other hosts cannot be heard at ${host} port ${port}: ${why}`, { cause });
    }
    channel.#server.on('error', options.failed);
    return channel;
  }

  private constructor(options: HttpsChannelOptions) {
    this.#options = options;
    this.#certificates = options.certificates;
    this.#server = createServer(
      {
        ...secured(options.certificates),
        ...{ requestCert: true, rejectUnauthorized: true, handshakeTimeout: LIMITS.handshakeMs },
        ...{ headersTimeout: LIMITS.headMs, requestTimeout: 0, maxHeaderSize: LIMITS.headBytes },
        connectionsCheckingInterval: 5_000,
      },
      (incoming, response) => void this.#respond(incoming, response),
    );
    this.#server.maxConnections = LIMITS.connections;
    this.#server.timeout = LIMITS.silentMs;
    this.#screen();
    for (const event of ['upgrade', 'connect'] as const)
      this.#server.on(event, (_incoming, socket) => socket.destroy());
  }

  /** From now on these are shown, and their authority is believed. */
  renew(certificates: HostCertificates): void {
    this.#certificates = certificates;
    this.#server.setSecureContext(secured(certificates));
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }

  serve(kind: string, answer: Answer): void {
    this.#answers.set(kind, answer);
  }

  async ask(host: string, kind: string, name: string, body: object = {}, signal?: AbortSignal): Promise<unknown> {
    const bytes = Buffer.from(JSON.stringify(body));
    const headers = { 'content-type': JSON_TYPE, 'content-length': bytes.length };
    return await this.#request(host, kind, name, headers, signal, async function* () {
      yield bytes;
    });
  }

  async send(
    host: string,
    kind: string,
    name: string,
    file: string,
    body: object = {},
    signal?: AbortSignal,
  ): Promise<unknown> {
    const bytes = Buffer.from(JSON.stringify(body));
    const { size } = await stat(file);
    const head = Buffer.alloc(4);
    head.writeUInt32BE(bytes.length);
    const headers = { 'content-type': FILE_TYPE, 'content-length': head.length + bytes.length + size };
    return await this.#request(host, kind, name, headers, signal, async function* () {
      yield head;
      yield bytes;
      // As long as it was: one that grows meanwhile is sent up to there.
      if (size > 0) yield* createReadStream(file, { end: size - 1 });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents.values()) agent.destroy();
    this.#newcomers.close();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  // Asking

  async #request(
    host: string,
    kind: string,
    name: string,
    headers: Readonly<Record<string, string | number>>,
    signal: AbortSignal | undefined,
    content: () => AsyncIterable<Uint8Array>,
  ): Promise<unknown> {
    signal?.throwIfAborted();
    const address = await this.#options.addressOf(host);
    if (address === undefined) throw unreachable(host, 'the cluster has no such host');
    const outgoing = request({
      ...{ host: address.host, port: address.port, method: 'POST', path: `/peer/${kind}/${encodeURIComponent(name)}` },
      ...{ headers, agent: this.#agentOf(host), timeout: LIMITS.silentMs },
      ...(signal === undefined ? {} : { signal }),
    });
    outgoing.setNoDelay(true);
    outgoing.once('socket', (socket) => patience(socket as TLSSocket));
    outgoing.once('timeout', () => outgoing.destroy(new Error('it is silent')));
    const answered = answerTo(outgoing);
    // One that refuses need not read all of it: its answer says why.
    const sent = pipeline(content, outgoing).catch(() => {});
    try {
      const [incoming] = await answered;
      const text = (await collected(incoming)).toString();
      await sent;
      return answerIn(host, incoming.statusCode ?? 0, text);
    } catch (error) {
      outgoing.destroy();
      signal?.throwIfAborted();
      if (error instanceof OperatorError || error instanceof HostError) throw error;
      throw unreachable(host, error instanceof Error ? error.message : String(error), error);
    }
  }

  #agentOf(host: string): Agent {
    let agent = this.#agents.get(host);
    if (agent === undefined) {
      agent = new Agent({
        ...secured(this.#certificates),
        ...{ keepAlive: true, maxSockets: LIMITS.perPeer, maxFreeSockets: 2, maxCachedSessions: 0 },
        // Whoever answers there must be that host; where it is does not matter.
        checkServerIdentity: (_address: string, certificate: PeerCertificate) =>
          certificate.subject.CN === host
            ? undefined
            : new Error(`${String(certificate.subject.CN).slice(0, 100)} answers in its place`),
      } as AgentOptions & RequestOptions);
      this.#agents.set(host, agent);
    }
    return agent;
  }

  // Answering

  /** Strangers who connect and show nothing keep nobody out. */
  #screen(): void {
    const unproved = new Map<string, Socket>();
    const keyOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;
    this.#server.on('connection', (socket) => {
      const key = keyOf(socket);
      unproved.set(key, socket);
      this.#newcomers.add(socket);
      socket.once('close', () => unproved.delete(key));
    });
    this.#server.on('secureConnection', (secure) => {
      const socket = unproved.get(keyOf(secure));
      if (socket !== undefined) this.#newcomers.delete(socket);
    });
  }

  async #respond(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {}); // whoever asked is gone
    const alive = setInterval(() => response.write(' '), LIMITS.aliveMs);
    response.once('close', () => clearInterval(alive));
    response.writeHead(200, { 'content-type': JSON_TYPE });
    try {
      const answer = await this.#answer(incoming);
      response.end(JSON.stringify({ answer }));
    } catch (error) {
      const isOurs = error instanceof OperatorError || error instanceof HostError;
      if (!isOurs && !incoming.errored) this.#options.failed(error);
      const { code, message } = isOurs
        ? error
        : { code: 'peer-failed', message: 'the peer failed at this; its log says how' };
      const fix = error instanceof OperatorError ? { fix: error.fix } : {};
      response.end(JSON.stringify({ error: { code, message, ...fix } }));
    } finally {
      clearInterval(alive);
    }
    if (incoming.readableEnded) return;
    // What was not read will not be: the answer goes out, and with it the connection.
    response.once('finish', () => setImmediate(() => incoming.destroy()));
  }

  async #answer(incoming: IncomingMessage): Promise<object> {
    const from = String((incoming.socket as TLSSocket).getPeerCertificate().subject?.CN ?? '');
    if ((await this.#options.addressOf(from)) === undefined)
      throw new OperatorError('unknown-peer', `${from.slice(0, 100)} is no host of this cluster`, 'Join it first');
    const [, first, kind = '', escaped = '', more] = (incoming.url ?? '').split('/');
    const answer = first === 'peer' && more === undefined ? this.#answers.get(kind) : undefined;
    const name = nameText.safeParse(decoded(escaped));
    if (answer === undefined || !name.success || incoming.method !== 'POST')
      throw new OperatorError('not-offered', 'this host has nothing of that kind', 'Run the same kage on all hosts');
    if (incoming.headers['content-type'] === FILE_TYPE) return await withFile(incoming, from, name.data, answer);
    const body = parsed((await collected(incoming)).toString());
    return await answer({ from, name: name.data, body, files: undefined });
  }
}

function secured({ ca, cert, key }: HostCertificates) {
  return { ca, cert, key, minVersion: 'TLSv1.3' } as const;
}

async function withFile(incoming: IncomingMessage, from: string, name: string, answer: Answer): Promise<object> {
  const pieces = incoming[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest = Buffer.alloc(0);
  const atLeast = async (bytes: number): Promise<void> => {
    while (rest.length < bytes) {
      const { value, done } = await pieces.next();
      if (done === true) throw new OperatorError('bad-body', 'the body is cut off', 'Send all of it');
      rest = Buffer.concat([rest, value]);
    }
  };
  await atLeast(4);
  const length = rest.readUInt32BE();
  if (length > LIMITS.jsonBytes) throw tooLong();
  await atLeast(4 + length);
  const body = parsed(rest.toString('utf8', 4, 4 + length));
  const begun = rest.subarray(4 + length);
  const files = (async function* () {
    if (begun.length > 0) yield begun;
    for (;;) {
      const { value, done } = await pieces.next();
      if (done === true) return;
      yield value;
    }
  })();
  return await answer({ from, name, body, files });
}

/** A peer that does not take the connection is not waited for as one that is slow to answer. */
function patience(socket: TLSSocket): void {
  if (socket.authorized) return; // it was used before
  const timer = setTimeout(() => socket.destroy(new Error('it does not take the connection')), LIMITS.connectMs);
  const stop = (): void => clearTimeout(timer);
  socket.once('secureConnect', stop).once('close', stop);
}

async function answerTo(outgoing: ReturnType<typeof request>): Promise<[IncomingMessage]> {
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  // Errors behind the answer are those of reading it.
  outgoing.on('error', () => {});
  return await answered;
}

async function collected(incoming: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of incoming as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > LIMITS.jsonBytes) throw tooLong();
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

function tooLong(): OperatorError {
  return new OperatorError('body-too-large', `a message of more than ${LIMITS.jsonBytes} bytes`, 'Send less');
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new OperatorError('bad-body', 'the body is not JSON', 'Send JSON');
  }
}

function decoded(escaped: string): string {
  try {
    return decodeURIComponent(escaped);
  } catch {
    return '';
  }
}

const refusal = z.object({
  code: z.string().max(64),
  message: z.string().max(4096),
  fix: z.string().max(4096).optional(),
});
const reply = z.union([z.strictObject({ answer: z.unknown() }), z.strictObject({ error: refusal })]);

function answerIn(host: string, status: number, text: string): unknown {
  const read = status === 200 ? reply.safeParse(parsed(text)) : undefined;
  if (read?.success !== true) throw new HostError('peer-failed', `${host} answers ${status}, and what it says is none`);
  if (!('error' in read.data)) return read.data.answer;
  const { code, message, fix } = read.data.error;
  if (fix !== undefined) throw new OperatorError(code, message, fix);
  throw new HostError(code, `${host}: ${message}`);
}

function unreachable(host: string, why: string, cause?: unknown): HostError {
  return new HostError('peer-unreachable', `the host ${host} cannot be asked: ${why}`, { cause });
}

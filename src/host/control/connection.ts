/**
 * One end of a JSON-RPC 2.0 conversation over a stream of bytes, a message a line; both ends use it. It numbers and
 * matches requests, bounds what a peer may send (length of a line, requests in flight) and ends the conversation
 * with a peer that breaks the rules or does not read. Batches are not offered: the version says so.
 */
import type { Duplex } from 'node:stream';
import { HostError, OperatorError } from '../../base/errors.ts';
import { limits, object, ShapeError, text } from './shape.ts';

export interface ConnectionHandlers {
  /** Answers a request; what it throws becomes the error of the answer. */
  request(method: string, params: unknown): Promise<unknown>;
  notify(method: string, params: unknown): void;
  /** Called once, when nothing more can be said. */
  closed(): void;
}

/** JSON-RPC's own codes, and ours for failures that have a code of their own in `data`. */
const codes = { parse: -32700, invalid: -32600, unknownMethod: -32601, params: -32602, internal: -32603, failure: 1 };

const mostRequests = 256;
const mostUnreadBytes = 64 << 20;
const newline = 0x0a;
const lastWordsMs = 1000;

type Id = number | string;
type Waiting = { resolve(result: unknown): void; reject(error: unknown): void };

export class UnknownMethod extends Error {
  override name = 'UnknownMethod';
}

export class Connection {
  readonly #stream: Duplex;
  readonly #handlers: ConnectionHandlers;
  readonly #waiting = new Map<number, Waiting>();
  #chunks: Buffer[] = [];
  #bufferedBytes = 0;
  #nextId = 1;
  #answering = 0;
  #isClosed = false;
  #isLeaving = false;
  /** Why the peer was cut off; undefined while all is well. */
  complaint: string | undefined;

  constructor(stream: Duplex, handlers: ConnectionHandlers) {
    this.#stream = stream;
    this.#handlers = handlers;
    stream.on('data', (chunk: Buffer) => this.#push(chunk));
    stream.on('error', () => this.close()); // the close that follows says all that there is to say
    stream.on('close', () => this.close());
    stream.on('end', () => this.close());
  }

  /** Resolves with the peer's result, unchecked; rejects with its error, or when the conversation ends before. */
  async request(method: string, params: unknown): Promise<unknown> {
    if (this.#isClosed) throw gone();
    const id = this.#nextId;
    this.#nextId += 1;
    return await new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#send({ id, method, params });
    });
  }

  notify(method: string, params: unknown): void {
    this.#send({ method, params });
  }

  /** Ends the conversation when what was said is sent; requests without an answer reject. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const stream = this.#stream;
    stream.end(() => stream.destroy());
    setTimeout(() => stream.destroy(), lastWordsMs).unref(); // where the peer does not read
    for (const { reject } of this.#waiting.values()) reject(gone());
    this.#waiting.clear();
    this.#handlers.closed();
  }

  /** Ends the conversation when the peer's requests are answered, and soon in any case. */
  closeWhenAnswered(): void {
    this.#isLeaving = true;
    if (this.#answering === 0) this.close();
    else setTimeout(() => this.close(), lastWordsMs).unref();
  }

  #push(chunk: Buffer): void {
    let rest = chunk;
    while (!this.#isClosed) {
      const end = rest.indexOf(newline);
      const part = end < 0 ? rest : rest.subarray(0, end);
      this.#bufferedBytes += part.length;
      if (this.#bufferedBytes >= limits.messageBytes) {
        this.#refuse(codes.invalid, `a message is longer than ${limits.messageBytes} bytes`);
        return;
      }
      this.#chunks.push(part);
      if (end < 0) return;
      const line = Buffer.concat(this.#chunks).toString('utf8');
      this.#chunks = [];
      this.#bufferedBytes = 0;
      rest = rest.subarray(end + 1);
      if (line.trim() !== '') this.#take(line);
    }
  }

  #take(line: string): void {
    let message: Readonly<Record<string, unknown>>;
    try {
      message = object(JSON.parse(line), 'the message');
    } catch {
      this.#refuse(codes.parse, 'a line is no JSON object');
      return;
    }
    const { id, method } = message;
    const isId = typeof id === 'number' || (typeof id === 'string' && id.length <= 64);
    if (message['jsonrpc'] !== '2.0') this.#refuse(codes.invalid, 'a message does not say "jsonrpc": "2.0"');
    else if (typeof method === 'string' && id === undefined) this.#notified(method, message['params']);
    else if (typeof method === 'string' && isId) void this.#answer(id, method, message['params']);
    else if (typeof id === 'number' && method === undefined) this.#answered(id, message);
    else if (id === null && 'error' in message) this.close();
    else this.#refuse(codes.invalid, 'a message is neither request, notification nor answer');
  }

  #notified(method: string, params: unknown): void {
    try {
      this.#handlers.notify(method, params);
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error;
      this.#refuse(codes.params, error.message);
    }
  }

  async #answer(id: Id, method: string, params: unknown): Promise<void> {
    if (this.#answering >= mostRequests) {
      this.#refuse(codes.invalid, `more than ${mostRequests} requests wait for an answer`);
      return;
    }
    this.#answering += 1;
    try {
      this.#send({ id, result: await this.#handlers.request(method, params ?? {}) });
    } catch (error) {
      this.#send({ id, error: errorToJson(error) });
    } finally {
      this.#answering -= 1;
      if (this.#isLeaving && this.#answering === 0) this.close();
    }
  }

  #answered(id: number, message: Readonly<Record<string, unknown>>): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) {
      this.#refuse(codes.invalid, 'an answer to a request that nobody made');
      return;
    }
    this.#waiting.delete(id);
    if (message['error'] === undefined) waiting.resolve(message['result'] ?? {});
    else waiting.reject(errorFromJson(message['error']));
  }

  #refuse(code: number, complaint: string): void {
    this.complaint = complaint;
    this.#send({ id: null, error: { code, message: complaint } });
    this.close();
  }

  #send(message: object): void {
    if (this.#isClosed || this.#stream.destroyed) return;
    this.#stream.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
    if (this.#stream.writableLength > mostUnreadBytes) {
      this.complaint = 'the peer does not read';
      this.#stream.destroy();
    }
  }
}

function gone(): HostError {
  return new HostError('machine-gone', 'the machine ended the conversation');
}

function errorToJson(error: unknown): object {
  if (error instanceof OperatorError) {
    return {
      code: codes.failure,
      message: error.message,
      data: { kind: 'operator', code: error.code, fix: error.fix },
    };
  }
  if (error instanceof HostError) {
    return { code: codes.failure, message: error.message, data: { kind: 'host', code: error.code } };
  }
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ShapeError) return { code: codes.params, message };
  if (error instanceof UnknownMethod) return { code: codes.unknownMethod, message };
  return { code: codes.internal, message };
}

function errorFromJson(value: unknown): Error {
  try {
    const error = object(value, 'error');
    const message = text(limits.messageBytes)(error['message'], 'error.message');
    const detail = error['data'] === undefined ? {} : object(error['data'], 'error.data');
    const code = text(64)(detail['code'] ?? 'refused', 'error.data.code');
    if (detail['kind'] === 'operator') return new OperatorError(code, message, text()(detail['fix'], 'error.data.fix'));
    return new HostError(code, message);
  } catch (error) {
    return new HostError('bad-answer', `the machine answered with an error that cannot be read: ${String(error)}`);
  }
}

/**
 * One member of an etcd cluster, over its JSON gateway: requests with deadlines, and watches, which are answers without
 * end. It judges nothing; the store (etcd-store.ts) decides what silence means.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import { StringDecoder } from 'node:string_decoder';

/** TLS of a client: what Node takes, as PEM. */
export interface EtcdTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export type EtcdAnswer =
  | { readonly kind: 'answer'; readonly body: unknown }
  /** It said that it did not, or cannot, do it; or it said nothing we understand. */
  | { readonly kind: 'error'; readonly reason: string }
  /** Nothing was sent: nobody listens there. */
  | { readonly kind: 'unreachable'; readonly reason: string }
  | { readonly kind: 'silent'; readonly reason: string };

/** What a member may answer at the most: 100 ranges of large stores. */
const MOST_BYTES = 64 << 20;
/** A line of a watch: etcd's own limit of a request is 1.5 MiB, and base64 adds a third. */
const LONGEST_LINE = 16 << 20;

export class EtcdEndpoint {
  readonly url: URL;
  readonly #tls: EtcdTls;
  readonly #agent: http.Agent;
  /** Of answers without end, one connection each: requests would wait for them. */
  readonly #streams: http.Agent;

  constructor(url: string, tls: EtcdTls = {}) {
    this.url = new URL(url);
    this.#tls = tls;
    const options = { keepAlive: true, maxSockets: 16, scheduling: 'lifo' } as const;
    const isTls = this.url.protocol === 'https:';
    this.#agent = isTls ? new https.Agent({ ...options, ...tls }) : new http.Agent(options);
    this.#streams = isTls ? new https.Agent(tls) : new http.Agent();
  }

  /** `done` is called once, within the time or so. */
  post(path: string, body: object, withinMs: number, done: (answer: EtcdAnswer) => void): void {
    let isOver = false;
    const request = this.#request(this.#agent, path, body, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MOST_BYTES) request.destroy(new Error('the answer is too long'));
        else chunks.push(chunk);
      });
      response.on('end', () => finish(answerOf(response.statusCode ?? 0, Buffer.concat(chunks).toString())));
      response.on('error', (error) => finish({ kind: 'silent', reason: error.message }));
    });
    const timer = setTimeout(() => {
      finish({ kind: 'silent', reason: `no answer within ${Math.round(withinMs)} ms` });
      request.destroy();
    }, withinMs);
    const finish = (answer: EtcdAnswer): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      done(answer);
    };
    request.on('error', (error: NodeJS.ErrnoException) => {
      const kind = UNREACHABLE.has(error.code ?? '') ? 'unreachable' : 'silent';
      finish({ kind, reason: error.message });
    });
  }

  /** Lines of an answer that does not end, until it does (`ended`) or the function returned is called. */
  stream(path: string, body: object, line: (value: unknown) => void, ended: (reason: string) => void): () => void {
    let isOver = false;
    const finish = (reason: string): void => {
      if (isOver) return;
      isOver = true;
      request.destroy();
      ended(reason);
    };
    const request = this.#request(this.#streams, path, body, (response) => {
      const decoder = new StringDecoder('utf8');
      let rest = '';
      response.on('data', (chunk: Buffer) => {
        const lines = (rest + decoder.write(chunk)).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > LONGEST_LINE) finish('a line is too long');
        for (const text of lines) {
          if (isOver) return;
          const value = text.trim() === '' ? undefined : parsed(text);
          if (value !== undefined) line(value);
        }
      });
      response.on('end', () => finish('it ended'));
      response.on('error', (error) => finish(error.message));
      if (response.statusCode !== 200) finish(`status ${response.statusCode}`);
    });
    request.on('error', (error) => finish(error.message));
    return () => {
      isOver = true;
      request.destroy();
    };
  }

  close(): void {
    this.#agent.destroy();
    this.#streams.destroy();
  }

  #request(
    agent: http.Agent,
    path: string,
    body: object,
    answered: (response: http.IncomingMessage) => void,
  ): http.ClientRequest {
    const data = JSON.stringify(body);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(data) };
    const { request } = this.url.protocol === 'https:' ? https : http;
    const made = request(new URL(path, this.url), { method: 'POST', agent, headers, ...this.#tls }, answered);
    made.setNoDelay(true);
    made.end(data);
    return made;
  }
}

/** Nothing of a request has left when these happen. */
const UNREACHABLE = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN']);

function answerOf(status: number, text: string): EtcdAnswer {
  const body = parsed(text);
  if (status === 200 && body !== undefined) return { kind: 'answer', body };
  const { error, message } = (body ?? {}) as { error?: unknown; message?: unknown };
  return { kind: 'error', reason: String(error ?? message ?? `status ${status}`).slice(0, 200) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

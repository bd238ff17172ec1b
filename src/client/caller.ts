/**
 * How the client's calls travel: a caller turns each into a request of a transport, and the answer into JSON, bytes, events
 * or an error. Transports differ by where the client runs: a page's fetch (fetch-transport.ts), or a unix socket, which
 * Node alone has (src/daemon).
 */
import { apiError } from './api-error.ts';
import { eventData } from './event-stream.ts';

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query?: { readonly [name: string]: string | number | boolean | undefined };
  readonly body?: unknown;
}

export interface TransportRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

export interface TransportAnswer {
  readonly status: number;
  /** Leaving its loop ends the request. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** A WebSocket, as far as it is needed. Messages that came before somebody listened are kept for the first who does. */
export interface Socket {
  send(message: string | Uint8Array): void;
  /** Messages in order, until it is closed. */
  messages(): AsyncIterable<string | Uint8Array>;
  /** Bytes that were sent and are still here. */
  readonly bufferedBytes: number;
  close(): void;
}

export interface Transport {
  request(request: TransportRequest): Promise<TransportAnswer>;
  connect(path: string, options?: CallOptions): Promise<Socket>;
}

export class Caller {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async json<T>(asked: Asked, options?: CallOptions): Promise<T> {
    const { body } = await this.#ask(asked, 'application/json', options);
    return JSON.parse(await text(body)) as T;
  }

  async nothing(asked: Asked, options?: CallOptions): Promise<void> {
    await text((await this.#ask(asked, 'application/json', options)).body);
  }

  async *bytes(asked: Asked, options?: CallOptions): AsyncGenerator<Uint8Array> {
    yield* (await this.#ask(asked, '*/*', options)).body;
  }

  async *events<T>(asked: Asked, options?: CallOptions): AsyncGenerator<T> {
    const { body } = await this.#ask(asked, 'text/event-stream', options);
    for await (const data of eventData(body)) yield JSON.parse(data) as T;
  }

  async socket({ path, query }: Asked, options?: CallOptions): Promise<Socket> {
    return await this.#transport.connect(withQuery(path, query), options);
  }

  async #ask({ method, path, query, body }: Asked, accept: string, options?: CallOptions): Promise<TransportAnswer> {
    const answer = await this.#transport.request({
      method,
      path: withQuery(path, query),
      headers: { accept, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(options?.signal === undefined ? {} : { signal: options.signal }),
    });
    if (answer.status >= 200 && answer.status < 300) return answer;
    throw apiError(answer.status, await text(answer.body));
  }
}

function withQuery(path: string, query: Asked['query'] = {}): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`],
  );
  return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`;
}

async function text(body: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let all = '';
  for await (const bytes of body) all += decoder.decode(bytes, { stream: true });
  return all + decoder.decode();
}

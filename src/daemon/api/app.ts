/**
 * The API over HTTP: a Hono application made of the routes. It knows nothing of sockets: the daemon's listeners feed it
 * (listen.ts), and `kage` without a daemon asks it in its own process (in-process.ts).
 */
import { Hono, type HonoRequest } from 'hono';
import type { AnyHandler } from './calls.ts';
import { handlersOf } from './handlers.ts';
import { badRequest, problemOf, RequestError } from './problem-of.ts';
import { type Route, routes } from './routes.ts';
import type { Service } from './service.ts';
import { eventStream, keptStream } from './streams.ts';

/** Of a request. */
const MOST_BODY = 4 << 20;

export function createApp(service: Service): Hono {
  const app = new Hono();
  const handlers = handlersOf(service) as unknown as Readonly<Record<string, AnyHandler>>;
  app.use(async ({ req: { method, path } }, next) => {
    // Of what goes on, a head alone would be a stream that nobody reads, or ends.
    const goesOn = (one: Route): boolean => one.answers !== undefined && matches(one, 'get', path);
    if (method === 'HEAD' && Object.values<Route>(routes).some(goesOn))
      throw new RequestError(405, 'method-not-allowed', `${path} takes no HEAD`, 'Use GET');
    await next();
  });
  for (const [operation, route] of Object.entries<Route>(routes)) {
    if (route.answers === 'socket') continue;
    const handler = handlers[operation] as AnyHandler;
    app.on(route.method.toUpperCase(), route.path.replaceAll(/\{(\w+)\}/g, ':$1'), async (context) => {
      const answer = await respond(route, handler, context.req);
      count(service, operation, answer.status);
      return answer;
    });
  }
  app.notFound((context) => {
    const { method, path } = context.req;
    const isSocket = Object.values<Route>(routes).some((one) => one.answers === 'socket' && matches(one, method, path));
    if (isSocket)
      return failed(
        new RequestError(426, 'upgrade-required', 'this is a WebSocket', 'Ask with Upgrade: websocket'),
        service,
      );
    const allowed = Object.values<Route>(routes).filter((one) => matches(one, one.method, path));
    if (allowed.length > 0) {
      const methods = allowed.map((one) => one.method.toUpperCase()).join(', ');
      const error = new RequestError(405, 'method-not-allowed', `${path} takes no ${method}`, `Use ${methods}`);
      return failed(error, service, { allow: methods });
    }
    return failed(new RequestError(404, 'no-such-path', `there is no ${path}`, 'See /v1/openapi.json'), service);
  });
  // Of a caller who left, what was begun for him is broken off: nobody reads the answer.
  app.onError((error, { req }) => failed(req.raw.signal.aborted ? callerGone(error) : error, service));
  return app;
}

/** Whether a route is meant. */
export function matches({ path: pattern, method: of }: Route, method: string, path: string): boolean {
  const [asked, parts] = [path.split('/'), pattern.split('/')];
  if (of !== method.toLowerCase() || asked.length !== parts.length) return false;
  return parts.every((part, i) => part.startsWith('{') || part === asked[i]);
}

function failed(error: unknown, service: Service, headers: Readonly<Record<string, string>> = {}): Response {
  const problem = problemOf(error);
  if (problem.code === 'bug') service.failed(error);
  count(service, 'failed', problem.status);
  return new Response(JSON.stringify(problem), {
    status: problem.status,
    headers: { ...headers, 'content-type': 'application/problem+json' },
  });
}

function count({ requests }: Service, operation: string, status: number): void {
  const key = `${operation} ${status}`;
  requests.set(key, (requests.get(key) ?? 0) + 1);
}

async function respond(route: Route, handler: AnyHandler, request: HonoRequest): Promise<Response> {
  const { signal } = request.raw;
  const answer = await handler({
    parameters: checked('path', route.parameters, request.param()),
    query: checked('query', route.query, singleValues(request.queries())),
    body: await bodyOf(route, request),
    signal,
    header: (name) => request.header(name),
  });
  const { status = 200 } = route;
  if (status === 204) return new Response(null, { status });
  switch (route.answers) {
    case 'events':
      return new Response(eventStream(answer as AsyncIterable<{ readonly id: number }>), {
        headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
      });
    case 'text':
    case 'bytes': {
      const type = route.media ?? 'text/plain; charset=utf-8';
      const body = typeof answer === 'string' ? answer : keptStream(answer as AsyncIterable<Uint8Array>);
      return new Response(body, { headers: { 'content-type': type, 'x-content-type-options': 'nosniff' } });
    }
    default:
      return Response.json(answer, { status, headers: { 'cache-control': 'no-store' } });
  }
}

/** A name that is said twice means nothing to us. */
function singleValues(queries: Record<string, string[]>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(queries).map(([name, values]) => {
      if (values.length > 1)
        throw badRequest('query', [{ code: 'custom', path: [name], message: 'is said twice', input: values }]);
      return [name, values[0] ?? ''];
    }),
  );
}

function checked(part: 'path' | 'query' | 'body', schema: Route['body'], value: unknown): object {
  if (schema === undefined) return {};
  const read = schema.safeParse(value);
  if (!read.success) throw badRequest(part, read.error.issues);
  return read.data;
}

function callerGone(cause: unknown): RequestError {
  if (cause instanceof RequestError) return cause;
  return new RequestError(400, 'caller-gone', 'the caller left before the answer', 'Wait for it');
}

/** Whoever sends more is told so as soon as that is known. */
async function boundedText({ raw: { body } }: HonoRequest): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const piece of body ?? []) {
      bytes += piece.length;
      if (bytes > MOST_BODY)
        throw new RequestError(413, 'body-too-large', `a body of more than ${MOST_BODY} bytes`, 'Send less');
      pieces.push(piece);
    }
  } catch (error) {
    throw callerGone(error);
  }
  return Buffer.concat(pieces).toString('utf8');
}

async function bodyOf({ body, bodyIsOptional }: Route, request: HonoRequest): Promise<object> {
  if (body === undefined) return {};
  const text = await boundedText(request);
  if (text === '' && bodyIsOptional) return {};
  // A page of another origin can send forms and text without asking; JSON it cannot.
  const type = request.header('content-type') ?? '';
  if (!/^application\/json\s*(;|$)/i.test(type))
    throw new RequestError(415, 'not-json', `a body of type ${type || '(none)'}`, 'Send application/json');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RequestError(400, 'bad-request', 'the body is not JSON', 'Send JSON', [
      { at: 'body', message: 'is not JSON' },
    ]);
  }
  return checked('body', body, value);
}

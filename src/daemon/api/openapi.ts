/**
 * The OpenAPI 3.1 document, made of the routes and of the schemas that check what is asked
 * (https://spec.openapis.org/oas/v3.1.1). It is what the typed client is made of, too (tools/api-client.ts).
 */
import * as z from 'zod';
import { type Route, routes } from './routes.ts';

type Json = { readonly [name: string]: unknown };

const MEDIA = { text: 'text/plain', bytes: 'application/octet-stream', events: 'text/event-stream' } as const;

export function openApiDocument(version: string): Json {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [operationId, route] of Object.entries<Route>(routes)) {
    const item = paths[route.path] ?? {};
    item[route.method] = operation(operationId, route);
    paths[route.path] = item;
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Kagemusha',
      version,
      summary: 'Partitions of a host: real Linux servers (RISC-V guests)',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    tags: tags.map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: components(),
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'Over TCP alone. A unix socket asks for nothing.' },
      },
    },
  };
}

const tags = [
  ['partitions', 'What runs, and what was declared.'],
  ['guest', 'Consoles, logs and commands.'],
  ['mechanisms', 'The mechanisms at work on a running partition: reports, and what can be changed.'],
  ['images', 'Guest images.'],
  ['daemon', 'The daemon itself.'],
] as const;

function operation(operationId: string, route: Route): Json {
  const { tag, summary, description, body, bodyIsOptional } = route;
  const parameters = [...parametersOf(route.parameters, 'path'), ...parametersOf(route.query, 'query')];
  return {
    operationId,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : {
          requestBody: { required: bodyIsOptional !== true, content: { 'application/json': { schema: inline(body) } } },
        }),
    responses: { ...answer(route), default: PROBLEM },
  };
}

const PROBLEM: Json = {
  description: 'What went wrong',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
};

function answer({ answers, result, status = 200, media }: Route): Json {
  if (answers === 'socket') return { 101: { description: 'A WebSocket' } };
  if (status === 204) return { 204: { description: 'Done' } };
  const type = answers === undefined ? 'application/json' : (media ?? MEDIA[answers]);
  const content = result === undefined ? {} : { schema: inline(result) };
  return { [status]: { description: 'The answer', content: { [type]: content } } };
}

function parametersOf(schema: z.ZodObject | undefined, where: 'path' | 'query'): Json[] {
  return Object.entries(schema?.shape ?? {}).map(([name, member]) => {
    const isRequired = !(member instanceof z.ZodExactOptional);
    const { description, ...rest } = inline(member as z.ZodType, 'output');
    return {
      name,
      in: where,
      required: isRequired,
      ...(description === undefined ? {} : { description }),
      schema: rest,
    };
  });
}

/** A reference where the schema is a component, else the schema, with references in it. Queries are numbers when they are read. */
function inline(schema: z.ZodType, io: 'input' | 'output' = 'input'): Json {
  const bare = schema instanceof z.ZodExactOptional ? (schema.unwrap() as z.ZodType) : schema;
  const id = bare.meta()?.id;
  const description = schema.description ?? bare.description;
  if (id !== undefined) return { $ref: reference(id) };
  const { $schema: _, $defs: __, ...rest } = z.toJSONSchema(bare, { ...SETTINGS, io }) as Record<string, unknown>;
  return withComponents({ ...rest, ...(description === undefined ? {} : { description }) });
}

const SETTINGS = { target: 'draft-2020-12', io: 'input' } as const;

function components(): Json {
  const { schemas } = z.toJSONSchema(z.globalRegistry, { ...SETTINGS, uri: reference });
  return Object.fromEntries(
    Object.entries(schemas)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { $schema: _, $id: __, id: ___, ...schema }]) => [name, withComponents(schema)]),
  );
}

function reference(id: string): string {
  return `#/components/schemas/${id}`;
}

/** References into a schema's own definitions are to components: these have the same names. */
function withComponents(schema: unknown): Json {
  const text = JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/');
  return JSON.parse(text) as Json;
}

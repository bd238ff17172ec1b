/**
 * The typed client (src/client/api.ts), made of the OpenAPI document of the daemon and of nothing else: an interface for each
 * component, a method for each operation. `npm test -- test/api-client.test.ts --accept` writes it anew.
 *
 * It reads the part of JSON Schema that the document uses, and throws at what it does not know. (openapi-typescript wants
 * the compiler's interface, which TypeScript 7 does not have: docs/DEPENDENCIES.md.)
 */
type Json = { readonly [name: string]: unknown };

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  readonly schema: Json;
  readonly description?: string;
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly required: boolean; readonly content: Record<string, { readonly schema: Json }> };
  readonly responses: Record<string, { readonly content?: Record<string, { readonly schema?: Json }> }>;
}

export interface Document {
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, Json> };
}

export const clientFile = 'src/client/api.ts';

export function clientSource({ paths, components }: Document): string {
  const types = Object.entries(components.schemas).map(([name, schema]) => component(name, schema));
  const methods = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => methodSource(path, method, operation)),
  );
  return `/**
 * The types and calls of the daemon's API, made of its OpenAPI document by tools/api-client.ts: not to be edited.
 * \`npm test -- test/api-client.test.ts --accept\` writes it.
 *
 * Long: one document, one file.
 */
import type { Caller, CallOptions, Socket } from './caller.ts';

${types.join('\n')}
/** Each operation of the document is a method. They reject with ApiError, which holds the daemon's problem. */
export class Client {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

${methods.join('\n')}}
`;
}

function component(name: string, schema: Json): string {
  const doc = typeof schema['description'] === 'string' ? comment(schema['description'], '') : '';
  if (schema['type'] === 'object' && schema['properties'] !== undefined)
    return `${doc}export interface ${name} ${typeOf(schema, '')}\n`;
  return `${doc}export type ${name} = ${typeOf(schema, '')};\n`;
}

function typeOf(schema: Json, indent: string): string {
  if (typeof schema['$ref'] === 'string') return schema['$ref'].split('/').at(-1) ?? '';
  if (Array.isArray(schema['enum'])) return schema['enum'].map(literal).join(' | ');
  if ('const' in schema) return literal(schema['const']);
  const choices = schema['anyOf'] ?? schema['oneOf'];
  if (Array.isArray(choices)) return choices.map((one: Json) => typeOf(one, indent)).join(' | ');
  const { type } = schema;
  if (Array.isArray(type)) return type.map((one) => typeOf({ ...schema, type: one }, indent)).join(' | ');
  if (type === 'string' || type === 'boolean') return type;
  if (type === 'integer' || type === 'number') return 'number';
  if (type === 'array') {
    const item = typeOf(schema['items'] as Json, indent);
    return /[ |{]/.test(item) ? `readonly (${item})[]` : `readonly ${item}[]`;
  }
  if (type === 'object') return objectType(schema, indent);
  if (Object.keys(schema).every((key) => key === 'description')) return 'unknown';
  throw new Error(`a schema that the client's generator does not know: ${JSON.stringify(schema)}`);
}

function objectType(schema: Json, indent: string): string {
  const inner = `${indent}  `;
  const required = new Set((schema['required'] as readonly string[] | undefined) ?? []);
  const members = Object.entries((schema['properties'] as Record<string, Json> | undefined) ?? {}).map(
    ([name, member]) => {
      const doc = typeof member['description'] === 'string' ? comment(member['description'], inner) : '';
      return `${doc}${inner}readonly ${name}${required.has(name) ? '' : '?'}: ${typeOf(member, inner)};\n`;
    },
  );
  const more = schema['additionalProperties'];
  if (typeof more === 'object' && more !== null) {
    const value = typeOf(more as Json, inner);
    if (members.length === 0) return `{ readonly [name: string]: ${value} }`;
    members.push(`${inner}readonly [name: string]: unknown;\n`);
  }
  return `{\n${members.join('')}${indent}}`;
}

function methodSource(path: string, method: string, operation: Operation): string {
  const { operationId, summary, description, parameters = [], requestBody } = operation;
  const inPath = parameters.filter((one) => one.in === 'path');
  const query = parameters.filter((one) => one.in === 'query');
  const body =
    requestBody === undefined ? undefined : typeOf(must(requestBody.content['application/json']?.schema), '  ');
  const { type, call } = answer(operation);
  const list = [
    ...inPath.map((one) => `${one.name}: ${typeOf(one.schema, '  ')}`),
    ...(body === undefined ? [] : [`body${requestBody?.required ? '' : '?'}: ${body}`]),
    ...(query.length === 0 ? [] : [`query: ${queryType(query)} = {}`]),
    'options?: CallOptions',
  ];
  const url = `\`${path.replace(/\{(\w+)\}/g, (_, name: string) => `\${encodeURIComponent(${name})}`)}\``;
  const asked = [
    `method: '${method.toUpperCase()}'`,
    `path: ${inPath.length === 0 ? `'${path}'` : url}`,
    ...(query.length === 0 ? [] : ['query']),
    ...(body === undefined ? [] : ['body']),
  ];
  const text = [`${summary}.`, ...(description === undefined ? [] : [description])].join(' ');
  return `${comment(text, '  ')}  ${operationId}(${list.join(', ')}): ${type} {
    return this.#caller.${call}({ ${asked.join(', ')} }, options);
  }
`;
}

/** What a method returns, and which of the caller's methods does it. */
function answer({ responses }: Operation): { type: string; call: string } {
  if (responses['101'] !== undefined) return { type: 'Promise<Socket>', call: 'socket' };
  if (responses['204'] !== undefined) return { type: 'Promise<void>', call: 'nothing' };
  const [media = '', content] = Object.entries((responses['200'] ?? responses['201'])?.content ?? {})[0] ?? [];
  const type = content?.schema === undefined ? 'unknown' : typeOf(content.schema, '  ');
  if (media === 'application/json') return { type: `Promise<${type}>`, call: `json<${type}>` };
  if (media === 'text/event-stream') return { type: `AsyncIterable<${type}>`, call: `events<${type}>` };
  return { type: 'AsyncIterable<Uint8Array>', call: 'bytes' };
}

function queryType(query: readonly Parameter[]): string {
  return `{ ${query.map(({ name, required, schema }) => `readonly ${name}${required ? '' : '?'}: ${typeOf(schema, '  ')}`).join('; ')} }`;
}

function literal(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value);
}

/** A comment of lines that are not too long. */
function comment(text: string, indent: string): string {
  const words = text.replaceAll('*/', '* /').split(/\s+/);
  const lines = [''];
  for (const word of words) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && indent.length + line.length + word.length > 115) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}\n`).join('')}${indent} */\n`;
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('the document lacks a schema');
  return value;
}

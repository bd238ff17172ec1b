/**
 * Requests made of the OpenAPI document and of chance: values that fit their schema, values that nearly do, and values that
 * have nothing to do with it. By seed, so that what fails can be had again.
 */
export interface FuzzedRequest {
  readonly operation: string;
  readonly method: string;
  readonly path: string;
  readonly body?: string;
}

type Json = { readonly [name: string]: unknown };
interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required: boolean;
    readonly schema: Json;
  }[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema: Json }> };
}

/** Of strings that ask for trouble. */
const NASTY = [
  ...[
    '',
    ' ',
    '\0',
    '../../etc/passwd',
    '%2e%2e%2f',
    '%',
    '%zz',
    'constructor',
    '__proto__',
    'toString',
    'daemon',
    'web',
  ],
  ...[
    'a'.repeat(300),
    '💥',
    '\r\nx: y',
    '<script>',
    "'; DROP TABLE partitions; --",
    '/dev/zero',
    '-1',
    '1e999',
    'null',
  ],
];

export class DocumentFuzz {
  readonly #schemas: Record<string, Json>;
  readonly #operations: { readonly method: string; readonly path: string; readonly operation: Operation }[];
  readonly #next: () => number;

  /** `next`: a number from 0 to 1. */
  constructor(document: Json, next: () => number) {
    this.#next = next;
    const { paths, components } = document as {
      paths: Record<string, Record<string, Operation>>;
      components: { schemas: Record<string, Json> };
    };
    this.#schemas = components.schemas;
    this.#operations = Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => ({ method, path, operation })),
    );
  }

  request(): FuzzedRequest {
    const { method, path, operation } = this.#pick(this.#operations);
    let url = path;
    const query: string[] = [];
    for (const { name, in: where, required, schema } of operation.parameters ?? []) {
      const text = this.#text(this.#chance(0.7) ? this.value(schema, 0) : this.#nasty());
      if (where === 'path')
        url = url.replace(`{${name}}`, this.#chance(0.9) ? encodeURIComponent(text) : encodeURI(text));
      else if (required || this.#chance(0.5)) query.push(`${name}=${encodeURIComponent(text)}`);
    }
    const schema = operation.requestBody?.content['application/json']?.schema;
    return {
      operation: operation.operationId,
      method: this.#chance(0.97) ? method.toUpperCase() : this.#pick(['HEAD', 'OPTIONS', 'TRACE', 'PATCH', 'PUT']),
      path: query.length === 0 ? url : `${url}?${query.join('&')}`,
      ...(schema === undefined ? {} : { body: this.#body(schema) }),
    };
  }

  /** Of a schema; deeper, simpler. */
  value(schema: Json, depth: number): unknown {
    if (depth > 6 || this.#chance(0.04)) return this.#nasty();
    if (typeof schema['$ref'] === 'string')
      return this.value(this.#schemas[schema['$ref'].split('/').at(-1) ?? ''] ?? {}, depth);
    const choices = (schema['enum'] ?? schema['anyOf'] ?? schema['oneOf']) as unknown[] | undefined;
    if (schema['enum'] !== undefined && choices !== undefined) return this.#pick(choices);
    if (choices !== undefined) return this.value(this.#pick(choices) as Json, depth + 1);
    if ('const' in schema) return schema['const'];
    switch (Array.isArray(schema['type']) ? this.#pick(schema['type']) : schema['type']) {
      case 'string':
        return this.#string(schema);
      case 'integer':
      case 'number':
        return this.#number(schema);
      case 'boolean':
        return this.#chance(0.5);
      case 'array':
        return Array.from({ length: Math.floor(this.#next() * 4) }, () =>
          this.value((schema['items'] ?? {}) as Json, depth + 1),
        );
      default:
        return this.#object(schema, depth);
    }
  }

  #object(schema: Json, depth: number): unknown {
    const required = new Set((schema['required'] ?? []) as string[]);
    const entries = Object.entries((schema['properties'] ?? {}) as Record<string, Json>).filter(([name]) =>
      required.has(name) ? this.#chance(0.97) : this.#chance(0.25),
    );
    const made: [string, unknown][] = entries.map(([name, member]) => [name, this.value(member, depth + 1)]);
    if (this.#chance(0.05)) made.push([this.#pick(NASTY), this.#nasty()]);
    return Object.fromEntries(made);
  }

  #string({ pattern, format }: Json): string {
    if (this.#chance(0.1)) return this.#pick(NASTY);
    if (format === 'base64') return Buffer.from(String(this.#next())).toString('base64');
    const text = typeof pattern === 'string' ? pattern : '';
    if (text.startsWith('^\\/')) return this.#pick(['/k', '/no/kernel', '/tmp/x', '/dev/null']);
    if (text.startsWith('^0x')) return `0x${Math.floor(this.#next() * 2 ** 40).toString(16)}`;
    if (text.startsWith('^[rwx]')) return this.#pick(['r', 'w', 'x', 'rw', 'rwx']);
    return this.#pick(['web', 'other', 'net0', 'lan0', 'rp0', 'kernel', 'debian', `n${Math.floor(this.#next() * 20)}`]);
  }

  #number({ minimum = 0, maximum = 1000 }: Json): number {
    const [least, most] = [Number(minimum), Math.min(Number(maximum), 1e6)];
    if (this.#chance(0.2)) return this.#pick([least - 1, Number(maximum) + 1, -1, 0, 2 ** 53, 0.5, 1e300]);
    return Math.floor(least + this.#next() * (most - least));
  }

  #body(schema: Json): string {
    if (this.#chance(0.05)) return this.#pick(['', '{', '[]', 'null', '"', '{"a":'.repeat(2000), '[1,]', '\ufeff{}']);
    return JSON.stringify(this.value(schema, 0)) ?? '';
  }

  #nasty(): unknown {
    return this.#pick<unknown>([...NASTY, null, true, -1, 0.1, [], {}, [[[]]], { length: 1e9 }]);
  }

  #text(value: unknown): string {
    return typeof value === 'string' ? value : String(JSON.stringify(value));
  }

  #chance(probability: number): boolean {
    return this.#next() < probability;
  }

  #pick<T>(all: readonly T[]): T {
    return all[Math.floor(this.#next() * all.length)] as T;
  }
}
